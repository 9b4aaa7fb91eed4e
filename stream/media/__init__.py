"""Frames and sound between WebRTC and us: tracks, encoders, pacing, the picture shown after a failure."""
