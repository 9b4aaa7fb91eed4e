"""Pictures of this machine's webcam, or of a video file that plays as one.

Through FFmpeg's own capture devices (PyAV): v4l2 on Linux, AVFoundation on macOS, DirectShow on Windows.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from engine.errors import SettingsError, VideoError
from engine.media.video import probe
from stream.media.played_film import play_film

WIDTH_PX, HEIGHT_PX = 640, 480  # asked of a webcam: what trackers need, and what every one can do
MAX_INDEX = 99
_AGAIN_S = 0.005  # AVFoundation says "try again" between two pictures


@dataclass(frozen=True, slots=True)
class Source:
    """What to open. `form`: FFmpeg's name of the capture device; None: a file. `note`: to be told of it."""

    name: str
    form: str | None
    note: str = ""


def find_source(device: str, platform: str = sys.platform) -> Source:
    """device: a number, a path or a name of a webcam, or a video file.

    Raises SettingsError, and VideoError for a file that is no film.
    """
    if Path(device).is_file():
        return Source(device, None, probe(device).note)
    if device.isdigit() and int(device) > MAX_INDEX:
        raise SettingsError(f"--device {device}: wanted 0 to {MAX_INDEX}, a device, or a video file")
    if platform == "darwin":
        return Source(f"{device}:none", "avfoundation")  # none: no microphone
    if platform == "win32":
        if device.isdigit():
            raise SettingsError(
                f"--device {device}: Windows opens webcams by name; give it as the Device Manager shows it"
            )
        return Source(f"video={device}", "dshow")
    path = f"/dev/video{device}" if device.isdigit() else device
    if not path.startswith("/dev/"):
        raise SettingsError(f"--device {device}: no such file; wanted 0, /dev/video0, or a video file")
    return Source(path, "v4l2")


@contextmanager
def open_source(
    source: Source,
    fps: float,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Iterator[av.VideoFrame]]:
    """The frames, as they come; those of a file at its own pace. Raises VideoError, one line, also midway."""
    if source.form is None:
        with closing(play_film(source.name, now_s, sleep)) as frames:
            yield frames
        return
    options = {"framerate": f"{fps:g}", "video_size": f"{WIDTH_PX}x{HEIGHT_PX}"}
    try:
        with av.open(source.name, format=source.form, options=options) as container:
            yield _live(container, sleep)
    except (
        OSError,
        ValueError,
    ) as error:  # PyAV: FFmpegErrors are OSErrors; ValueError: no such capture here
        raise VideoError(_reason(source, error)) from error


def _live(container: Any, sleep: Callable[[float], None]) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield from container.decode(video=0)
        except av.BlockingIOError:
            sleep(_AGAIN_S)
        else:
            return


def _reason(source: Source, error: Exception) -> str:
    """What is wrong and what to do, in one line."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"webcam {source.name}: not there; plug one in, or name another with --device"
    if number == errno.EBUSY:
        return f"webcam {source.name}: another program holds it; close that program"
    if number in (errno.EACCES, errno.EPERM):
        return f"webcam {source.name}: this user may not open it; on Linux: sudo usermod -aG video $USER"
    return f"webcam {source.name}: gives no pictures ({error}); try another --device or --fps"
