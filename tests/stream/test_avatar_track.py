"""The public avatar track: in a real call of two aiortc peers, and at both its ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

import stream.avatar_track
from benchmarks.live.echo_server import EchoPipeline
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import RunnerError, VideoError
from engine.media.video import VideoWriter, read_frames
from engine.pipeline import PipelineConfig
from engine.render.background import Background
from stream.avatar_track import AvatarTrack
from stream.example_call import call
from stream.media.tracks import rgb_from_frame
from tests.support.places import PRESENTER
from tests.support.waiting import WAIT_S

CONSENT = {"who": "Mia", "statement": "yes", "date": "2024-05-01", "person": "real"}


class Camera(MediaStreamTrack):
    """Grey pictures, brighter by 10 each; the next one comes when it is asked for. Ends after `count`."""

    kind = "video"

    def __init__(self, count: int = 10**9) -> None:
        super().__init__()
        self.count = count
        self.read = 0
        self.eighth = asyncio.Event()

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(0.01)
        if self.read >= self.count:
            raise MediaStreamError
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * (self.read % 25), np.uint8))
        frame.pts, frame.time_base = self.read, Fraction(1, 30)
        self.read += 1
        if self.read == 8:
            self.eighth.set()
        return frame


class Watched(EchoPipeline):
    """An echo that tells when it is closed, and what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.asked: list[str] = []

    def calibrate(self) -> None:
        self.asked.append("calibrate")

    def set_background(self, background: Background) -> None:
        self.asked.append("background")

    def set_frame(self, frame: str) -> None:
        self.asked.append(frame)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def avatar(puppet_avatar: Avatar) -> Avatar:
    return replace(puppet_avatar, consent=CONSENT)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """The pipelines that were built; they echo."""
    pipelines: list[Watched] = []

    def build(avatar: Avatar, config: PipelineConfig | None) -> Watched:
        pipelines.append(Watched())
        return pipelines[-1]

    monkeypatch.setattr(stream.avatar_track, "build_pipeline", build)
    return pipelines


def no_threads_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("render")]


async def picture(track: AvatarTrack) -> NDArray[np.uint8]:
    return rgb_from_frame(await asyncio.wait_for(track.recv(), WAIT_S))


async def test_it_renders_the_source_and_marks_a_real_person(avatar: Avatar, built: list[Watched]) -> None:
    track = AvatarTrack(Camera(), avatar)
    assert (await asyncio.wait_for(track.ready(), WAIT_S)).startswith("echo")
    real = await picture(track)
    await track.close()
    track = AvatarTrack(Camera(), replace(avatar, consent=CONSENT | {"person": "synthetic"}))
    by_its_word = await picture(track)
    await track.close()
    track = AvatarTrack(Camera(), load_avatar("theo"))
    presenter = await picture(track)
    await track.close()
    assert real.shape == (256, 256, 3)
    assert real[:200].std() < 3  # the camera's grey
    assert real[-14:].std() > 20
    assert by_its_word[-14:].std() > 20
    assert presenter.std() < 3


