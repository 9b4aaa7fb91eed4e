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


def _check_streams(path: Path, film: Any) -> None:
    """The first stream of each kind is the one that is decoded. Sets the limit of its pictures."""
    for kind, streams, known in (
        ("picture", film.streams.video, PICTURES),
        ("sound", film.streams.audio, SOUNDS),
    ):
        for stream in streams[:1]:
            found = "unknown" if stream.codec_context is None else stream.codec_context.name
            if found not in known:
                raise VideoError(f"{path}: its {kind} is {found}, which is not read; {_CURE}")
    for stream in film.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = dict(_LIMITS)
