"""`avatarcast serve`; `camera`, which plays the avatar into a virtual camera; `forget`, which removes one."""
