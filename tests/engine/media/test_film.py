"""What may call itself a film: containers, codecs, sizes and names that are read, and those that are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine.errors import FootageError, VideoError
from engine.media.film import open_film
from engine.media.video import VideoWriter, probe, read_frames
from export.footage import footage
from stream.commands.webcam import find_source, open_source
from tests.support.places import PRESENTER, ROOT

SIZE, FRAMES = (64, 48), 30  # px


def film(path: Path, codec: str, pixels: str = "yuv420p", form: str | None = None) -> Path:
    """Thirty grey pictures."""
    with av.open(f"file:{path}", "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pixels
        for index in range(FRAMES):
            grey = np.full((SIZE[1], SIZE[0], 3), 8 * index, np.uint8)
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pixels))
            )
        container.mux(stream.encode(None))
    return path


def swollen(path: Path) -> Path:
    """Motion JPEG whose second picture has 240 million pixels in 4 MB; the file's head does not say so."""
    jpeg = BytesIO()
    Image.new("L", (20_000, 12_000)).save(jpeg, "JPEG", quality=10)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        small = av.VideoFrame(*SIZE, "yuvj420p")
        first = bytes([*stream.encode(small), *stream.encode(None)][0])
        for number, data in enumerate((first, jpeg.getvalue())):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "form"),
    [
        ("a.mp4", "libx264", "yuv444p", None),
        ("a.mov", "libx265", "yuv420p10le", None),
        ("a.mov", "prores_ks", "yuv422p10le", None),
        ("a.mkv", "libsvtav1", "yuv420p", None),
        ("a.webm", "libvpx", "yuv420p", None),
        ("a.webm", "libvpx-vp9", "yuva420p", None),
        ("a.avi", "mjpeg", "yuvj420p", None),
        ("a.avi", "rawvideo", "yuv420p", None),
        ("a.avi", "mpeg4", "yuv420p", None),
        ("a.ts", "libx264", "yuv420p", "mpegts"),
        ("a.mpg", "mpeg2video", "yuv420p", "mpeg"),
        ("a.flv", "libx264", "yuv420p", None),
        ("misnamed.webm", "libx264", "yuv420p", "mp4"),
    ],
)
def test_what_cameras_browsers_and_editors_write_is_read(
    tmp_path: Path, name: str, codec: str, pixels: str, form: str | None
) -> None:
    path = film(tmp_path / name, codec, pixels, form)
    assert (probe(path).width, probe(path).height) == SIZE
    assert len(list(read_frames(path))) == FRAMES


PLAYLISTS = {
    "concatenation": b"ffconcat version 1.0\nfile other.webm\n",
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.webm\n#EXT-X-ENDLIST\n",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
    b"a=rtpmap:96 H264/90000\n",
    "DASH": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    b'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="video/mp4">'
    b'<Representation id="1" bandwidth="1"><BaseURL>other.webm</BaseURL></Representation>'
    b"</AdaptationSet></Period></MPD>",
    "noise": bytes(range(7, 256)) * 40,
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_an_upload_that_names_other_files_opens_none(tmp_path: Path, kind: str) -> None:
    """As an ffconcat list, an upload that posed as WebM opened another person's recording."""
    shutil.copy(PRESENTER, tmp_path / "other.webm")
    path = tmp_path / "upload.webm"
    path.write_bytes(PLAYLISTS[kind])
    with pytest.raises(VideoError, match=r"upload\.webm: no(t readable|\ film of a kind)") as told:
        probe(path)
    assert "export it as MP4" in str(told.value)
    with pytest.raises(VideoError):
        find_source(str(path))
    with (
        pytest.raises(VideoError, match=r"upload\.webm"),
        VideoWriter(tmp_path / "out.mp4", *SIZE, Fraction(25), audio_from=path),
    ):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.webm", "upload.webm"]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "form"),
    [
        ("a.webm", "ffv1", "yuv420p", "matroska"),
        ("a.webm", "huffyuv", "yuv422p", "avi"),
        ("a.mov", "qtrle", "rgb24", None),
        ("a.avi", "png", "rgb24", None),
        ("a.mp4", "gif", "rgb8", "gif"),
    ],
)
def test_rare_decoders_are_not_run(
    tmp_path: Path, name: str, codec: str, pixels: str, form: str | None
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pixels
        container.mux(stream.encode(av.VideoFrame(*SIZE, pixels)))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=rf"{codec}, which is not read|no film of a kind that is read"):
        open_film(path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory in /proc")
def test_a_picture_that_swells_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Such a file of 4 MB took 360 MB for each of its pictures."""
    path = swollen(tmp_path / "swollen.avi")
    code = (
        "import os, sys\n"
        "from benchmarks.records.machine import forget_peak, peak_mb, resident_mb\n"
        "from engine.errors import VideoError\n"
        "from engine.media.video import read_frames\n"
        "frames = read_frames(sys.argv[1])\n"
        "next(frames)\n"
        "before_mb = resident_mb(os.getpid())\n"
        "forget_peak()\n"
        "try:\n    next(frames)\nexcept VideoError as error:\n    print(error)\n"
        "print(peak_mb(os.getpid()) - before_mb)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    line, grown = done.stdout.splitlines()
    assert (
        "swollen.avi: not readable as video (damaged, or its pictures have more than 36 megapixels)" in line
    )
    assert float(grown) < 60  # MB


def test_a_size_beyond_any_camera_is_told(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 8000
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(8000, 8000, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="its pictures have more than 36 megapixels"):
        probe(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no colon in names")
@pytest.mark.parametrize(
    "name", ["12:30.mp4", "concat:x.mp4", "http:y.mp4", "pipe:0.mp4", "file:z.mp4", "-.mp4"]
)
def test_a_name_that_looks_like_a_protocol_is_a_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(name, *SIZE, Fraction(25), audio_from=PRESENTER) as writer:
        for index in range(10):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 20 * index, np.uint8))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    info = probe(name)
    assert (info.width, info.height, info.frames, info.has_audio) == (*SIZE, 10, True)
    assert len(list(read_frames(name))) == 10
    with open_source(find_source(name), 25) as frames:
        assert next(iter(frames)).width == SIZE[0]


def test_footage_that_lasts_longer_than_it_says_is_stopped(
    monkeypatch: pytest.MonkeyPatch, clip_of_seconds: Callable[[float], Path]
) -> None:
    """Its head may say ten seconds and its body hold a day."""
    path = clip_of_seconds(2.0)
    monkeypatch.setattr(footage, "_MAX_FRAMES", 20)
    with pytest.raises(FootageError, match="more than 10 minutes or 20 frames, though it says 2 s"):
        footage.load_footage([path])


@pytest.fixture
def clip_of_seconds(tmp_path: Path) -> Callable[[float], Path]:
    def make(seconds: float) -> Path:
        path = tmp_path / "clip.mp4"
        with VideoWriter(path, *SIZE, Fraction(25)) as writer:
            for _ in range(round(seconds * 25)):
                writer.write(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
        return path

    return make


def test_films_are_opened_in_one_place() -> None:
    """Whoever calls av.open for reading lets FFmpeg guess again."""
    writing = re.compile(r'av\.open\((?:[^()]|\([^()]*\))*, "w"')
    reading = {
        path.name
        for package in ("engine", "export", "stream")
        for path in (ROOT / package).rglob("*.py")
        if "av.open(" in writing.sub("", path.read_text(encoding="utf-8"))
    }
    # webcam.py: capture devices; speech.py: what it has just coded by itself, in memory
    assert reading == {"film.py", "webcam.py", "speech.py"}
