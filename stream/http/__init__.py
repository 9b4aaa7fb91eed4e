"""What is asked over HTTP: the routes, the bodies, and who may ask for what."""
