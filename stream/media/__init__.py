"""Frames and sound between WebRTC and us: tracks, encoders, lanes, pacing, what is shown after a failure."""
