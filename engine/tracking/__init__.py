"""From a camera's pictures to steady landmarks; MediaPipe's networks find them."""
