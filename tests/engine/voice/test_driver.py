"""A voice as the driver: lips for sound, alone, in the place of a lost face, or on a face that is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.person.geometry import rotation_to_euler_deg
from engine.person.motion import Motion, build_neutral, motion_of
from engine.person.retarget import Retargeter
from engine.voice.base import AROUND, LIP_NUMBERS, SHAPES, Base
from engine.voice.driver import LOOK_AHEAD_S, SpokenLips, VoiceDriver
from engine.voice.idle import Idle
from engine.voice.manner import MANNERS, TAPS, Manner
from engine.voice.motion_code import LIP_GAP, LIPS
from engine.voice.speaker import Speaker
from tests.support.puppet import Pose, Puppet
from tests.support.sounds import babble, hush

PERSON = Puppet(200, shape_seed=3)
NEUTRAL = build_neutral([PERSON.landmarks()])
OPEN = 0.2  # head units
SOUND = np.concatenate([hush(1.0), babble(2.0), hush(2.0)])


def gaping() -> Speaker:
    """Would hold the lips open all the time."""
    weights = {f"{n}.{kind}": np.zeros(shape, np.float32) for n in range(3) for kind, shape in _SHAPES[n]}
    weights |= {"mean": np.zeros(AROUND, np.float32), "scale": np.ones(AROUND, np.float32)}
    weights["2.bias"][LIP_GAP] = OPEN
    return Speaker(base_network=Base(weights))


_SHAPES = [
    (("weight", (AROUND, 2)), ("bias", (2,))),
    (("weight", (2, 2)), ("bias", (2,))),
    (("weight", (2, LIP_NUMBERS + SHAPES)), ("bias", (LIP_NUMBERS + SHAPES,))),
]


def heard(sound: FloatArray = SOUND, kept_rows: int | None = None) -> SpokenLips:
    lips = SpokenLips(gaping(), kept_rows)
    lips.push(sound)
    lips.finish()
    return lips


def test_lips_part_for_speech_alone_and_shut_in_silence() -> None:
    lips = heard()
    assert [lips.at(time_s)[LIP_GAP] for time_s in (1.5, 2.5)] == pytest.approx([OPEN, OPEN], rel=1e-4)
    assert not any(lips.at(time_s)[LIPS].any() for time_s in (0.0, 0.5, 3.8, 4.9, 60.0, -3.0))
    assert lips.speech_s == pytest.approx(2.0, abs=0.3)


def test_what_was_set_aside_is_heard_when_lips_are_asked_for() -> None:
    before = np.concatenate([hush(20.3), babble(2.0), hush(2.0)])
    lips = SpokenLips(gaping())
    for at in range(0, len(before), 320):
        lips.push(before[at : at + 320], asked_for=False)
    assert lips.speech_s == 0.0
    for _ in range(10):
        lips.push(hush(0.02))
    times_s = np.arange(20.5, 24.0, 0.04)
    whole = heard(before)
    assert [lips.at(time_s)[LIP_GAP] for time_s in times_s] == pytest.approx(
        [whole.at(time_s)[LIP_GAP] for time_s in times_s], abs=1e-6
    )
    assert lips.at(21.5)[LIP_GAP] == pytest.approx(OPEN, rel=1e-4)


def test_lips_are_asked_for_where_the_camera_does_not_drive_alone() -> None:
    seen, driver = camera(yaw_deg=12), VoiceDriver(heard(), Idle(1))
    asked = [driver.asks_for_lips]
    driven(driver, [seen] * 20, 2.0)
    asked.append(driver.asks_for_lips)
    driver.motion(None, NEUTRAL)
    asked.append(driver.asks_for_lips)
    assert asked == [True, False, True]
    assert VoiceDriver(heard(), Idle(1), always_lips=True).asks_for_lips


def test_a_voice_that_is_refused_moves_nothing_and_fades() -> None:
    driver, gaps = VoiceDriver(heard(), Idle(1)), []
    for index in range(60):
        driver.refuses = 20 <= index < 40
        driver.at(index / 25, 1.5)
        motion = driver.motion(None, NEUTRAL)
        assert motion is not None
        gaps.append(motion.lip_gap - float(NEUTRAL.lip_closed))
    assert gaps[19] == pytest.approx(OPEN, rel=0.1)
    assert max(map(abs, gaps[25:40])) < 0.01
    assert gaps[-1] == pytest.approx(OPEN, rel=0.1)
    assert np.abs(np.diff(gaps)).max() < 0.35 * OPEN


def test_lips_open_and_shut_without_a_jump() -> None:
    lips = heard()
    gaps = np.array([lips.at(time_s)[LIP_GAP] for time_s in np.arange(0.0, 5.0, 0.01)])
    assert np.abs(np.diff(gaps)).max() <= 0.26 * OPEN


def test_sound_that_comes_in_pieces_gives_the_same_lips() -> None:
    whole, pieces = heard(), SpokenLips(gaping(), kept_rows=None)
    for at in range(0, len(SOUND), 700):
        pieces.push(SOUND[at : at + 700])
    known_s = pieces.known_s
    assert 5.0 - LOOK_AHEAD_S - 0.081 < known_s <= 5.0 - LOOK_AHEAD_S
    for time_s in np.arange(0.0, known_s - 0.1, 0.07):
        assert np.allclose(pieces.at(time_s), whole.at(time_s), atol=1e-5)


def test_only_the_last_seconds_are_remembered() -> None:
    lips = heard(np.tile(SOUND, 4), kept_rows=50)
    assert lips.at(17.0)[LIP_GAP] == 0.0  # forgotten
    assert lips.at(19.5)[LIP_GAP] == 0.0  # silence
    lips.push(babble(3.0))
    assert lips.at(lips.known_s)[LIP_GAP] == pytest.approx(OPEN, rel=1e-4)


def camera(yaw_deg: float, mouth: float = 0.0) -> Motion:
    return motion_of(PERSON.landmarks(Pose(yaw_deg=yaw_deg, mouth=mouth)), NEUTRAL)


def driven(driver: VoiceDriver, cameras: list[Motion | None], sound_s: float) -> list[Motion | None]:
    """25 pictures a second, all of which go with this time of the sound."""
    found = []
    for index, seen in enumerate(cameras):
        driver.at(index / 25, sound_s)
        found.append(driver.motion(seen, NEUTRAL))
    return found


def test_alone_it_speaks_and_lives() -> None:
    driver = VoiceDriver(heard(), Idle(1))
    moments = driven(driver, [None] * 50, 2.0)
    assert driver.share == 1.0
    gaps = [moment.lip_gap for moment in moments if moment is not None]
    assert gaps == pytest.approx([float(NEUTRAL.lip_closed) + OPEN] * 50, rel=1e-3)
    assert moments[0] is not None
    assert moments[-1] is not None
    assert not np.allclose(moments[0].rotation, moments[-1].rotation, atol=1e-4)


def test_a_manner_moves_the_head_by_seed_and_leaves_lips_alone() -> None:
    ways = np.zeros((1, len(MANNERS)), np.float32)
    ways[0, len(MANNERS) - 6] = 1.0  # the head's yaw, radians
    kernels = np.exp(-np.arange(TAPS, dtype=np.float32) / 5.0)[None] * 0.05
    manner = Manner(ways, kernels, np.array([0.1, 1.0, 1.0], np.float32))
    drivers = [
        VoiceDriver(heard(), Idle(1), manner=one, seed=seed)
        for one, seed in ((None, 0), (manner, 1), (manner, 2))
    ]
    plain, one, other = (_yaws_and_gaps(driver) for driver in drivers)
    np.testing.assert_allclose(one[1], plain[1], atol=1e-6)
    speaks, silent = slice(40, 75), slice(100, 125)
    moved = one[0] - plain[0]
    assert moved[speaks].std() > 3.0 * moved[silent].std() > 0.0
    assert np.abs(other[0] - one[0])[speaks].max() > 0.01


def _yaws_and_gaps(driver: VoiceDriver) -> tuple[FloatArray, FloatArray]:
    """Of 5 s, 25 pictures a second; radians, head units."""
    yaws, gaps = [], []
    for index in range(125):
        driver.at(index / 25, index / 25)
        moment = driver.motion(None, NEUTRAL)
        assert moment is not None
        yaws.append(np.radians(rotation_to_euler_deg(moment.rotation @ NEUTRAL.rotation.T)[0]))
        gaps.append(moment.lip_gap)
    return np.array(yaws, np.float32), np.array(gaps, np.float32)


def test_a_face_that_is_seen_drives_alone() -> None:
    seen = camera(yaw_deg=12, mouth=0.1)
    moments = driven(VoiceDriver(heard(), Idle(1)), [seen] * 20, 2.0)
    assert moments[-1] is seen
    assert moments[0] is not seen  # it fades in


def test_it_takes_over_from_a_lost_face_and_gives_back() -> None:
    seen = camera(yaw_deg=12)
    lost: Motion | None = None
    moments = driven(VoiceDriver(heard(), Idle(1)), [*[seen] * 20, *[lost] * 40, *[seen] * 10], 2.0)
    assert moments[20:29] == [None] * 9  # the last picture holds
    later = [moment.lip_gap for moment in moments[30:60] if moment is not None]
    assert len(later) == 30
    assert np.diff(later).min() >= -1e-6
    assert later[-1] == pytest.approx(float(NEUTRAL.lip_closed) + OPEN, rel=1e-3)
    assert moments[69] is seen


def test_a_covered_face_is_a_lost_one() -> None:
    seen = camera(yaw_deg=12)
    covered = replace(seen, face_confidence=0.3, lip_gap=0.9)
    moments = driven(VoiceDriver(heard(), Idle(1)), [*[seen] * 20, *[covered] * 40], 4.9)
    gaps = [moment.lip_gap for moment in moments if moment is not None]
    assert max(gaps) < 0.1


def test_lips_by_voice_on_a_head_by_camera() -> None:
    seen = camera(yaw_deg=12, mouth=0.3)
    driver = VoiceDriver(heard(), Idle(1), always_lips=True)
    for sound_s, gap in ((2.0, OPEN), (4.9, 0.0)):
        moment = driven(driver, [seen] * 20, sound_s)[-1]
        assert moment is not None
        assert moment.lip_gap == pytest.approx(float(NEUTRAL.lip_closed) + gap, abs=1e-4)
        assert np.allclose(moment.rotation, seen.rotation, atol=1e-5)
        assert np.array_equal(moment.lid_gap, seen.lid_gap)


@pytest.mark.parametrize("turned", [{"yaw_deg": 15.0}, {"yaw_deg": -10.0, "mouth": 0.1}])
def test_taking_over_and_giving_back_move_nothing_far_in_a_frame(
    puppet_avatar: Avatar, turned: dict[str, float]
) -> None:
    """Of a face that was lost turned away, and is found so again: 2 px at 256 px and 25 pictures a second."""
    retargeter = Retargeter(
        puppet_avatar.neutral, puppet_avatar.support, puppet_avatar.torso, puppet_avatar.size
    )
    retargeter.driver = NEUTRAL
    seen, lost = camera(**turned), None
    script: list[Motion | None] = [*[seen] * 20, *[lost] * 50, *[seen] * 20]
    moments = driven(VoiceDriver(heard(hush(1.0)), Idle(4)), script, 0.5)
    faces = np.stack([retargeter.target(one).face[:, :2] for one in moments if one is not None])
    steps = np.linalg.norm(np.diff(faces, axis=0), axis=2).max(axis=1) * 256 / puppet_avatar.size
    assert steps[12:].max() < 2.0
