"""`avatarcast serve`, and `camera`, which plays the avatar into a virtual camera of this machine."""
