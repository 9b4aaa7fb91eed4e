"""The live server: WebRTC in and out, HTTP signalling, the page, sessions. Renders through engine."""
