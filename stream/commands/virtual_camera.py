"""The avatar as a webcam of this machine, which every other program can choose (pyvirtualcam).

Needs a driver that is not ours: v4l2loopback on Linux, OBS Studio's on macOS and Windows.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import Any, Protocol

from engine.arrays import I420
from engine.errors import SettingsError

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


class SteadyCamera:
    """A virtual camera that shows its picture again and again, at its rate, also where there is no new one.

    Other programs take a camera that falls silent for broken. Use as a context; send() is any thread's.
    """

    def __init__(self, camera: VirtualCamera, fps: float) -> None:
        self.device = camera.device
        self.shown = 0  # pictures, repeated ones too
        self._camera = camera
        self._every_s = 1 / fps
        self._picture: I420 | None = None
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="virtual camera", daemon=True)

    def __enter__(self) -> SteadyCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """False once the camera has raised, or this is closed."""
        return self._thread.is_alive()

    def send(self, frame: I420) -> None:
        """Show this picture from now on. Raises what the camera raised, once it has."""
        if self._error is not None:
            raise self._error
        self._picture = frame

    def close(self) -> None:
        """What was sent last is shown, and stays the camera's last; the camera itself stays open."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due_s, over = monotonic(), False
        shown: I420 | None = None
        while not over:
            over = self._over.wait(max(0.0, due_s - monotonic()))
            picture = self._picture
            if picture is not None and not (over and picture is shown):
                try:
                    self._camera.send(picture)
                except (RuntimeError, OSError) as error:
                    self._error = error
                    return
                self.shown += 1
                shown = picture
            due_s = max(due_s + self._every_s, monotonic())  # what was missed is not made up for


def open_virtual_camera(
    size_px: tuple[int, int], fps: float, device: str | None = None, platform: str = sys.platform
) -> VirtualCamera:
    """One of this width and height. device: None for the first that is free.

    Raises ModuleNotFoundError without pyvirtualcam, and SettingsError where there is no driver.
    """
    import pyvirtualcam  # an extra; the command line says how to get it

    try:
        camera: Any = pyvirtualcam.Camera(*size_px, fps, fmt=pyvirtualcam.PixelFormat.I420, device=device)
    except RuntimeError as error:  # one line for each driver that it knows
        reason = " ".join(str(error).split())
        cure = _CURES.get(platform, _CURES["linux"])
        raise SettingsError(f"no virtual camera ({reason}); {cure}") from error
    opened: VirtualCamera = camera
    return opened
