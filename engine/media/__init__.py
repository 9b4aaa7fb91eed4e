"""Video, audio and picture files, and the marks by which a picture says that it is synthetic."""
