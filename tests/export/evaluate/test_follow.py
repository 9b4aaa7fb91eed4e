"""Following a stranger: both sides tracked, the pairs for the picture, and the instrument around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import follow as instrument
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.commands import info
from engine.media.video import probe
from engine.person.landmarks import Landmarks
from engine.pipeline import PipelineConfig
from export.commands import evaluate
from export.evaluate.follow import Followed, follow
from export.evaluate.report_picture import PAIR_CELL_PX, PAIRS, ReportFrame, pairs_png
from tests.support.places import PRESENTER
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import DRIVER, Script

NULL = PipelineConfig(runner="null", live=False)


def scripts(*sides: Sequence[Landmarks]) -> Callable[[], Script]:
    """The first tracker sees the driver, the second the output."""
    left = iter(sides)
    return lambda: Script(cycle(next(left)))


@pytest.fixture(scope="module")
def poses() -> list[Pose]:
    return lively(probe(PRESENTER).frames, seed=6)


@pytest.fixture(scope="module")
def followed(puppet_avatar: Avatar, poses: list[Pose]) -> tuple[Followed, list[tuple[str, int, int]]]:
    heard: list[tuple[str, int, int]] = []
    theirs = [DRIVER.landmarks(pose) for pose in poses]
    ours = [Puppet(128).landmarks(pose) for pose in poses]
    found = follow(
        puppet_avatar, PRESENTER, NULL, lambda *told: heard.append(told), True, scripts(theirs, ours)
    )
    return found, heard


def test_an_output_that_follows(followed: tuple[Followed, list[tuple[str, int, int]]]) -> None:
    report = followed[0].report
    assert report["motion"]["yaw"]["correlation"] > 0.95
    assert abs(report["motion_shuffled"]["yaw"]["correlation"]) < 0.4
    assert report["motion"]["wrists"] is None
    assert report["visible"]["yaw"] == 1.0
    assert report["visible"]["wrists"] == 0.0


def test_both_sides_are_told(followed: tuple[Followed, list[tuple[str, int, int]]]) -> None:
    frames = probe(PRESENTER).frames
    heard = followed[1]
    assert [told for told in heard if told[1] == frames] == [
        ("tracking", frames, frames),
        ("rendering", frames, frames),
    ]


def test_shots_show_the_range(followed: tuple[Followed, list[tuple[str, int, int]]]) -> None:
    frames = followed[0].report_frames
    assert {"at rest", "mouth most open"} <= set(frames)
    for frame in frames.values():
        assert frame.truth is None
        assert frame.output.shape == frame.prior.shape == (128, 128, 3)
        assert frame.driver.shape[2] == 3
    gaps = [np.ptp(frame.landmarks.face[[13, 14], 1]) for frame in frames.values()]
    assert gaps[list(frames).index("mouth most open")] == max(gaps)


def test_pairs_side_by_side() -> None:
    landmarks = Puppet(128).landmarks(Pose())
    red, blue = (np.full((90, 160, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    frame = ReportFrame(red, landmarks, landmarks, red, blue[:, :90])
    with Image.open(BytesIO(pairs_png({"one": [frame] * (PAIRS + 2), "two": [frame]}))) as image:
        page = np.array(image)
    assert page.shape[1] <= 1600
    middle = page[PAIR_CELL_PX // 2 + 20]
    assert ((middle == (255, 0, 0)).all(-1)).sum() == PAIRS * PAIR_CELL_PX
    assert ((middle == (0, 0, 255)).all(-1)).sum() == PAIRS * PAIR_CELL_PX


def test_the_instrument_records_each_clip(monkeypatch: pytest.MonkeyPatch, puppet_avatar: Avatar) -> None:
    part = {"correlation": 0.9, "gain": 1.1}
    report = {"motion": {"yaw": part, "wrists": None}, "motion_shuffled": {"yaw": part, "wrists": None}}
    asked: list[Path] = []

    def fake(avatar: Avatar, clip: Path, *_: object, **__: object) -> Followed:
        asked.append(clip)
        return Followed({**report, "visible": {"yaw": 1.0}})

    monkeypatch.setattr(instrument, "follow", fake)
    monkeypatch.setattr(instrument, "load_avatar", lambda _: puppet_avatar)
    figures = instrument.measure(
        instrument.main.options(["--driver", "a=x/one.mp4", "--driver", "x/two.mp4"])
    )
    assert asked == [Path("x/one.mp4"), Path("x/two.mp4")]
    assert [(row["label"], row["file"]) for row in figures["drivers"]] == [
        ("a", "one.mp4"),
        ("two.mp4", "two.mp4"),
    ]
    assert figures["drivers"][0]["visible"] == {"yaw": 1.0}


def test_the_picture_of_enrolment_is_written_as_it_is(
    monkeypatch: pytest.MonkeyPatch, networked_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    landmarks = Puppet(128).landmarks(Pose())
    picture, _ = Puppet(128).picture(landmarks)
    png = pairs_png({"one": [ReportFrame(picture, landmarks, landmarks, picture, picture)]})
    avatar = replace(load_avatar(networked_file), report_png=png)
    monkeypatch.setattr(evaluate, "load_avatar", lambda _: avatar)
    out = tmp_path / "report.png"
    assert main(["evaluate", "puppet.avatar", "--json", "--picture", str(out)]) == 0
    assert out.read_bytes() == png
    assert info.facts(avatar)["report_picture"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--picture", "out.jpg"], "must end in .png"),
        (["--picture", "nowhere/out.png"], "there is no folder nowhere"),
        (["--picture", "out.png", "--driver", "a.mp4", "--footage", "b.mp4"], "give one of them"),
        (["--picture", "out.png"], "holds no picture of its report"),
    ],
)
def test_pictures_that_cannot_be(
    networked_file: Path, error_line: Callable[[], str], options: list[str], words: str
) -> None:
    assert main(["evaluate", str(networked_file), *options]) == 1
    assert words in error_line()
