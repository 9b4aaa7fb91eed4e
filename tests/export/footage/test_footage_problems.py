"""What people really film, made from the synthetic presenter: tracked, then refused or told what to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.errors import FootageError, VideoError
from engine.media.video import VideoWriter, probe, read_frames

pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
from benchmarks.pictures.odd_films import film_that_changes_size, with_display_matrix
from engine.tracking.tracker import EveryFrameTracker
from export.convert.gate import held_out_frames
from export.footage import footage as footage_module
from export.footage import prepare as prepare_module
from export.footage.checks import covered
from export.footage.footage import Footage, load_footage
from export.footage.framing import Framing
from export.footage.prepare import canvas_px, frame_footage, prepare
from export.footage.prepared import Identity, Prepared
from export.training.training_set import TrainingSet
from tests.support.places import PRESENTER, SHARED

FPS = 3  # every fifth frame of the presenter: tracking is what takes the time
FRAMES = 25  # 8.3 s
HAND_OVER_MOUTH = 36  # frame of the presenter
SIZE = 128


@pytest.fixture(scope="module")
def presenter() -> list[U8Image]:
    """Every frame, (256, 256, 3) each, 15 a second."""
    return [frame.rgb for frame in read_frames(PRESENTER)]


@pytest.fixture(scope="module")
def pictures(presenter: list[U8Image]) -> list[U8Image]:
    """Good footage."""
    found = presenter[: HAND_OVER_MOUTH - 3 : 5] + presenter[HAND_OVER_MOUTH + 3 :: 5]
    return list(islice(cycle(chain(found, reversed(found))), FRAMES))


@pytest.fixture(scope="module")
def tracker() -> Iterator[EveryFrameTracker]:
    with EveryFrameTracker() as one:
        yield one


Load = Callable[[Sequence[U8Image]], Footage]


def filmed(shown: Sequence[U8Image], folder: Path, tracker: EveryFrameTracker) -> Footage:
    path = folder / "clip.mp4"
    height, width = shown[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(FPS)) as writer:
        for picture in shown:
            writer.write(picture)
    return load_footage([path], tracker)


@pytest.fixture
def load(tmp_path: Path, tracker: EveryFrameTracker) -> Load:
    """Films the pictures and loads the clip as footage."""
    return lambda shown: filmed(shown, tmp_path, tracker)


@pytest.fixture(scope="module")
def good(
    pictures: list[U8Image], tracker: EveryFrameTracker, tmp_path_factory: pytest.TempPathFactory
) -> Footage:
    """Of the good pictures."""
    return filmed(pictures, tmp_path_factory.mktemp("good"), tracker)


def shown_again(footage: Footage, size: int = SIZE) -> Any:
    return prepare(footage, [Framing(0, 0, 256)] * len(footage.clips), size, lambda done, total: None)


def test_eight_seconds_are_enough_and_one_is_told_that_more_is_better(
    pictures: list[U8Image], load: Load
) -> None:
    footage = load(pictures[:24])  # not one frame more
    assert footage.duration_s == pytest.approx(8.0)
    assert any("only 8 s of usable footage: 30 s give" in warning for warning in footage.warnings)
    with pytest.raises(FootageError, match=r"7\.7 s of usable footage, wanted 8 s or more"):
        load(pictures[:23])


def test_side_light_is_told(pictures: list[U8Image], load: Load) -> None:
    shade = np.where(np.arange(256) < 128, 1.0, 0.3)[None, :, None]
    footage = load([(picture * shade).astype(np.uint8) for picture in pictures])
    assert any(
        warning.startswith("one half of the face is") and "turn towards the window" in warning
        for warning in footage.warnings
    )


def test_the_dark_is_refused(pictures: list[U8Image], load: Load) -> None:
    with pytest.raises(FootageError, match=r"light|lamp"):
        load([np.asarray(picture // 9, np.uint8) for picture in pictures])


def test_blur_is_refused(pictures: list[U8Image], load: Load) -> None:
    with pytest.raises(FootageError, match="the face is blurred"):
        load([np.asarray(cv2.GaussianBlur(picture, (0, 0), 4.0), np.uint8) for picture in pictures])


def test_an_empty_room_is_refused(pictures: list[U8Image], load: Load) -> None:
    wall = np.tile(pictures[0][:, :24], (1, 11, 1))[:, :256]
    with pytest.raises(
        FootageError, match=r"a face is in 0 % of the frames, wanted 60 %: stay in the picture"
    ):
        load([wall] * 5)


def test_a_hand_over_the_mouth_is_told_and_not_learnt_from(
    presenter: list[U8Image], pictures: list[U8Image], load: Load
) -> None:
    footage = load([*pictures, *presenter[HAND_OVER_MOUTH - 1 : HAND_OVER_MOUTH + 2], *pictures[:4]])
    assert any("a hand is over mouth or eyes in" in warning for warning in footage.warnings)
    left_out = np.flatnonzero(~footage.clips[0].usable)
    assert len(left_out) > 0
    assert set(left_out) <= set(range(FRAMES, FRAMES + 3))
    assert len(shown_again(footage).rgb) == FRAMES + 7 - len(left_out)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_a_real_hand_before_the_mouth_is_seen(tracker: EveryFrameTracker) -> None:
    """A signer's "eat": up to the mouth, and away again."""
    tracker.reset()
    over = [
        covered(tracker.track(frame.rgb, int(frame.time_s * 1e9)))
        for frame in read_frames(SHARED / "drivers" / "asl_gestures" / "eat.mkv")
        if frame.index % 2 == 0
    ]
    assert 3 <= sum(over) <= 8
    assert not any(over[:8])
    assert not any(over[-6:])


