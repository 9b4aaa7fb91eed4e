"""Films that are too long to track: what is learnt from, and that only that is read."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pictures.odd_films import film
from engine.arrays import U8Image
from engine.errors import FootageError
from engine.media.video import VideoWriter, probe, read_frames, sampled_frames
from engine.person.landmarks import Landmarks
from export.footage import survey as survey_module
from export.footage.checks import FrameStats
from export.footage.survey import KEPT_S, survey
from tests.support.puppet import Pose, Puppet

FPS = 5


def grey_of(index: int) -> int:
    """Tells the index, modulo 80 and with its mirror image; no step is a cut."""
    return 20 + 4 * abs(index % 80 - 40)


def numbered(index: int) -> U8Image:
    return np.full((48, 64, 3), grey_of(index), np.uint8)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
    ],
)
def test_a_span_holds_the_frames_that_a_whole_reading_gives(tmp_path: Path, name: str, codec: str) -> None:
    """Key frames are 12 frames apart, the decoder's order is not that of display."""
    context = {"gop_size": 12, "bit_rate": 2_000_000} | ({"max_b_frames": 2} if codec == "libx264" else {})
    path = film(tmp_path / name, map(numbered, range(100)), codec, context=context)
    spans = ((0.5, 0.9), (1.28, 1.6), (3.0, 9.0))
    wanted = [
        frame for frame in read_frames(path) if any(begin <= frame.time_s < end for begin, end in spans)
    ]
    found = list(read_frames(path, spans))
    assert [frame.time_s for frame in found] == pytest.approx([frame.time_s for frame in wanted], abs=1e-3)
    assert [frame.index for frame in found] == list(range(len(wanted)))
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one.rgb.astype(int) - other.rgb).max() < 4


@pytest.mark.parametrize("gop", [5, 1000])
def test_samples_are_even_whatever_the_key_frames(tmp_path: Path, gop: int) -> None:
    greys = (np.full((48, 64, 3), 20 + index, np.uint8) for index in range(200))
    path = film(tmp_path / "a.mp4", greys, context={"gop_size": gop})
    times = [frame.time_s for frame in sampled_frames(path, 8, 0.1)]
    assert len(times) in (7, 8)
    assert max(np.diff(times)) < 2.1
    assert min(np.diff(times)) >= 1.0 - 1e-6
    assert [frame.time_s for frame in sampled_frames(path, 100, 2.0)] == pytest.approx([0, 2, 4, 6], abs=0.21)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred seconds; who is in its pictures does not matter."""
    path = tmp_path_factory.mktemp("films") / "long.mp4"
    pattern = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((16, 16), int))[..., None] * [20, 20, 20]
    with VideoWriter(path, 256, 256, Fraction(FPS)) as writer:
        for index in range(200 * FPS):
            writer.write((pattern + grey_of(index)).astype(np.uint8))
    return path


def looks_of(pose_at: Callable[[float], Pose | None]) -> survey_module.LookAt:
    puppet = Puppet(256)

    def look(frame: object) -> tuple[Landmarks, FrameStats]:
        time_s: float = frame.time_s  # type: ignore[attr-defined]
        pose = pose_at(time_s)
        landmarks = Landmarks(256, 256) if pose is None else puppet.landmarks(pose)
        return landmarks, FrameStats(time_s, 0.0, 120.0, 0.3, 1.0, 0.0)

    return look


def test_what_is_seen_for_a_moment_only_is_learnt_from(long_film: Path) -> None:
    """Calm for three minutes, looking away at 70 s and smiling with an open mouth at 150 s."""

    def pose_at(time_s: float) -> Pose:
        if 68 <= time_s < 72:
            return Pose(yaw_deg=25.0)
        return Pose(mouth=0.9) if 148 <= time_s < 152 else Pose(yaw_deg=0.5 * np.sin(time_s))

    told: list[tuple[int, int]] = []
    found = survey([long_film], [probe(long_film)], looks_of(pose_at), lambda *one: told.append(one))
    (spans,) = found.spans
    assert KEPT_S <= found.kept_s <= KEPT_S + 4
    assert found.looks == 200
    assert told[-1] == (200, 200)
    for moment in (70, 150):
        assert sum(max(0, min(end, moment + 2) - max(begin, moment - 2)) for begin, end in spans) >= 2, spans
    assert all(end < later for (_, end), (later, _) in pairwise(spans))


def test_only_where_the_person_is_something_is_learnt(long_film: Path) -> None:
    found = survey(
        [long_film, long_film],
        [probe(long_film)] * 2,
        looks_of(lambda time_s: Pose(yaw_deg=time_s % 7) if 30 <= time_s < 90 else None),
    )
    assert any(found.spans)
    for spans in found.spans:
        assert all(begin >= 26 and end <= 94 for begin, end in spans)


def test_a_long_film_of_nobody_is_refused(long_film: Path) -> None:
    with pytest.raises(FootageError, match="in none of 200 pictures looked at in 3 minutes of footage: give"):
        survey([long_film], [probe(long_film)], looks_of(lambda _: None))


def test_long_footage_is_tracked_where_it_shows_most(
    long_film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage_module = pytest.importorskip("export.footage.footage", reason="needs LiteRT")
    puppet = Puppet(256)
    resets = 0
    times_ns: list[int] = []  # since the last reset

    class Tracker:
        def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
            assert time_ns > max(times_ns, default=-1)  # time only grows between resets
            times_ns.append(time_ns)
            return puppet.landmarks(Pose(yaw_deg=20 * np.sin(time_ns * 1e-9 / 10)))

        def reset(self) -> None:
            nonlocal resets
            resets += 1
            times_ns.clear()

        def close(self) -> None:
            pass

    monkeypatch.setattr(survey_module, "KEPT_S", 20.0)
    monkeypatch.setattr(survey_module, "_LOOKS", 40)
    stages: list[str] = []
    footage = footage_module.load_footage(
        [long_film], Tracker(), lambda stage, done, total: stages.append(stage)
    )
    (clip,) = footage.clips
    stretches = len(clip.spans)
    assert 3 <= stretches <= 5
    assert footage.duration_s == pytest.approx(20.0, abs=4.0)
    assert footage.fps == pytest.approx(FPS, rel=0.01)
    assert len(clip.landmarks) == pytest.approx(20 * FPS, abs=4 * FPS)
    starts = {shot.start for shot in clip.shots}
    times = np.array([stat.time_s for stat in clip.stats])
    assert starts >= {0, *(np.flatnonzero(np.diff(times) > 0.5) + 1).tolist()}
    assert resets == 40 + stretches
    assert (stages.count("choosing"), stages.count("tracking")) == (40, len(clip.landmarks))
    assert footage.warnings[0].startswith("3 minutes of footage: 20 s of it are learnt from, in")
    again = [frame.rgb[8, 8, 0] for frame in footage.frames()]
    assert again == pytest.approx([grey_of(round(time * FPS)) for time in times], abs=6)
