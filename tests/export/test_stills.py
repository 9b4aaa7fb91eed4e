"""A picture drives an avatar: as the film it is of would, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import BUNDLED
from engine.cli import main
from engine.errors import SettingsError
from engine.expression.still import still_neutral
from engine.media.disclosure import COMMENT
from engine.media.video import read_frames
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral, build_neutral, in_head_axes, lip_gap, motion_of
from engine.person.retarget import Retargeter
from export.stills import MAX_SIDE_PX, read_picture, stills_of
from tests.support.places import PRESENTER

pytest.importorskip("ai_edge_litert", reason="needs LiteRT")

EVERY = 5  # frame of the clip


@pytest.fixture(scope="module")
def film() -> list[tuple[U8Image, Landmarks]]:
    """Frames of a clip and the face in each."""
    from engine.tracking.mediapipe_parts import FacePart

    finder = FacePart()
    found = []
    for number, frame in enumerate(read_frames(PRESENTER)):
        if number % EVERY == 0 and (faces := finder.find(frame.rgb)):
            height, width = frame.rgb.shape[:2]
            found.append((frame.rgb, Landmarks(width, height, face=faces[0], face_confidence=1.0)))
    return found


def shown(landmarks: Landmarks, neutral: Neutral, retargeter: Retargeter) -> tuple[FloatArray, float]:
    """Yaw, pitch, roll in degrees and the gap of the lips that the avatar shows."""
    retargeter.driver = neutral
    target = retargeter.target(motion_of(landmarks, neutral))
    face, rotation, *_ = in_head_axes(target.face, retargeter.avatar.face)
    return rotation_to_euler_deg(rotation), lip_gap(face)


def test_a_picture_drives_as_the_film_that_it_is_of(film: list[tuple[U8Image, Landmarks]]) -> None:
    avatar = load_avatar(BUNDLED)
    retargeter = Retargeter(avatar.neutral, avatar.support, avatar.torso, avatar.size)
    rest = build_neutral([landmarks for _, landmarks in film])
    apart = []
    for _, landmarks in film:
        (pose, lips), (still_pose, still_lips) = (
            shown(landmarks, neutral, retargeter) for neutral in (rest, still_neutral(landmarks))
        )
        rested = rotation_to_euler_deg(rest.rotation)  # a picture shows no rest: it is the camera's way
        apart.append([*np.abs(still_pose - pose - rested), abs(still_lips - lips)])
    yaw, pitch, roll, lips = np.percentile(apart, 95, axis=0)
    assert max(yaw, pitch, roll) < 2.0  # degrees
    assert lips < 0.03  # head units


def test_a_picture_makes_a_picture(
    film: list[tuple[U8Image, Landmarks]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The frame with the widest open lips, from the command to the file; and a folder of it and of nobody."""
    from engine.tracking.mediapipe_parts import FacePart

    rgb, landmarks = max(film, key=lambda one: lip_gap(one[1].face))
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(rgb).save(folder / "one.jpg", quality=95)
    Image.fromarray(np.full_like(rgb, 120)).save(folder / "nobody.png")
    assert main(["render", "--driver", str(folder), "--out", str(tmp_path / "stills")]) == 0
    assert [path.name for path in (tmp_path / "stills").iterdir()] == ["one.png"]
    assert "nobody.png: no face" in capsys.readouterr().err
    with Image.open(tmp_path / "stills" / "one.png") as image:
        assert image.info["Comment"] == COMMENT
        still = np.array(image, np.uint8)
    avatar = load_avatar(BUNDLED)
    face, *_ = in_head_axes(FacePart().find(still)[0], avatar.neutral.face)
    rest = build_neutral([landmarks for _, landmarks in film])
    wanted, *_ = in_head_axes(landmarks.face, rest.face)
    assert lip_gap(face) == pytest.approx(lip_gap(wanted), abs=0.06)
    assert lip_gap(face) > 0.05


def test_where_nobody_is_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    assert (
        main(["render", "--driver", str(tmp_path / "black.png"), "--out", str(tmp_path / "still.png")]) == 1
    )
    assert "black.png: no face found" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["black.png"]


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    photo, folder = tmp_path / "photo.jpg", tmp_path / "folder"
    folder.mkdir()
    for driver, out, message in (
        (photo, tmp_path / "film.mp4", "a picture makes a picture"),
        (folder, tmp_path / "film.mp4", "give a folder for theirs"),
        (folder, tmp_path / "new", "no picture"),
    ):
        with pytest.raises(SettingsError, match=message):
            stills_of(driver, out)
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    with pytest.raises(SettingsError, match="that is the driver itself"):
        stills_of(folder, folder)


def test_pictures_are_bounded_before_they_are_decoded(tmp_path: Path) -> None:
    wide, broken = tmp_path / "wide.png", tmp_path / "broken.jpg"
    Image.new("1", (MAX_SIDE_PX + 1, 1)).save(wide)
    broken.write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(SettingsError, match="make it smaller"):
        read_picture(wide)
    with pytest.raises(SettingsError, match="not a readable PNG or JPEG"):
        read_picture(broken)
