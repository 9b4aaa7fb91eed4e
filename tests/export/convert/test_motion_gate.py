"""The gate on motion: a network that moves the mouth less is refused, one that moves it as far is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import RunnerError
from engine.network.contract import NullRunner, Runner, denoiser_inputs, denoiser_outputs
from engine.person.landmarks import Landmarks
from engine.person.motion import motion_of
from engine.render.keyframes import KeyFrame
from engine.runners.onnx_runner import OnnxRunner
from export.convert import motion_gate
from export.convert.motion_gate import (
    WAVE,
    MotionReport,
    Part,
    compare,
    judge_motion,
    probe,
    require_motion,
)
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import Script

SIZE = 128


@pytest.fixture(scope="module")
def speaker(puppet_avatar: Avatar) -> Avatar:
    """A puppet whose key frames speak and blink."""
    poses = [Pose(), Pose(mouth=0.08), Pose(mouth=0.13), Pose(mouth=0.22), Pose(lids=(0.1, 0.1))]
    poses.append(Pose(yaw_deg=20.0))
    key = puppet_avatar.keyframes[0]
    keys = tuple(KeyFrame(key.rgba, Puppet(SIZE).landmarks(pose)) for pose in poses)
    return replace(puppet_avatar, keyframes=keys)


def nods(count: int = 24) -> list[Landmarks]:
    return [Puppet(SIZE).landmarks(Pose(pitch_deg=8 * float(np.sin(index / 3)))) for index in range(count)]


def null() -> NullRunner:
    return NullRunner(denoiser_inputs(SIZE), denoiser_outputs(SIZE))


def verdict(avatar: Avatar, before: Sequence[Landmarks], after: Sequence[Landmarks]) -> MotionReport:
    """As if a tracker had seen these landmarks in the pictures of the two networks."""
    scripts = iter([Script(before), Script(after)])
    runners = null(), null()
    return judge_motion(avatar, *runners, nods(), make_tracker=lambda: next(scripts))


def shaken(frames: Sequence[Landmarks], seed: int, px: float = 0.1) -> list[Landmarks]:
    rng = np.random.default_rng(seed)
    return [
        replace(frame, face=(frame.face + rng.normal(0, px, frame.face.shape)).astype(np.float32))
        for frame in frames
    ]


def with_lips(frames: Sequence[Landmarks], avatar: Avatar, share: float) -> list[Landmarks]:
    """The frames with the whole expression at that share."""
    neutral = avatar.neutral
    made = []
    for frame in frames:
        motion = motion_of(frame, neutral)
        less = (share - 1) * motion.expression @ motion.rotation.T * motion.scale
        made.append(replace(frame, face=(frame.face + less).astype(np.float32)))
    return made


def asked(avatar: Avatar) -> list[Landmarks]:
    return [*(landmarks for _, landmarks in probe(avatar)), *nods()]


def test_the_probe_fades_mouths_and_lids_in_and_out(speaker: Avatar) -> None:
    neutral = speaker.neutral
    moves = probe(speaker)
    assert [part for part, _ in moves[::WAVE]] == ["lip_aperture"] * 3 + ["lid_aperture"] * 2
    lips = np.array([motion_of(landmarks, neutral).lip_gap for _, landmarks in moves]).reshape(-1, WAVE)
    assert (np.diff(lips[:3].max(1)) > 0.02).all()
    assert lips[:, 0] == pytest.approx(lips[0, 0], abs=1e-3)  # every wave begins at rest
    lids = np.array([motion_of(landmarks, neutral).lid_gap.mean() for _, landmarks in moves])
    assert lids[3 * WAVE :].min() < 0.5 * lids[0]
    heads = [motion_of(landmarks, neutral).rotation for _, landmarks in moves]
    assert np.abs(np.stack(heads) - heads[0]).max() < 0.02


def test_the_same_motion_passes(speaker: Avatar) -> None:
    report = verdict(speaker, shaken(asked(speaker), 1), shaken(asked(speaker), 2))
    require_motion(report)
    for part in report.parts.values():
        assert part is not None
        assert part.judged
        assert part.gain == pytest.approx(1.0, abs=0.04)
        assert part.correlation_after > 0.95
    assert report.frames == 5 * WAVE + 24


def test_a_mumbling_network_is_refused(speaker: Avatar) -> None:
    mumbled = with_lips(asked(speaker), speaker, 0.85)
    report = verdict(speaker, shaken(asked(speaker), 1), shaken(mumbled, 2))
    lips = report.parts["lip_aperture"]
    assert lips is not None
    assert lips.gain == pytest.approx(0.85, abs=0.03)
    with pytest.raises(RunnerError, match=r"lip_aperture moves 0\.8\d \(\+-0\.\d\d\) times as far"):
        require_motion(report)


def test_a_network_that_loses_the_face_is_refused(speaker: Avatar) -> None:
    frames = asked(speaker)
    lost = [Landmarks(SIZE, SIZE) if index % 5 == 0 else frame for index, frame in enumerate(frames)]
    report = verdict(speaker, frames, lost)
    with pytest.raises(RunnerError, match="no face is found in 20% of"):
        require_motion(report)


def part(gain: float, error: float = 0.01, after: float = 0.95) -> MotionReport:
    return MotionReport(60, 0.0, {"pitch": Part(gain, error, 0.95, after), "lip_aperture": None})


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        (part(0.97), None),
        (part(1.3), None),  # exaggerating is no loss
        (part(0.94, 0.03), None),  # not certain
        (part(0.5, 0.2), None),  # not judged
        (part(0.94), "pitch moves 0.94"),
        (part(1.0, after=0.8), "follows with correlation 0.80 instead of 0.95"),
    ],
)
def test_bounds(report: MotionReport, complaint: str | None) -> None:
    if complaint is None:
        require_motion(report)
        return
    with pytest.raises(RunnerError, match=complaint):
        require_motion(report)


def test_noise_before_is_no_gain_after() -> None:
    """A regression of the new on the old would read 0.5 here."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=4000)
    old, new = (truth + rng.normal(size=4000) for _ in range(2))
    found = compare(truth, old, new)
    assert found is not None
    assert found.gain == pytest.approx(1.0, abs=3 * found.error)
    assert found.error < 0.04
    assert compare(truth, old, np.zeros(4000)) is None
    assert compare(np.zeros(4000), old, new) is None