def beside(picture: U8Image) -> U8Image:
    """Two people: the second one mirrored, a little smaller."""
    other = np.full_like(picture, picture[2, 2])
    small = cv2.resize(picture, (216, 216), interpolation=cv2.INTER_AREA)[:, ::-1]
    other[40:, 20:236] = small
    return np.hstack([picture, other])


def test_a_second_person_is_refused(pictures: list[U8Image], load: Load) -> None:
    with pytest.raises(
        FootageError, match=r"a second person is in \d+ % of the frames: film one person alone"
    ):
        load([beside(picture) for picture in pictures])


def test_frames_with_a_passer_by_are_not_learnt_from(pictures: list[U8Image], load: Load) -> None:
    """Who is there at one look in ten is forgiven, but must not become part of the avatar."""
    alone = [np.hstack([p, np.full_like(p, p[2, 2])]) for p in 3 * pictures]
    footage = load([beside(pictures[0]) if index == 30 else one for index, one in enumerate(alone)])
    (clip,) = footage.clips
    assert not clip.usable[21:40].any()
    assert clip.usable[:20].all()
    assert clip.usable[41:].all()
    prepared = shown_again(footage)
    assert len(prepared.rgb) == clip.usable.sum()
    assert all(frame.face_confidence > 0 for frame in prepared.landmarks)
    gap = int(clip.usable[:30].sum())
    assert prepared.shot[gap - 1] != prepared.shot[gap]  # no pair of frames spans what was left out


def test_at_a_cut_everything_starts_afresh_but_the_chest(
    presenter: list[U8Image], load: Load, tracker: EveryFrameTracker
) -> None:
    """The person jumps 60 px to the side; the chest's shift still counts from the first picture."""
    cut, jump = 12, 60
    shown = [
        picture if index < cut else np.asarray(np.roll(picture, jump, axis=1), np.uint8)
        for index, picture in enumerate(presenter[60 : 60 + FRAMES])
    ]
    footage = load(shown)
    (clip,) = footage.clips
    assert (clip.shots[0].stop, clip.shots[-1].start) == (cut, cut)
    prepared = shown_again(footage)
    assert (prepared.shot == (np.arange(FRAMES) >= cut)).all()
    tracker.reset()
    fresh = tracker.track(next(f.rgb for f in footage.frames() if f.index == cut), 0)
    assert np.abs(clip.landmarks[cut].face - fresh.face).max() < 1e-3
    before, after = clip.landmarks[cut - 1], clip.landmarks[cut]
    moved = after.face[:, 0].mean() - before.face[:, 0].mean()
    assert moved == pytest.approx(jump, abs=15)
    assert after.chest_confidence < 0.5 or after.chest[0] - before.chest[0] == pytest.approx(jump, abs=15)


def test_training_never_takes_a_previous_picture_from_before_a_cut(
    prepared: Prepared, identity: Identity
) -> None:
    cut = 30
    shots = (np.arange(len(prepared.rgb)) >= cut).astype(np.int32)
    data = TrainingSet(replace(prepared, shot=shots), identity, seed=1)
    data._own_output[:cut] = 255  # what the network made of the frames before it
    white = [
        [float((data._previous(frame) > 250).mean()) > 0.5 for _ in range(50)]
        for frame in (cut - 1, cut, cut + 1, cut + 6)
    ]
    assert any(white[0])
    assert not any(map(any, white[1:]))


