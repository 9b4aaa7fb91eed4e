"""Backgrounds: what is taken as one, and how the pipeline shows it."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.records.machine import forget_peak, peak_mb, resident_mb
from engine.avatar.avatar import Avatar
from engine.errors import SettingsError
from engine.person.landmarks import Landmarks
from engine.render.background import KEPT_PX, MAX_PICTURE_BYTES, Background
from tests.support.puppet import Pose, lively
from tests.support.puppet_stage import Make

GREEN = (0, 177, 64)
SIZE = 128


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def canvas(background: Background, size: int = SIZE) -> NDArray[np.uint8]:
    fitted = background.fitted(size, size)
    assert fitted is not None
    return fitted


# What is taken as a background


def test_a_colour_fills_the_canvas() -> None:
    assert np.array_equal(canvas(Background.color("#00B140")), np.full((SIZE, SIZE, 3), GREEN, np.uint8))


@pytest.mark.parametrize("text", ["", "green", "#00b14", "#00b14g", "00b140", "#00b140 ", "#00b14000"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted #rrggbb"):
        Background.color(text)


def test_the_original_has_no_canvas_of_its_own() -> None:
    assert Background.original().fitted(SIZE, SIZE) is None


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400), (40, 40)])
def test_a_picture_is_cropped_around_its_middle(width: int, height: int) -> None:
    """Red in the middle square, blue outside: only red may be left."""
    side = min(width, height)
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste(
        (255, 0, 0), ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    )
    assert (canvas(Background.picture(encoded(image))) == (255, 0, 0)).all()


def test_transparency_becomes_black_and_photos_stand_upright() -> None:
    assert not canvas(Background.picture(encoded(Image.new("RGBA", (8, 8), (255, 255, 255, 0))))).any()
    lying = Image.new("RGB", (64, 64))
    lying.paste((255, 255, 255), (0, 0, 32, 64))  # white at the left; orientation 6 turns that to the top
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = canvas(Background.picture(encoded(lying, "JPEG", exif=exif)))
    assert upright[:50].min() > 200
    assert upright[-50:].max() < 50


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a readable PNG or JPEG"),
        (b"<svg/>", "not a readable PNG or JPEG"),
        (encoded(Image.new("RGB", (8, 8)), "GIF"), "not a readable PNG or JPEG"),
        (encoded(Image.effect_noise((64, 64), 50))[:300], "not a readable PNG or JPEG"),
        (encoded(Image.new("1", (4097, 1))), "4097x1 px; wanted 4096"),
        (encoded(Image.new("1", (4096, 3073)))[:60], "4096x3073 px; wanted 4096"),  # told by its header alone
        (encoded(Image.new("I;16", (8, 8))), "kind I;16; wanted 8 bits"),
        (bytes(MAX_PICTURE_BYTES + 1), "more than 4194304 bytes"),
    ],
)
def test_bad_pictures_are_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        Background.picture(data)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory in /proc")
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [("PNG", "P", {}), ("PNG", "RGBA", {}), ("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True})],
    ids=["palette", "transparent", "photo", "progressive"],
)
def test_the_largest_picture_takes_little_memory(kind: str, mode: str, options: dict[str, object]) -> None:
    """One of 2 KB took 320 MB, and 208 MB for as long as it was shown."""
    data = encoded(Image.new(mode, (4096, 3072)), kind, **options)
    before_mb = resident_mb(os.getpid())
    forget_peak()
    background = Background.picture(data)
    after_mb = peak_mb(os.getpid())
    assert before_mb is not None
    assert after_mb is not None
    assert after_mb - before_mb < 90
    assert background.rgb is not None
    assert background.rgb.shape[0] < 2 * KEPT_PX


@pytest.mark.parametrize(("width", "height"), [(1023, 1500), (2050, 2049), (4096, 3072), (4096, 1)])
def test_a_large_picture_is_scaled_and_stays_what_it_was(width: int, height: int) -> None:
    """A cross of three colours, cropped around its middle, whatever it is scaled by."""
    image = Image.new("RGB", (width, height), (200, 0, 0))
    image.paste((0, 200, 0), (width // 2, 0, width, height))
    image.paste((0, 0, 200), (0, height // 2, width // 2, height))
    shown = canvas(Background.picture(encoded(image)))
    if height > 1:
        assert tuple(shown[10, 10]) == (200, 0, 0)
        assert tuple(shown[-10, 10]) == (0, 0, 200)
        assert tuple(shown[-10, -10]) == (0, 200, 0)


def test_a_command_line_names_a_background(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(encoded(Image.new("RGB", (8, 8), (1, 2, 3))))
    assert Background.parse("original").rgb is None
    assert (canvas(Background.parse("#010203")) == (1, 2, 3)).all()
    assert (canvas(Background.parse(str(path))) == (1, 2, 3)).all()
    for wrong in ("#12", str(tmp_path), str(tmp_path / "absent.png"), "green"):
        with pytest.raises(SettingsError, match="#00b140"):
            Background.parse(wrong)
    path.write_bytes(bytes(MAX_PICTURE_BYTES + 1))
    with pytest.raises(SettingsError, match="more than"):
        Background.parse(str(path))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_random_bytes_never_raise_anything_else(tail: bytes, head: bytes) -> None:
    with pytest.raises(SettingsError):
        Background.picture(head + tail)


# In the pipeline


def test_the_pipeline_shows_the_person_before_the_colour(make: Make) -> None:
    stage, plain = make([Pose()]).calibrated(), make([Pose()]).calibrated()
    stage.pipeline.set_background(Background.color("#00b140"))
    shown, original = stage.next().rgb, plain.next().rgb
    assert (shown[:, :8] == GREEN).all()
    face = (slice(45, 65), slice(56, 72))
    assert np.array_equal(shown[face], original[face])


def test_a_new_background_shows_though_nothing_moves_and_no_face_is_there(make: Make) -> None:
    stage = make([Pose()] * 6).calibrated()
    stage.tracker.script[3:] = [Landmarks(240, 240)] * 3
    before = stage.next().rgb.copy()
    stage.pipeline.set_background(Background.color("#ff0000"))
    still = stage.next()
    assert still.reused
    assert (still.rgb[0, 0] == (255, 0, 0)).all()
    stage.next()
    stage.pipeline.set_background(Background.color("#00b140"))
    faceless = stage.next()
    assert faceless.reused
    assert (faceless.rgb[0, 0] == GREEN).all()
    stage.pipeline.set_background(Background.original())
    assert np.array_equal(stage.next().rgb, before)


def test_the_network_never_sees_the_new_background(make: Make) -> None:
    """Only so is what it paints the same: the previous picture is part of its input."""
    stage, plain = make(lively(8)).calibrated(), make(lively(8)).calibrated()
    stage.pipeline.set_background(Background.color("#00b140"))
    for _ in range(7):
        stage.next()
        plain.next()
    stage.pipeline.set_background(Background.original())
    assert np.array_equal(stage.next().rgb, plain.next().rgb)


def test_the_next_driver_starts_with_the_original(make: Make, puppet_avatar: Avatar) -> None:
    stage = make([Pose()]).calibrated()
    stage.pipeline.set_background(Background.color("#00b140"))
    stage.pipeline.reset()
    assert np.array_equal(stage.next().rgb[:, :4], puppet_avatar.plate[:, :4])
