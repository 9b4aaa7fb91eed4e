"""How well a voice alone drives a face, on real people's films."""