def test_the_frames_that_judge_an_export_are_of_one_shot(prepared: Prepared) -> None:
    """The longest one of the tail, not what is before its first cut."""
    shots = np.searchsorted([prepared.tail_start + 2], np.arange(len(prepared.rgb)), "right").astype(np.int32)
    frames = held_out_frames(replace(prepared, shot=shots), 5)
    assert len(frames) == 5
    first = prepared.landmarks[prepared.tail_start + 1].face
    assert not any(np.array_equal(frame.landmarks.face, first) for frame in frames)


# Files as cameras and browsers write them


def write(
    path: Path, shown: Sequence[U8Image], codec: str, pix_fmt: str, times_ms: Sequence[int], **how: Any
) -> Path:
    with av.open(str(path), "w", options=how) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = shown[0].shape[1], shown[0].shape[0]
        stream.pix_fmt = pix_fmt
        stream.bit_rate = 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for picture, time_ms in zip(shown, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_browser_recording_without_length_and_with_uneven_frames(
    pictures: list[U8Image], tmp_path: Path, tracker: EveryFrameTracker
) -> None:
    """As Chromium's MediaRecorder writes it; the rate comes from the frames' own times."""
    uneven = np.cumsum([0, *(250 if index % 2 else 420 for index in range(FRAMES - 1))])
    path = write(tmp_path / "r.webm", pictures, "libvpx", "yuv420p", uneven.tolist(), live="1")
    progress: list[tuple[int, int]] = []
    footage = load_footage([path], tracker, lambda _, done, total: progress.append((done, total)))
    assert footage.duration_s == pytest.approx(uneven[-1] / 1000 * FRAMES / (FRAMES - 1), rel=0.01)
    assert footage.fps == pytest.approx(1000 / 335, rel=0.01)
    assert progress[-1] == (FRAMES, FRAMES)
    assert shown_again(footage).fps == pytest.approx(footage.fps)


def test_ten_bit_hevc_looks_as_it_was_filmed(pictures: list[U8Image], tmp_path: Path) -> None:
    times = (np.arange(6) * 200).tolist()
    path = write(tmp_path / "iphone.mov", pictures[:6], "libx265", "yuv420p10le", times)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
    for frame, picture in zip(read_frames(path), pictures, strict=False):
        assert np.abs(frame.rgb.astype(int) - picture).mean() < 4


def test_portrait_with_rotation_metadata_is_upright(
    pictures: list[U8Image], tmp_path: Path, tracker: EveryFrameTracker
) -> None:
    """A phone stores what its sensor sees and says how to turn it."""
    tall = [np.vstack([picture, np.tile(picture[-1:], (128, 1, 1))]) for picture in pictures[:4]]
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 384, 256, "yuv420p"
        stream.set_display_rotation(90)
        for picture in tall:
            turned = np.ascontiguousarray(np.rot90(picture, -1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(turned, format="rgb24")))
        container.mux(stream.encode(None))
    info = probe(path)
    assert (info.width, info.height) == (256, 384)
    tracker.reset()
    faces = [tracker.track(frame.rgb, frame.index) for frame in read_frames(path)]
    assert all(face.face_confidence > 0 for face in faces)
    forehead, chin = faces[-1].face[10], faces[-1].face[152]
    assert chin[1] - forehead[1] > 2 * abs(chin[0] - forehead[0])  # head up


def test_a_phone_that_is_turned_midway_films_two_clips(
    pictures: list[U8Image], tmp_path: Path, tracker: EveryFrameTracker
) -> None:
    """The second half was cut out by the first one's square, far from the face."""
    wall = np.tile(pictures[0][:, :1], (1, 64, 1))
    wide = [np.hstack([wall, picture, wall]) for picture in pictures[:12]]
    tall = [np.vstack([picture, np.tile(picture[-1:], (128, 1, 1))]) for picture in pictures[12:]]
    path = film_that_changes_size(tmp_path / "turned.webm", [wide, tall], FPS)
    footage = load_footage([path], tracker)
    assert [(clip.first, len(clip.landmarks)) for clip in footage.clips] == [(0, 12), (12, 13)]
    assert [(clip.info.width, clip.info.height) for clip in footage.clips] == [(384, 256), (256, 384)]
    assert footage.duration_s == pytest.approx(FRAMES / FPS, abs=0.02)
    assert [(frame.clip, frame.index) for frame in footage.frames()][11:13] == [(0, 11), (1, 0)]
    framings = frame_footage(footage, "full")
    prepared = prepare(footage, framings, SIZE, lambda done, total: None)
    assert len(prepared.rgb) == FRAMES
    assert prepared.scene is not None
    assert prepared.scene.rgb.shape == (256, 384, 3)  # of the first clip
    assert (prepared.scene.left, prepared.scene.side) == (framings[0].x, 256)
    assert prepared.shot[11] != prepared.shot[12]
    for frame in (6, 18):  # the face is where the landmarks of its picture say
        tracker.reset()
        again = tracker.track(prepared.rgb[frame], 0)
        assert np.abs(again.face - prepared.landmarks[frame].face)[:, :2].mean() < 2.0


def test_a_selfie_that_says_how_it_is_flipped_gives_the_plain_ones_landmarks(
    pictures: list[U8Image], tmp_path: Path, tracker: EveryFrameTracker
) -> None:
    plain = write(tmp_path / "plain.mp4", pictures[:3], "libx264", "yuv420p", [0, 200, 400])
    flipped = [picture[:, ::-1] for picture in pictures[:3]]
    stored = write(tmp_path / "stored.mp4", flipped, "libx264", "yuv420p", [0, 200, 400])
    selfie = with_display_matrix(stored, tmp_path / "selfie.mp4", (-1, 0, 0, 1))
    faces = []
    for path in (plain, selfie):
        tracker.reset()
        faces.append([tracker.track(frame.rgb, frame.index).face for frame in read_frames(path)][-1])
    assert np.abs(faces[0] - faces[1])[:, :2].mean() < 0.5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.mp4", b"no video at all, but a text", "not readable as video"),
        ("empty.mov", b"", "the file is empty"),
        ("cut.mp4", PRESENTER.read_bytes()[:20_000], r"truncated after \d+ of 105 frames"),
    ],
)
def test_what_is_no_video_is_refused_at_once(
    tmp_path: Path, tracker: EveryFrameTracker, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=words) as caught:
        load_footage([path], tracker)
    assert "\n" not in str(caught.value)


