"""The avatar as a webcam of this machine, which every other program can choose (pyvirtualcam).

Needs a driver that is not ours: v4l2loopback on Linux, OBS Studio's on macOS and Windows.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

from engine.errors import SettingsError
from stream.media.tracks import I420

_CURES = {
    "linux": "sudo apt-get install v4l2loopback-dkms, then "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=avatarcast",
    "darwin": "install OBS Studio 30 or newer, press Start Virtual Camera in it once, and quit it",
    "win32": "install OBS Studio (obsproject.com), which brings one",
}


class VirtualCamera(Protocol):
    """Where pictures go."""

    @property
    def device(self) -> str:
        """As other programs list it."""

    def send(self, frame: I420) -> None:
        """Show this picture from now on."""

    def close(self) -> None: ...


def open_virtual_camera(
    size: int, fps: float, device: str | None = None, platform: str = sys.platform
) -> VirtualCamera:
    """A square one of `size` px. device: None for the first that is free.

    Raises ModuleNotFoundError without pyvirtualcam, and SettingsError where there is no driver.
    """
    import pyvirtualcam  # an extra; the command line says how to get it

    try:
        camera: Any = pyvirtualcam.Camera(size, size, fps, fmt=pyvirtualcam.PixelFormat.I420, device=device)
    except RuntimeError as error:  # one line for each driver that it knows
        reason = " ".join(str(error).split())
        cure = _CURES.get(platform, _CURES["linux"])
        raise SettingsError(f"no virtual camera ({reason}); {cure}") from error
    opened: VirtualCamera = camera
    return opened
