"""From landmarks to a picture: guidance, the warped prior that the network corrects, the background."""
