"""An avatar beside the true render of the motion that drives it: the figures, the tables, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import cross_driving as instrument
from benchmarks.pictures.clips import FILMS
from benchmarks.pictures.cross_truth import (
    FACE_PARTS,
    HAND_PARTS,
    Clip,
    Driven,
    Training,
    check_pair,
    figures,
    landmark_figures,
    ssim_of_boxes,
)
from benchmarks.records import tables
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.errors import SettingsError
from engine.media.video import VideoWriter, read_frames
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import Landmarks
from export.evaluate.baselines import BASELINES
from export.evaluate.report_picture import CELL_PX, LABEL_PX, MARGIN_PX
from export.footage.prepared import Prepared
from tests.support.puppet import Pose, Puppet, lively

SIZE, FPS = 128, 15.0
PRESENTER = FILMS["theo"]
FRAMES = range(0, 84, 6)  # rest, both hands, a turn of the head; too few to say something of motion
WARM = np.array([0.75, 0.9, 1.0])  # what is left of each colour of the second presenter
PARTS = (*FACE_PARTS, *HAND_PARTS)


def write(path: Path, pictures: Sequence[Any], fps: int = 15) -> Path:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(fps)) as writer:
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture, np.uint8))
    return path


def shifted(frames: Sequence[Landmarks], x: float) -> list[Landmarks]:
    return [frame.transformed(1.0, x, 0.0, SIZE, SIZE) for frame in frames]


# What is measured, with known answers


@pytest.fixture(scope="module")
def truth() -> Clip:
    """A puppet with both hands up."""
    poses = [replace(pose, hands=((1.4, 1.9), (-1.4, 1.9))) for pose in lively(30, seed=4)]
    rgb, _, landmarks = Puppet(SIZE).film(poses)
    return Clip(Path("truth.mp4"), FPS, list(rgb), landmarks)


@pytest.fixture(scope="module")
def found(truth: Clip) -> dict[str, Any]:
    """The output is the truth itself, the warp 3 px beside it, another moment far off."""
    frames = range(1, len(truth.rgb))
    rgb, landmarks = truth.rgb[1:], truth.landmarks[1:]
    beside = [np.roll(picture, 3, axis=1) for picture in rgb]
    pictures = {"output": rgb, "warp_only": beside, "shuffled_conditions": [*rgb[9:], *rgb[:9]]}
    marks = {
        "output": landmarks,
        "warp_only": shifted(landmarks, 3.0),
        "shuffled_conditions": [*landmarks[9:], *landmarks[:9]],
    }
    pictures |= {"zero_prior": [np.full_like(picture, 128) for picture in rgb]}
    marks |= {"zero_prior": [Landmarks(SIZE, SIZE)] * len(rgb)}
    pictures |= {"previous_frame": truth.rgb[:-1], "nearest_frame": rgb}
    marks |= {"previous_frame": truth.landmarks[:-1], "nearest_frame": landmarks}
    driver = replace(truth, file=Path("driver.mp4"), landmarks=shifted(truth.landmarks, 20.0))
    return figures(Driven("puppet", driver, truth, list(frames), pictures, marks, "null"))


def test_the_truth_itself_has_no_error(found: dict[str, Any]) -> None:
    assert set(found["psnr_db"].values()) == {88.13}  # the cap: no difference
    assert set(found["ssim"].values()) == {1.0}
    assert set(found["sharpness"].values()) == {1.0}
    assert found["landmarks_px"] == {part: {"p50": 0.0, "p95": 0.0} for part in PARTS}
    assert (found["faces_found"], found["hands_found"]) == (1.0, 1.0)
    moves = {name: value for name, value in found["motion"].items() if value is not None}
    assert {"yaw", "lip_aperture", "lid_aperture"} <= set(moves)
    assert all(value == {"correlation": 1.0, "gain": 1.0} for value in moves.values())
    assert abs(found["motion_shuffled"]["yaw"]["correlation"]) < 0.6


def test_three_pixels_beside_are_three_pixels(found: dict[str, Any]) -> None:
    beside = found["baselines"]["warp_only"]
    for part in PARTS:
        assert beside["landmarks_px"][part] == {
            "p50": pytest.approx(3.0, abs=0.01),
            "p95": pytest.approx(3.0, abs=0.01),
        }
    assert 10 < beside["psnr_db"]["face"] < 40
    assert beside["ssim"]["frame"] < 0.99
    assert beside["motion"]["yaw"]["correlation"] == pytest.approx(1.0, abs=1e-3)


def test_what_shows_no_face_has_no_landmarks_but_still_a_picture(found: dict[str, Any]) -> None:
    grey = found["baselines"]["zero_prior"]
    assert grey["landmarks_px"] == dict.fromkeys(PARTS)
    assert (grey["faces_found"], grey["hands_found"], grey["motion"]) == (0.0, 0.0, None)
    assert grey["psnr_db"]["frame"] < 30
    assert grey["sharpness"]["face"] == 0.0


def test_every_baseline_is_there_and_a_driver_far_off_still_moves_alike(found: dict[str, Any]) -> None:
    assert set(found["baselines"]) == set(BASELINES) == set(tables.CROSS_BASELINES)
    assert found["baselines"]["shuffled_conditions"]["landmarks_px"]["face"]["p50"] > 0.5
    assert (found["avatar"], found["driver"], found["truth"]) == ("puppet", "driver", "truth")
    assert (found["frames"], found["compared"], found["own"]) == (30, 29, False)
    for which in ("motion_against_driver", "motion_of_driver"):
        assert found[which]["yaw"]["correlation"] == pytest.approx(1.0, abs=1e-3)
    assert json.loads(json.dumps(found)) == found


def test_lost_hands_and_faces_are_shares() -> None:
    both = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), (-1.4, 1.9))))
    one = replace(both, hand_confidence=np.array([1.0, 0.0], np.float32))
    faceless = replace(both, face_confidence=0.0)
    lost = landmark_figures([both] * 4, [both, one, one, faceless])
    assert lost["faces_found"] == 0.75
    assert lost["hands_found"] == 0.75
    assert landmark_figures([faceless], [both])["faces_found"] is None
    handless = replace(both, hand_confidence=np.zeros(2, np.float32))
    nobody = landmark_figures([handless], [both])
    assert nobody["hands_found"] is None
    assert nobody["landmarks_px"]["fingertips"] is None


def test_similarity_is_of_the_box() -> None:
    picture, _ = Puppet(SIZE).picture(Puppet(SIZE).landmarks())
    spoilt = picture.copy()
    spoilt[:40, :40] = 255 - spoilt[:40, :40]
    same = ssim_of_boxes(spoilt, picture, {"bad": [(0, 0, 40, 40)], "good": [(60, 60, 128, 128)], "none": []})
    assert same["good"] == [pytest.approx(1.0, abs=1e-4)]
    assert same["bad"][0] < 0.5
    assert same["none"] == []


def test_rest_is_taken_from_the_start_of_the_clip() -> None:
    poses = [Pose()] * 15 + [Pose(yaw_deg=20.0)] * 60
    clip = Clip(Path("clip.mp4"), FPS, [], [Puppet(SIZE).landmarks(pose) for pose in poses])
    assert abs(rotation_to_euler_deg(clip.neutral().rotation)[0]) < 1


def test_a_clip_may_be_read_in_part() -> None:
    assert len(Clip.read(PRESENTER, 0.4).rgb) == 6
    assert len(Clip.read(PRESENTER, 0.0).rgb) == 2  # one to compare, and the one before it


def test_the_nearest_frame_is_of_the_key_frames_or_of_all_that_trained(
    puppet_avatar: Avatar, prepared: Prepared
) -> None:
    kept = Training.of(puppet_avatar, None)
    assert (len(kept.rgb), kept.source) == (len(puppet_avatar.keyframes), "key frames")
    trained = Training.of(puppet_avatar, prepared)
    assert len(trained.rgb) == len(trained.landmarks) == prepared.tail_start
    assert trained.source == "training frames"


# The instrument, with the bundled avatar, its own presenter, and the same presenter in another light


@dataclass(frozen=True)
class Measured:
    """What the instrument wrote, and what it was measured on."""

    record: dict[str, Any]
    sheet: Path
    driven: list[Driven]

    @property
    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.record["runs"]
        return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("cross")
    pictures = [frame.rgb for frame in read_frames(PRESENTER) if frame.index in FRAMES]
    cool = write(folder / "cool.mp4", pictures)
    warm = write(folder / "warm.mp4", [255 - (255 - picture) * WARM for picture in pictures])
    out, sheet = folder / "record.json", folder / "sheet.png"
    options = ["--avatar", f"bundled={cool}", "--avatar", f"bundled={warm}"]
    driven: list[Driven] = []

    def listen(run: Driven) -> dict[str, Any]:
        driven.append(run)
        return figures(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instrument, "figures", listen)
        assert main(["bench", "cross_driving", *options, "--out", str(out), "--picture", str(sheet)]) == 0
    return Measured(json.loads(out.read_text()), sheet, driven)


def test_each_avatar_is_driven_by_each_video(measured: Measured) -> None:
    record = measured.record
    runs = [(run["truth"], run["driver"], run["own"]) for run in record["runs"]]
    assert runs == [
        ("cool", "cool", True),
        ("cool", "warm", False),
        ("warm", "cool", False),
        ("warm", "warm", True),
    ]
    assert all((run["frames"], run["compared"]) == (len(FRAMES), len(FRAMES) - 1) for run in record["runs"])
    assert record["benchmark"] == "cross_driving"
    assert record["machine"]["cpu"]
    assert record["config"]["cast"][1] == {
        "avatar": "bundled",
        "clip": "warm.mp4",
        "nearest_of": "128 key frames",
    }


def test_the_avatar_comes_near_the_truth_and_the_controls_do_not(
    measured: Measured,
) -> None:
    for run in measured.runs:
        baselines = run["baselines"]
        far = baselines["shuffled_conditions"]
        assert run["landmarks_px"]["face"]["p50"] < 2 < far["landmarks_px"]["face"]["p50"]
        assert run["faces_found"] == 1.0
        assert run["hands_found"] > max(0.3, far["hands_found"])  # its hands are edge-on at times
        for name in ("nearest_frame", "shuffled_conditions", "zero_prior"):
            assert run["psnr_db"]["frame"] > baselines[name]["psnr_db"]["frame"], name
            assert run["ssim"]["face"] > baselines[name]["ssim"]["face"], name


def test_pictures_are_held_against_the_truth_and_not_the_driver(
    measured: Measured,
) -> None:
    own, crossed, tinted, _ = measured.runs
    assert crossed["psnr_db"]["frame"] == pytest.approx(own["psnr_db"]["frame"], abs=1.5)
    assert tinted["psnr_db"]["frame"] < own["psnr_db"]["frame"] - 2
    for name in ("previous_frame", "nearest_frame"):  # they know the truth only
        assert crossed["baselines"][name] == own["baselines"][name]


def test_the_same_driver_makes_the_same_pictures(measured: Measured) -> None:
    """The avatar of all rows is one file, so whatever the truth, its picture is the same to the last bit."""
    own, crossed, tinted, warm = measured.driven
    for one, other in ((own, tinted), (crossed, warm)):
        assert np.array_equal(one.pictures["output"], other.pictures["output"])
        for here, there in zip(one.landmarks["output"], other.landmarks["output"], strict=True):
            assert np.array_equal(here.face, there.face)
    assert not np.array_equal(own.pictures["output"], crossed.pictures["output"])
    assert not np.array_equal(own.pictures["output"], own.pictures["warp_only"])


def test_the_picture_has_five_rows_for_each_other_driver(measured: Measured) -> None:
    with Image.open(measured.sheet) as sheet:
        assert sheet.mode == "RGB"
        assert sheet.size == (
            instrument.COLUMNS * (CELL_PX + MARGIN_PX) + MARGIN_PX,
            2 * 5 * (CELL_PX + LABEL_PX + MARGIN_PX),
        )


def test_the_tables_have_a_row_for_each_method_and_motion(measured: Measured) -> None:
    record = measured.record
    lines = tables.TABLES["cross_driving"].draw(record).splitlines()
    assert len(lines) == 2 + 2 * (2 + len(BASELINES))
    assert len({line.count("|") for line in lines}) == 1
    ours, own = lines[2].split(" | "), lines[3].split(" | ")
    assert ours[:2] == ["| bundled driven by warm", "the avatar"]
    assert ours[2] == f"{record['runs'][1]['psnr_db']['frame']:.1f}"
    assert own[1:3] == ["driven by its own video", f"{record['runs'][0]['psnr_db']['frame']:.1f}"]
    moved = tables.TABLES["cross_motion"].draw(record).splitlines()
    assert [line.split(" | ")[0] for line in moved[2:]] == [
        "| bundled driven by warm",
        "| bundled driven by its own video",
        "| warm's video itself",
        "| bundled driven by cool",
        "| bundled driven by its own video",
        "| cool's video itself",
    ]


def test_tables_of_nothing_seen(found: dict[str, Any]) -> None:
    lost = found["baselines"]["zero_prior"]
    blind = {**found, **lost, "motion_of_driver": None}
    record = {"runs": [{**blind, "own": True}, blind]}
    assert tables.TABLES["cross_driving"].draw(record).splitlines()[2].endswith("| - / - / - | - / - | 0 % |")
    assert "| - | - | - |" in tables.TABLES["cross_motion"].draw(record).splitlines()[2]


SHIPPED = [Path(word.partition("=")[2]) for word in instrument.PRESENTERS]


@pytest.mark.skipif(
    not all(file.is_file() for file in SHIPPED), reason="the true renders are not in benchmarks/data yet"
)
def test_the_shipped_clips_show_one_motion_on_the_canvas_of_each_presenter() -> None:
    clips = [Clip.read(file) for file in SHIPPED]
    for file, clip in zip(SHIPPED, clips, strict=True):
        assert file.stat().st_size <= 1_000_000
        assert (len(clip.rgb), clip.fps) == (150, 15.0)
        for driver in clips:
            check_pair(clip.label, load_avatar(clip.label), clip, driver)
    assert not np.array_equal(clips[0].rgb[0], clips[1].rgb[0])


# What cannot be


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the puppet's size, too long, too fast, too large; without anybody."""
    folder = tmp_path_factory.mktemp("clips")
    for name, side, count, fps in (
        ("one", SIZE, 5, 15),
        ("two", SIZE, 5, 15),
        ("long", SIZE, 6, 15),
        ("fast", SIZE, 5, 20),
        ("large", 64, 5, 15),
    ):
        write(folder / f"{name}.mp4", [np.full((side, side, 3), 90)] * count, fps)
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["A=one", "A=long"], "long.mp4: 6 frames at 15 fps"),
        (["A=one", "A=fast"], "fast.mp4: 5 frames at 20 fps"),
        (["A=large", "A=one"], "large.mp4: 64x64 px; the canvas of"),
        (["A=one", "A=nowhere"], "nowhere.mp4: no such file"),
        (["nobody.avatar=one", "A=two"], "nobody.avatar"),
        (["A=one", "one"], "wanted NAME_OR_FILE=PATH"),
        (["A=one"], "--avatar: 1 given; wanted two or more"),
        (["A=one", "A=two", "--training", "B=x.npz"], "--training B: no such --avatar"),
        (["A=one", "A=two", "--training", "A=nowhere.npz"], "nowhere.npz"),
        (["A=one", "A=one", "--picture", "sheet.jpg"], "wanted NAME.png in a folder that is there"),
        (["A=one", "A=one", "--picture", "no/where.png"], "wanted NAME.png in a folder that is there"),
        (["A=one", "A=one", "--out", "no/where.json"], "wanted NAME.json in a folder that is there"),
        (["A=one", "A=two"], "no face in any of 5 frames"),
        (["A=one", "A=one"], "wanted names that tell them apart"),
    ],
)
def test_one_line_says_what_is_wrong(
    clips: Path, networked_file: Path, error_line: Callable[[], str], options: list[str], words: str
) -> None:
    arguments: list[str] = []
    for option in options:
        name, equals, clip = option.partition("=")
        if option.startswith("--") or (arguments and arguments[-1].startswith("--")):
            arguments.append(option.replace("A=", f"{networked_file}="))
        else:
            file = f"{clips / clip}.mp4" if equals else ""
            arguments += ["--avatar", f"{networked_file if name == 'A' else name}{equals}{file}"]
    out = clips / "record.json"
    assert main(["bench", "cross_driving", "--out", str(out), *arguments]) == 1
    assert words in error_line()
    assert not out.exists()


def test_an_avatar_of_a_part_of_the_picture_is_refused(puppet_avatar: Avatar, truth: Clip) -> None:
    check_pair("puppet", puppet_avatar, truth, truth)
    whole = replace(puppet_avatar, training={"framings": ["0,0,256"]})
    check_pair("puppet", whole, truth, truth)
    part = replace(puppet_avatar, training={"framings": ["40,10,200"]})
    with pytest.raises(SettingsError, match=r"square 40,10,200 .* --framing full"):
        check_pair("puppet", part, truth, truth)