def test_a_photograph_is_no_film(pictures: list[U8Image], tmp_path: Path, tracker: EveryFrameTracker) -> None:
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), pictures[0][..., ::-1])
    with pytest.raises(VideoError, match=r"me\.png: no film of a kind that is read"):
        load_footage([path], tracker)


def test_a_day_is_refused_before_it_is_tracked(
    monkeypatch: pytest.MonkeyPatch, tracker: EveryFrameTracker
) -> None:
    monkeypatch.setattr(footage_module, "_MAX_S", 5.0)
    with pytest.raises(FootageError, match=r"hours of footage, wanted 0 at most.*cut out the best part"):
        load_footage([PRESENTER], tracker)


class Told:
    """What it is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def stage(self, name: str, total: float) -> None: ...

    def advance(self, done: float, note: str = "") -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize(
    ("side", "canvas"), [(1000, 512), (466, 512), (465, 384), (350, 384), (349, 256), (256, 256), (90, 256)]
)
def test_the_canvas_is_as_large_as_the_footage_fills(good: Footage, side: int, canvas: int) -> None:
    told = Told()
    assert canvas_px(good, [Framing(0, 0, side)], told) == canvas
    assert [f"the canvas is {canvas} px" in line for line in told.warnings] == [True] * (canvas < 512)


def test_long_footage_is_thinned_evenly(good: Footage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame too many must not cost every other one."""
    monkeypatch.setattr(prepare_module, "MAX_FRAMES", FRAMES - 1)
    prepared = shown_again(good)
    assert len(prepared.rgb) == FRAMES - 1
    assert prepared.fps == pytest.approx(good.fps * (FRAMES - 1) / FRAMES)
    monkeypatch.setattr(prepare_module, "MAX_FRAMES", 1500)
    monkeypatch.setattr(prepare_module, "MAX_PIXELS", 10 * SIZE**2)  # large canvases take more memory
    prepared = shown_again(good)
    assert len(prepared.rgb) == 10
    assert prepared.fps == pytest.approx(good.fps * 10 / FRAMES)
