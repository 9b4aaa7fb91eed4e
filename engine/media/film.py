"""Opens films from elsewhere, as data: uploads, footage, drivers. Whatever reads a film opens it here.

FFmpeg guesses what a file is, and some of what it knows (playlists, concatenations, session descriptions)
names other files or hosts that it then opens. So only containers that carry their streams themselves are let
in, only decoders for what cameras, browsers and editors write; nothing but the file itself is read, and no
picture is decoded that is larger than a camera's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from engine.errors import VideoError

CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "wav", "mp3", "flac")
# Names of FFmpeg's decoders.
PICTURES = (
    *("h264", "hevc", "av1", "libdav1d", "vp8", "vp9"),
    *("mpeg4", "mpeg2video", "mpeg1video", "h263", "mjpeg", "theora", "dvvideo", "rawvideo"),
    *("prores", "dnxhd"),
)
SOUNDS = (
    *("aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "opus", "libopus", "vorbis"),
    *("flac", "alac", "amrnb", "amrwb", "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_bluray"),
    *(f"pcm_{kind}{end}" for kind in ("s16", "s24", "s32", "f32", "f64") for end in ("le", "be")),
)
MAX_PX = 8192 * 4352  # of a picture: 8K, the most that phones film
MAX_STREAMS = 32

_KINDS = "MP4, MOV, MKV, WebM, AVI, MPEG, Ogg or FLV"
_CURE = "export it as MP4 (H.264, AAC) and try again"
_STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_LIMITS = {"max_pixels": str(MAX_PX)}  # of the decoders: a film may grow in its middle
_ONLY_ITSELF = {
    "format_whitelist": ",".join(CONTAINERS),
    "codec_whitelist": ",".join((*PICTURES, *SOUNDS)),
    "protocol_whitelist": "file",
    "enable_drefs": "0",  # QuickTime's references to other files
    "max_streams": str(MAX_STREAMS),
}


def open_film(path: str | Path) -> Any:
    """The film's open container (PyAV's), to be used in a `with` or closed.

    Raises VideoError, one line, for what is not a film, or not of a kind that is read. What is wrong further
    in shows while decoding, as av.FFmpegError or OSError: `unreadable` makes a line of it.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file; give the path of a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty; record or copy it again")
    try:
        film = av.open(file_url(path), options=_LIMITS, container_options=_ONLY_ITSELF)
    except av.ArgumentError as error:  # so FFmpeg says that a container is not on the list
        raise VideoError(f"{path}: no film of a kind that is read ({_KINDS}); {_CURE}") from error
    except (av.FFmpegError, OSError) as error:
        raise unreadable(path, error) from error
    try:
        _check_streams(path, film)
    except VideoError:
        film.close()
        raise
    return film


def unreadable(path: str | Path, error: Exception) -> VideoError:
    """What FFmpeg or the system said of a film that was being read, in one line."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, av.ArgumentError):  # so FFmpeg says that a limit is passed
        reason = f"damaged, or its pictures have more than {MAX_PX / 1e6:.0f} megapixels"
    return VideoError(f"{path}: not readable as video ({reason}); {_CURE}")


def file_url(path: str | Path) -> str:
    """How FFmpeg is told that a name is a file's, whatever it looks like (`12:30.mp4`, `concat:x`)."""
    return f"file:{path}"


def picture_stream(film: Any) -> Any:
    """The stream whose pictures are the film (PyAV's); None where nothing moves, as in a song with its cover.

    Of several: one that is read before one that is not, any before a Motion JPEG (covers are often no more
    than that), the one marked as default, the largest, the first.
    """

    def rank(stream: Any) -> tuple[bool, bool, bool, int]:
        codec = _codec_of(stream)
        default = bool(stream.disposition & Disposition.default)
        return codec in PICTURES, codec != "mjpeg", default, _pixels(stream)

    return max(_moving(film), key=rank, default=None)


def sound_stream(film: Any) -> Any:
    """The stream that is its sound (PyAV's): the first that is read, if any is; None without sound."""
    return max(film.streams.audio, key=lambda stream: _codec_of(stream) in SOUNDS, default=None)


def choice_of_stream(film: Any) -> str:
    """One line about which stream `picture_stream` took, where it had a choice; else empty."""
    moving = _moving(film)
    if len(moving) < 2:
        return ""
    taken = picture_stream(film)
    others = [_described(stream) for stream in moving if stream is not taken]
    return f"{len(moving)} video streams: {_described(taken)} is read, {' and '.join(others)} not"


def _moving(film: Any) -> list[Any]:
    return [stream for stream in film.streams.video if not stream.disposition & _STILL]


def _codec_of(stream: Any) -> str:
    return "unknown" if stream.codec_context is None else str(stream.codec_context.name)


def _pixels(stream: Any) -> int:
    return 0 if stream.codec_context is None else stream.codec_context.width * stream.codec_context.height


def _described(stream: Any) -> str:
    size = "" if stream.codec_context is None else f"{stream.width}x{stream.height} "
    return f"stream {stream.index} ({size}{_codec_of(stream)})"


def _check_streams(path: Path, film: Any) -> None:
    """Refuses a picture or sound that would not be read. Sets the limit of the decoders' pictures."""
    for kind, stream, known in (
        ("picture", picture_stream(film), PICTURES),
        ("sound", sound_stream(film), SOUNDS),
    ):
        if stream is not None and (found := _codec_of(stream)) not in known:
            raise VideoError(f"{path}: its {kind} is {found}, which is not read; {_CURE}")
    for stream in film.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = dict(_LIMITS)
