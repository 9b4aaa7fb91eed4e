"""From landmarks to a picture: guidance, the warped prior that the network corrects, background and frame."""