def test_what_cannot_be_judged_says_why(speaker: Avatar) -> None:
    runners = null(), null()
    without = judge_motion(speaker, *runners, nods(), make_tracker=lambda: None)
    assert "LiteRT is not installed" in without.note
    faceless = [Landmarks(SIZE, SIZE)] * 200
    unseen = verdict(speaker, faceless, faceless)
    assert "a face was found in only 0%" in unseen.note
    for report in (without, unseen):
        require_motion(report)
        assert report.to_dict()["parts"] == {}


def test_a_person_who_never_speaks_is_judged_by_the_rest(puppet_avatar: Avatar) -> None:
    key = puppet_avatar.keyframes[0]
    still = [replace(pose, mouth=0.0, lids=(1.0, 1.0)) for pose in lively(5, seed=3)]
    keys = tuple(KeyFrame(key.rgba, Puppet(SIZE).landmarks(pose)) for pose in still)
    quiet = replace(puppet_avatar, keyframes=keys)
    frames = asked(quiet)
    report = verdict(quiet, frames, frames)
    assert report.parts["lip_aperture"] is None
    assert report.parts["pitch"] is not None


class Mumbler:
    """A network whose mouth is a fifth what it should be and the rest the mouth at rest."""

    def __init__(self, network: Runner, mouth: tuple[slice, slice]) -> None:
        self.inputs, self.outputs = network.inputs, network.outputs
        self._network, self._mouth = network, mouth
        self._at_rest: NDArray[np.float32] | None = None

    def run(self, feed: Mapping[str, Any]) -> Mapping[str, Any]:
        clean = np.array(self._network.run(feed)["clean"])
        rows, columns = self._mouth
        place = clean[:, :, rows, columns]
        if self._at_rest is None:
            self._at_rest = place.copy()
        place[:] = 0.2 * place + 0.8 * self._at_rest
        return {"clean": clean}

    def close(self) -> None:
        self._network.close()


def test_a_real_avatar_that_mumbles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled avatar, seen by the tracker; its own network again passes."""
    monkeypatch.setattr(motion_gate, "WAVE", 12)
    avatar = load_avatar("bundled")
    held_out = [frame.landmarks for frame in avatar.held_out[:4]]
    lips = probe(avatar)[0][1].face[[61, 291, 13, 17], :2]
    (x0, y0), (x1, y1) = (lips.min(0) - 8).astype(int), (lips.max(0) + 20).astype(int)
    network = OnnxRunner(avatar.models["denoiser-int8.onnx"], threads=1)
    try:
        mumbler = Mumbler(network, (slice(y0, y1), slice(x0, x1)))
        report = judge_motion(avatar, network, mumbler, held_out)
    finally:
        network.close()
    with pytest.raises(RunnerError, match="lip_aperture"):
        require_motion(report)
