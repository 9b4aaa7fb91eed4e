"""`avatarcast verify`: each layer is seen where it is, called broken where it is, and else not seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.media.disclosure import COMMENT, CORNERS, SOURCE_TYPE, MarkStyle, mark
from engine.media.label_finder import find_label
from engine.media.video import VideoWriter, read_frames
from engine.provenance.credentials import add_credentials, detached, installation_certificate, sidecar
from tests.support.forged_package import forge
from tests.support.places import PRESENTER

pytestmark = pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
Found = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [frame.rgb for frame in islice(read_frames(PRESENTER), 24)]


@pytest.fixture
def film(avatar_file: Path, tmp_path: Path, pictures: list[Any]) -> Path:
    """As `render` writes it."""
    avatar, certificate = load_avatar(avatar_file), installation_certificate()
    style = avatar.marks(MarkStyle())
    assert style is not None
    path = tmp_path / "talk.mp4"
    with VideoWriter(
        path,
        256,
        256,
        Fraction(12),
        comment=COMMENT,
        source_type=SOURCE_TYPE,
        finish=lambda part: add_credentials(part, "video/mp4", avatar.told(), certificate),
    ) as writer:
        for rgb in pictures:
            writer.write(mark(rgb, style))
    return path


@pytest.fixture
def found(capsys: pytest.CaptureFixture[str]) -> Found:
    """What the command says of a file: its status, verdict, and state and words of each layer."""

    def look(path: Path | str) -> dict[str, Any]:
        capsys.readouterr()
        status = main(["verify", str(path), "--json"])
        said = json.loads(capsys.readouterr().out)
        layers = {
            layer["name"]: (layer["state"], layer["words"], layer["certainty"]) for layer in said["layers"]
        }
        return {"status": status, "verdict": said["verdict"], **layers}

    return look


def test_a_rendered_film_says_it_in_every_layer(found: Found, film: Path) -> None:
    said = found(film)
    assert (said["status"], said["verdict"]) == (0, "made by avatarcast")
    states = {
        name: said[name][0] for name in ("invisible mark", "visible mark", "Content Credentials", "metadata")
    }
    assert set(states.values()) == {"found"}, said
    assert "this installation" in said["invisible mark"][1]
    assert said["Content Credentials"][2] == "proven"
    digits = said["invisible mark"][1].partition(",")[0].removeprefix("avatar ")
    assert f"of avatar {digits}; signed by this installation" in said["Content Credentials"][1]


def test_a_changed_film_is_broken(found: Found, film: Path) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(b"mdat") + len(data) // 3
    data[at] ^= 1  # in a picture
    film.write_bytes(data)
    said = found(film)
    assert (said["status"], said["verdict"]) == (4, "broken")
    assert said["Content Credentials"][0] == "broken"


def test_a_film_that_cannot_be_decoded_any_more_is_broken_too(found: Found, film: Path) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(b"stsd")
    data[at : at + 4] = b"xxxx"
    film.write_bytes(data)
    said = found(film)
    assert (said["status"], said["pictures"][0], said["Content Credentials"][0]) == (
        4,
        "not looked for",
        "broken",
    )


def test_uploaded_elsewhere_the_picture_still_says_it(found: Found, film: Path, tmp_path: Path) -> None:
    """Written anew, smaller, without metadata or credentials."""
    path = tmp_path / "again.webm"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx", rate=12, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width = stream.height = 256
        stream.pix_fmt, stream.bit_rate = "yuv420p", 500_000
        for frame in read_frames(film):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")))
        out.mux(stream.encode(None))
    said = found(path)
    assert (said["status"], said["verdict"]) == (0, "made by avatarcast")
    assert said["Content Credentials"] == ("absent", "none beside the file", "")
    assert said["metadata"][0] == "absent"
    assert "this installation" in said["invisible mark"][1]
    with path.open("rb") as source:  # as `render` and the page do
        sidecar(path).write_bytes(detached(source, {"digest": "ab" * 32}, installation_certificate()))
    state, words, certainty = found(path)["Content Credentials"]
    assert (state, certainty) == ("found", "proven")
    assert words.endswith("of avatar aba; signed by this installation, in again.c2pa beside it")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = found(path)
    assert (said["status"], said["Content Credentials"][0]) == (4, "broken")
    sidecar(path).write_bytes(b"no manifest")
    assert found(path)["Content Credentials"][0] == "broken"


def test_a_screenshot(found: Found, avatar_file: Path, tmp_path: Path, pictures: list[Any]) -> None:
    style = load_avatar(avatar_file).marks(MarkStyle())
    assert style is not None
    shown = Image.fromarray(mark(pictures[0], style)).resize((384, 384))
    screen = Image.new("RGB", (700, 500), (235, 235, 235))
    screen.paste(shown, (150, 60))
    path = tmp_path / "shot.png"
    screen.save(path)
    said = found(path)
    assert said["status"] == 0
    assert "this installation" in said["invisible mark"][1]
    assert said["Content Credentials"] == ("absent", "none in the file or beside it", "")


def test_what_was_not_made_here(found: Found, tmp_path: Path, pictures: list[Any]) -> None:
    Image.fromarray(pictures[0]).save(tmp_path / "plain.jpg")
    for path in (PRESENTER, tmp_path / "plain.jpg"):
        said = found(path)
        assert (said["status"], said["verdict"]) == (3, "nothing found")


def test_avatars(found: Found, avatar_file: Path) -> None:
    said = found(avatar_file)
    assert (said["status"], said["package signature"][1]) == (0, "an avatar, signed here")
    forge(avatar_file, {}, fps=12.0)
    said = found(avatar_file)
    assert (said["status"], said["verdict"], said["package signature"][0]) == (4, "broken", "broken")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_an_address(found: Found, avatar_file: Path, server: str) -> None:
    assert found(f"{server}/{avatar_file.name}")["package signature"][1] == "an avatar, signed here"


@pytest.mark.parametrize(
    "content", [b"", b"no film", b"PK\x03\x04 no avatar", b"\x89PNG\r\n\x1a\n no picture"]
)
def test_what_cannot_be_read_is_one_line(
    content: bytes, tmp_path: Path, error_line: Callable[[], str]
) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    assert main(["verify", str(path)]) == 1
    assert "odd.mp4" in error_line()
    assert main(["verify", str(tmp_path / "none.mp4")]) == 1
    assert "none.mp4: cannot be read (No such file or directory)" in error_line()


def test_the_visible_mark_is_read_in_each_corner(pictures: list[Any]) -> None:
    assert not find_label(pictures).is_likely
    for corner in CORNERS:
        for percent in (3.0, 5.0, 8.0):
            label = find_label([mark(rgb, MarkStyle(corner, percent)) for rgb in pictures[:3]])
            assert label.is_likely, (corner, percent, label)
            assert label.corner == corner