async def test_while_it_loads_the_source_is_drained_and_the_newest_frame_wins(
    avatar: Avatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = threading.Event()

    def build(avatar: Avatar, config: PipelineConfig | None) -> Watched:
        assert loaded.wait(WAIT_S)
        return Watched()

    monkeypatch.setattr(stream.avatar_track, "build_pipeline", build)
    camera = Camera()
    track = AvatarTrack(camera, avatar)
    await asyncio.wait_for(camera.eighth.wait(), WAIT_S)
    loaded.set()
    first = await asyncio.wait_for(track.recv(), WAIT_S)
    assert first.pts is not None
    assert first.pts >= 7 * 3_000  # none of those that came while it loaded
    await track.close()


async def test_it_ends_with_its_source_and_releases_everything(avatar: Avatar, built: list[Watched]) -> None:
    track = AvatarTrack(Camera(count=5), avatar)
    ended = asyncio.Event()
    track.on("ended", ended.set)
    await asyncio.wait_for(ended.wait(), WAIT_S)
    track.stop()  # once more, from whoever hears of it: must not stop the release
    await asyncio.wait_for(track.close(), WAIT_S)
    assert [pipeline.closed for pipeline in built] == [1]
    assert no_threads_left()
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_closing_while_it_loads_leaves_nothing(avatar: Avatar, built: list[Watched]) -> None:
    track = AvatarTrack(Camera(), avatar)
    await asyncio.wait_for(track.close(), WAIT_S)
    assert all(pipeline.closed for pipeline in built)
    assert no_threads_left()


async def test_a_renderer_that_cannot_start_ends_it(
    avatar: Avatar, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def build(avatar: Avatar, config: PipelineConfig | None) -> Watched:
        raise RunnerError("no such runner")

    monkeypatch.setattr(stream.avatar_track, "build_pipeline", build)
    track = AvatarTrack(Camera(), avatar)
    with pytest.raises(RunnerError, match="no such runner"):
        await track.ready()
    await asyncio.wait_for(track.close(), WAIT_S)
    assert track.readyState == "ended"
    assert "its renderer cannot start: no such runner" in caplog.text


async def test_a_source_that_fails_ends_it_and_says_why(
    avatar: Avatar, built: list[Watched], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Camera):
        async def recv(self) -> av.VideoFrame:
            raise ValueError("not a frame")

    track = AvatarTrack(Broken(), avatar)
    await asyncio.wait_for(track.ready(), WAIT_S)
    await asyncio.wait_for(track.close(), WAIT_S)
    assert "ValueError: not a frame" in caplog.text


async def test_it_is_steered_while_it_runs(avatar: Avatar, built: list[Watched]) -> None:
    track = AvatarTrack(Camera(), avatar)
    await asyncio.wait_for(track.ready(), WAIT_S)
    track.calibrate()
    track.set_background(Background.color("#00b140"))
    track.set_mirror(True)
    await picture(track)
    await picture(track)
    await track.close()
    assert built[0].asked == ["calibrate", "background"]


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[int], Path]:
    """So many of the presenter's frames, small, again and again."""

    def cut(count: int) -> Path:
        path = tmp_path / f"clip{count}.mp4"
        with av.open(str(PRESENTER)) as source, VideoWriter(path, 320, 240, Fraction(15)) as writer:
            frames = [frame.reformat(320, 240).to_ndarray(format="rgb24") for frame in source.decode(video=0)]
            for rgb in islice(cycle(frames), count):
                writer.write(rgb)
        return path

    return cut


@pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
async def test_a_whole_call_records_the_avatar(
    avatar: Avatar, clip: Callable[[int], Path], tmp_path: Path
) -> None:
    """Real peers, real codecs, the real pipeline but for the network."""
    out, config = tmp_path / "out.mp4", PipelineConfig(runner="null")
    try:
        frames = await asyncio.wait_for(call(clip(60), out, avatar, config), 2 * WAIT_S)
    except VideoError:  # a busy machine may load for longer than four seconds
        frames = await asyncio.wait_for(call(clip(300), out, avatar, config), 2 * WAIT_S)
    seen = list(read_frames(out))
    assert len(seen) == frames >= 2
    last = seen[-1].rgb
    assert last.shape == (avatar.size, avatar.size, 3)
    plate, shown = avatar.plate[4:40, -12:-4].astype(float), last[4:40, -12:-4].astype(float)
    assert np.abs(shown - plate).mean() < 12  # the avatar's own background, after two codecs
    assert last[-14:, :60].std() > 20  # the mark
    assert no_threads_left()


@pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
async def test_a_clip_that_is_over_too_soon_is_told(
    avatar: Avatar, clip: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models are still loading when the one picture of the clip has gone by."""

    def build(avatar: Avatar, config: PipelineConfig | None) -> Watched:
        raise RunnerError("never ready")

    monkeypatch.setattr(stream.avatar_track, "build_pipeline", build)
    out = tmp_path / "out.mp4"
    with pytest.raises(VideoError, match="over before the avatar's first picture"):
        await asyncio.wait_for(call(clip(3), out, avatar, PipelineConfig()), WAIT_S)
    assert not out.exists()
