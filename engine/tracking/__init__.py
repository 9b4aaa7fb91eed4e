"""From a camera's pictures to steady landmarks; MediaPipe finds them."""
