"""The synthetic presenters' motion as it is stored, and how phones become lip shapes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.synthetic.presenter.assemble import (
    FRAME_RATE,
    SOUND_RATE_HZ,
    assemble,
    laid_into,
    speech_track,
)
from benchmarks.synthetic.presenter.cast import CAST
from benchmarks.synthetic.presenter.gestures import EXPRESSIONS, GESTURES, RESTING, face_weights
from benchmarks.synthetic.presenter.performance import (
    ARKIT_NAMES,
    CLIPS,
    FRAME_RATE_HZ,
    PERFORMANCE_FILE,
    VISEMES,
    Array,
    Performance,
    load_performance,
)
from benchmarks.synthetic.presenter.script import ACTS, DRIVER, SCRIPTS
from export.voice.articulation import CONTACTS, JAW, LEAD_S, SHAPES, Phone, articulate
from tests.support.places import SHARED

HELD_OUT = 0.8  # the share of the frames after which nothing is enrolled
IN_VIEW = -0.62  # a raised wrist: higher than this, in shoulder widths from the shoulders


@pytest.fixture(scope="module")
def clip() -> Performance:
    return load_performance(PERFORMANCE_FILE, "performance")


@pytest.fixture(scope="module")
def driver() -> Performance:
    return load_performance(PERFORMANCE_FILE, "driver")


def column(clip: Performance, name: str) -> Array:
    return clip.face[:, ARKIT_NAMES.index(name)]


def test_clips_are_as_long_as_the_script(clip: Performance, driver: Performance) -> None:
    assert len(clip) == 1365
    assert len(driver) == 150
    for name in CLIPS:
        assert len(load_performance(PERFORMANCE_FILE, name)) == round(SCRIPTS[name].length_s * FRAME_RATE_HZ)


def test_first_second_is_the_resting_face(clip: Performance) -> None:
    first = slice(0, FRAME_RATE_HZ)
    np.testing.assert_allclose(
        clip.face[first], np.tile(face_weights(RESTING), (FRAME_RATE_HZ, 1)), atol=1e-3
    )
    assert not clip.viseme[first].any()
    assert not clip.head[first].any()
    assert (clip.wrist[first, :, 1] < -1.2).all()


def test_brows_move_further_than_was_said_and_rest_where_they_did(clip: Performance) -> None:
    resting, raised = clip.face_weights(0), clip.face_weights(int(column(clip, "browInnerUp").argmax()))
    for character in CAST.values():
        shown = character.express(raised)
        assert shown["browInnerUp"] - RESTING["browInnerUp"] > 1.5 * (
            raised["browInnerUp"] - RESTING["browInnerUp"]
        )
        assert shown["jawOpen"] == raised["jawOpen"]
        assert character.express(resting)["browInnerUp"] == pytest.approx(RESTING["browInnerUp"], abs=1e-3)


def test_head_turns_to_each_side_and_mostly_faces_the_camera(clip: Performance) -> None:
    head = np.degrees(clip.head)
    assert (head.min(axis=0) < [-34, -16, -11]).all()
    assert (head.max(axis=0) > [34, 16, 11]).all()
    assert np.abs(head).max() < 42
    assert np.mean(np.abs(head).max(axis=1) > 20) < 0.2


def test_hands_are_in_view_at_times_and_keep_their_distance(clip: Performance) -> None:
    raised = clip.wrist[..., 1] > IN_VIEW
    assert 0.33 < raised.any(axis=1).mean() < 0.42
    assert raised.all(axis=1).any()
    assert (raised[:, 0] & ~raised[:, 1]).any()
    assert (raised[:, 1] & ~raised[:, 0]).any()
    assert clip.wrist[..., 2].max() < 1.2


@pytest.mark.parametrize("name", CLIPS)
def test_nothing_jerks(name: str) -> None:
    clip = load_performance(PERFORMANCE_FILE, name)
    assert np.degrees(np.abs(np.diff(clip.head, axis=0))).max() < 8
    assert np.linalg.norm(np.diff(clip.wrist, axis=0), axis=-1).max() < 0.25
    for axis in (clip.forward, clip.palm):
        np.testing.assert_allclose(np.linalg.norm(axis, axis=-1), 1.0, atol=2e-3)
        assert np.degrees(np.arccos(np.clip((axis[1:] * axis[:-1]).sum(axis=-1), -1, 1))).max() < 40


def test_the_tail_shows_no_new_kind_of_motion() -> None:
    held_out_s = HELD_OUT * SCRIPTS["performance"].length_s
    script = SCRIPTS["performance"]
    hands = [(hands.start_s, hands.kind) for hands in script.hands]
    mouths = [(start, name) for start, _length, name in script.expressions]
    for events in (hands, mouths):
        before = {kind for start, kind in events if start < held_out_s}
        assert {kind for start, kind in events if start >= held_out_s} <= before


def test_each_act_speaks_turns_and_gestures() -> None:
    for act in ACTS:
        assert len(act.talks) == 2
        assert max(abs(sweep.peak_deg[0]) for sweep in act.sweeps) > 35
        assert len({hands.start_s for hands in act.hands}) == 3
        assert {name for _start, _length, name in act.expressions} <= set(EXPRESSIONS)


def test_the_tail_moves_as_much_as_the_rest(clip: Performance) -> None:
    cut = round(HELD_OUT * len(clip))
    raised = (clip.wrist[..., 1] > IN_VIEW).any(axis=1)
    spoken = clip.viseme.max(axis=1) > 0.2
    for share in (raised, spoken):
        assert share[cut:].mean() == pytest.approx(share[:cut].mean(), abs=0.1)


def test_the_driver_moves_in_ways_of_its_own(driver: Performance) -> None:
    script = SCRIPTS["performance"]
    assert not {hands.kind for hands in DRIVER.hands} & {hands.kind for hands in script.hands}
    for talk in DRIVER.talks:
        for other in script.talks:
            if talk.speech == other.speech:
                begin = max(talk.source_s, other.source_s)
                end = min(talk.source_s + talk.length_s, other.source_s + other.length_s)
                assert end - begin < 0.15
    yaw = np.degrees(driver.head[:, 0])
    assert yaw.max() > 20
    assert yaw.min() < -20
    assert column(driver, "eyeBlinkLeft").max() > 0.9


def test_lips_and_lids_are_symmetric_but_for_winks_and_sideways_mouths(clip: Performance) -> None:
    for name in ("mouthSmile", "browOuterUp", "mouthUpperUp", "mouthPress"):
        np.testing.assert_allclose(column(clip, f"{name}Left"), column(clip, f"{name}Right"), atol=0.06)
    wink = np.abs(column(clip, "eyeBlinkLeft") - column(clip, "eyeBlinkRight")) > 0.5
    assert 0 < wink.mean() < 0.05


def test_all_visemes_occur(clip: Performance) -> None:
    peaks = dict(zip(VISEMES, clip.viseme.max(axis=0), strict=True))
    assert peaks.pop("sil") == 0
    assert min(peaks.values()) > 0.6


def test_face_weights_name_every_target(clip: Performance) -> None:
    weights = clip.face_weights(200)
    assert set(weights) == {*ARKIT_NAMES, *(f"viseme_{name}" for name in VISEMES)}
    assert weights["viseme_nn"] == clip.viseme[200, VISEMES.index("nn")]


@pytest.mark.parametrize("phone", sorted(CONTACTS))
@pytest.mark.parametrize("start_s", [0.40, 0.43, 0.46])
def test_lips_touch_on_a_frame_however_short_the_sound_is(phone: str, start_s: float) -> None:
    times = np.arange(15) / FRAME_RATE_HZ
    phones = [
        Phone("AA", 0.1, start_s), Phone(phone, start_s, start_s + 0.04), Phone("AA", start_s + 0.04, 0.9),
    ]  # fmt: skip
    visemes, jaw = articulate(phones, times)
    at = int(np.argmin(np.abs(times + LEAD_S - start_s - 0.02)))
    (name,) = CONTACTS[phone]
    assert visemes[at, VISEMES.index(name)] > 0.9
    assert visemes[at, VISEMES.index("aa")] < 0.05
    assert jaw[at] < 0.02


def test_lips_are_ahead_of_the_sound() -> None:
    times = np.arange(100) / 100.0
    phones = [Phone("SIL", 0.0, 0.4), Phone("UW", 0.4, 0.6), Phone("SIL", 0.6, 1.0)]
    visemes, _ = articulate(phones, times)
    rounded = visemes[:, VISEMES.index("U")]
    assert times[rounded > 0.5 * rounded.max()].mean() == pytest.approx(0.5 - LEAD_S, abs=0.012)
    unled, _ = articulate(phones, times, lead_s=0.0)
    assert times[unled[:, VISEMES.index("U")] > 0.5].mean() == pytest.approx(0.5, abs=0.012)


def test_a_vowel_opens_the_jaw_and_silence_closes_it() -> None:
    times = np.arange(15) / FRAME_RATE_HZ
    visemes, jaw = articulate([Phone("SIL", 0.0, 0.3), Phone("AA", 0.3, 0.6), Phone("SIL", 0.6, 1.0)], times)
    assert visemes[5:7, VISEMES.index("aa")].min() > 0.8
    assert 0.2 < jaw.max() < 0.4
    assert jaw[0] == pytest.approx(0, abs=1e-3)
    assert visemes[-1].max() < 0.01


def test_shapes_and_gestures_name_what_exists() -> None:
    named = {name for parts in SHAPES.values() for part in parts for name in part}
    assert named | {name for part in CONTACTS.values() for name in part} <= set(VISEMES)
    assert set(JAW) <= set(SHAPES)
    for gesture in GESTURES.values():
        for key in gesture(2.0):
            assert key.wrist[2] < 1.2


def test_unknown_clip_is_named() -> None:
    with pytest.raises(ValueError, match="'dance': must be one of driver, performance"):
        load_performance(PERFORMANCE_FILE, "dance")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_frames_become_a_video_that_keeps_transparency_where_it_can(tmp_path: Path, name: str) -> None:
    """The left half of every picture is empty, the right half red."""
    picture = Image.new("RGBA", (64, 64))
    picture.paste((200, 30, 30, 255), (32, 0, 64, 64))
    frames = [tmp_path / f"{number:05d}.png" for number in range(3)]
    for path in frames:
        picture.save(path)
    assemble(frames, np.zeros((1, SOUND_RATE_HZ), np.float32), tmp_path / name, 20)
    with av.open(str(tmp_path / name)) as container:
        decoder = container.streams.video[0].codec_context
        if name.endswith(".webm"):  # FFmpeg's own decoder of VP9 leaves alpha out
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        shown = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet)]
    assert len(shown) == 3
    rgba = shown[1].to_ndarray(format="rgba").astype(int)
    assert np.abs(rgba[:, 40:, :3] - [200, 30, 30]).max() < 25
    assert rgba[:, 40:, 3].min() > 240
    assert (rgba[:, :24, 3].max() < 15) == name.endswith(".webm")


@pytest.mark.parametrize("sound", [np.zeros((1, SOUND_RATE_HZ), np.float32), None])
def test_a_video_has_sound_where_there_is_some(tmp_path: Path, sound: npt.NDArray[np.float32] | None) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "00000.png")
    assemble([tmp_path / "00000.png"], sound, tmp_path / "clip.mp4", 20)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert (len(container.streams.video), len(container.streams.audio)) == (1, int(sound is not None))


def test_pictures_are_laid_into_the_middle_of_their_plate_at_their_own_rate(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / f"{2 * number:05d}.png")
    plate = np.full((64, 112, 3), (30, 30, 200), np.uint8)
    assemble(sorted(tmp_path.glob("*.png")), None, tmp_path / "clip.mp4", 12, plate, FRAME_RATE / 2)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        shown = list(container.decode(video=0))
    assert [frame.time for frame in shown] == pytest.approx(
        [0, 2 / FRAME_RATE_HZ, 4 / FRAME_RATE_HZ], abs=1e-3
    )
    rgb = shown[1].to_ndarray(format="rgb24").astype(int)
    assert np.abs(rgb[:, 28:84] - [200, 30, 30]).max() < 25
    assert np.abs(rgb[:, [*range(20), *range(92, 112)]] - [30, 30, 200]).max() < 25


def test_a_plate_of_other_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"64x64 px before a plate of 160x90"):
        laid_into(np.zeros((90, 160, 3), np.uint8), np.zeros((64, 64, 3), np.uint8))


@pytest.mark.skipif(not (SHARED / "speech").is_dir(), reason=f"no recordings of speech at {SHARED}/speech")
def test_speech_is_heard_where_it_is_spoken() -> None:
    sound = speech_track(DRIVER, SHARED)[0]
    assert len(sound) == 10 * SOUND_RATE_HZ
    assert not sound[: round(1.05 * SOUND_RATE_HZ)].any()
    talk = DRIVER.talks[0]
    heard = sound[round(talk.start_s * SOUND_RATE_HZ) : round((talk.start_s + talk.length_s) * SOUND_RATE_HZ)]
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.08, rel=0.1)


def test_missing_speech_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="recording of speech is missing"):
        speech_track(DRIVER, tmp_path)
