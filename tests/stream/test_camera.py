"""The avatar as a webcam. The virtual camera's driver is a fake here; everything before it is real."""

from __future__ import annotations

import argparse
import errno
import json
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.live.echo_server import EchoedFrame, EchoPipeline
from engine.avatar import avatar_file
from engine.avatar.avatar import Avatar
from engine.cli import main
from engine.errors import RunnerError, SettingsError, VideoError
from engine.media.video import VideoWriter
from stream.commands import camera as command_camera
from stream.commands.camera import drive
from stream.commands.virtual_camera import SteadyCamera, open_virtual_camera
from stream.commands.webcam import find_source, open_source
from stream.media.tracks import i420_from_rgb
from tests.support.places import PRESENTER


class FakeCamera:
    """Keeps what it is sent."""

    device = "fake camera"

    def __init__(self, fails_after: int | None = None) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self.closed = 0
        self.shown = threading.Event()
        self._fails_after = fails_after

    def send(self, frame: NDArray[np.uint8]) -> None:
        if len(self.pictures) == self._fails_after:
            raise RuntimeError("device gone")
        self.shown.set()
        self.pictures.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420)))

    def close(self) -> None:
        self.closed += 1


def frames(count: int) -> Iterator[av.VideoFrame]:
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8))
        frame.pts, frame.time_base = index, Fraction(1, 25)
        yield frame


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 64, 48, Fraction(10)) as writer:
        for index in range(8):
            writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    return path


# The webcam


@pytest.mark.parametrize(
    ("device", "platform", "name", "form"),
    [
        ("0", "linux", "/dev/video0", "v4l2"),
        ("/dev/video7", "linux", "/dev/video7", "v4l2"),
        ("1", "darwin", "1:none", "avfoundation"),
        ("FaceTime HD Camera", "darwin", "FaceTime HD Camera:none", "avfoundation"),
        ("Integrated Camera", "win32", "video=Integrated Camera", "dshow"),
    ],
)
def test_where_a_webcam_is_found(device: str, platform: str, name: str, form: str) -> None:
    source = find_source(device, platform)
    assert (source.name, source.form) == (name, form)


@pytest.mark.parametrize(
    ("device", "platform", "reason"),
    [
        ("100", "linux", "wanted 0 to 99"),
        ("webcam", "linux", "no such file; wanted 0, /dev/video0"),
        ("0", "win32", "by name; give it as the Device Manager shows it"),
    ],
)
def test_what_is_no_webcam_is_refused(device: str, platform: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        find_source(device, platform)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, "not there; plug one in"),
        (errno.EBUSY, "another program holds it; close that program"),
        (errno.EACCES, ".* usermod -aG video"),
        (errno.EIO, "gives no pictures .*try another --device or --fps"),
    ],
)
def test_a_webcam_that_cannot_be_had(number: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        av.error.err_check(-number, "/dev/video0")

    monkeypatch.setattr(av, "open", refuse)
    with (
        pytest.raises(VideoError, match=f"webcam /dev/video0: {reason}"),
        open_source(find_source("0", "linux"), 30),
    ):
        pass


def test_a_webcam_pulled_out_midway_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []

    def watch() -> None:
        with open_source_over(monkeypatch, [*frames(3)], then=errno.ENODEV) as live:
            seen.extend(frame.pts for frame in live)

    with pytest.raises(VideoError, match="webcam /dev/video0: not there"):
        watch()
    assert seen == [0, 1, 2]


def open_source_over(monkeypatch: pytest.MonkeyPatch, pictures: list[av.VideoFrame], then: int) -> Any:
    """open_source of a webcam that says "try again" before each of its pictures, and fails at the end."""

    class Container:
        streams = argparse.Namespace(video=[1])

        def decode(self, video: int) -> Iterator[av.VideoFrame]:
            if not self.ready:
                self.ready = True
                av.error.err_check(-errno.EAGAIN)
            self.ready = False
            if not pictures:
                av.error.err_check(-then)
            yield pictures.pop(0)
            av.error.err_check(-errno.EAGAIN)

        ready = False

        def __enter__(self) -> Container:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(av, "open", lambda *_, **__: Container())
    return open_source(find_source("0", "linux"), 30, sleep=lambda _: None)


def test_a_file_plays_at_its_own_pace(clip: Path) -> None:
    """By a clock that only sleeping moves."""
    now_s = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    times = []
    with open_source(find_source(str(clip)), 30, now_s=lambda: now_s, sleep=sleep) as played:
        for _ in played:
            times.append(now_s - 100.0)
    assert times == pytest.approx([index / 10 for index in range(8)], abs=1e-3)


def test_a_file_that_is_no_video_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(VideoError, match="not readable as video"):
        find_source(str(path))


# The virtual camera


@pytest.mark.parametrize(
    ("platform", "cure"),
    [("linux", "modprobe v4l2loopback"), ("darwin", "OBS Studio 30"), ("win32", "OBS Studio")],
)
def test_without_a_driver_the_cure_is_told(platform: str, cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="needs the extra `camera`")

    def no_driver(*_: object, **__: object) -> None:
        raise RuntimeError("'obs' backend: none\n'unitycapture' backend: none")

    monkeypatch.setattr(pyvirtualcam, "Camera", no_driver)
    with pytest.raises(SettingsError, match=f"no virtual camera .*{cure}") as caught:
        open_virtual_camera((256, 256), 30, platform=platform)
    assert "\n" not in str(caught.value)


def test_without_the_package_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, error_line: Callable[[], str], clip: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    assert main(["camera", "--device", str(clip)]) == 1
    assert "pyvirtualcam is not installed" in error_line()


def test_a_camera_that_is_not_there_is_told_before_any_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, error_line: Callable[[], str]
) -> None:
    monkeypatch.setattr(command_camera, "open_virtual_camera", lambda *_: FakeCamera())
    assert main(["camera", "--device", "/dev/video98"]) == 1
    assert error_line().startswith("avatarcast: error: webcam /dev/video98: ")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (["--fps", "0"], "--fps '0': a number from 1 to 120"),
        (["--fps", "fast"], "--fps 'fast'"),
        (["--mark-size", "1"], "nobody could read it"),
        (["--background", "nowhere.png"], "no such picture"),
        (["--frame", "wide"], "frame 'wide': wanted auto, square, or a size such as 1280x720"),
    ],
)
def test_bad_options_are_one_line(option: list[str], reason: str, error_line: Callable[[], str]) -> None:
    assert main(["camera", *option]) == 1
    assert reason in error_line()


# From one to the other


def test_every_frame_is_rendered_or_counted() -> None:
    camera = FakeCamera()

    def webcam() -> Iterator[av.VideoFrame]:
        for frame in frames(40):
            if frame.pts == 20:
                assert camera.shown.wait(30.0)
            yield frame

    result = drive(webcam(), camera, EchoPipeline(busy_ms=3), None)
    assert result["frames_in"] == 40
    assert result["frames_out"] == len(camera.pictures) >= 1
    assert result["dropped"] <= 40 - result["frames_out"]
    greys = [float(picture.mean()) for picture in camera.pictures]
    assert greys == sorted(greys)  # newest wins: never an older one after a newer


def test_ctrl_c_ends_it_with_a_result() -> None:
    def interrupted() -> Iterator[av.VideoFrame]:
        yield from frames(3)
        raise KeyboardInterrupt

    assert drive(interrupted(), FakeCamera(), EchoPipeline(), None)["frames_in"] == 3


def endless() -> Iterator[av.VideoFrame]:
    while True:
        yield from frames(100)


def test_it_goes_on_showing_its_picture_where_nothing_new_comes() -> None:
    camera = FakeCamera()
    with SteadyCamera(camera, 100.0) as steady:
        steady.send(i420_from_rgb(np.zeros((4, 4, 3), np.uint8)))
        while len(camera.pictures) < 5:
            assert camera.shown.wait(30.0)
        steady.send(i420_from_rgb(np.full((4, 4, 3), 255, np.uint8)))
        while camera.pictures[-1].mean() < 200:
            sleep(0.001)
    assert steady.shown == len(camera.pictures)
    assert sorted(picture.mean() for picture in camera.pictures) == [p.mean() for p in camera.pictures]


def test_what_was_sent_last_is_shown_though_it_ends_at_once() -> None:
    camera = FakeCamera()
    with SteadyCamera(camera, 0.01) as steady:
        sleep(0.05)  # it has looked for a picture, and looks again in 100 s
        steady.send(i420_from_rgb(np.zeros((4, 4, 3), np.uint8)))
    assert len(camera.pictures) == 1


def test_what_takes_long_is_not_made_up_for() -> None:
    """A consumer that holds a picture for a while does not get a heap of them afterwards."""

    shown_s: list[float] = []

    class Held(FakeCamera):
        def send(self, frame: NDArray[np.uint8]) -> None:
            super().send(frame)
            shown_s.append(monotonic())
            if len(shown_s) == 1:
                sleep(0.3)

    with SteadyCamera(Held(), 100.0) as steady:
        steady.send(i420_from_rgb(np.zeros((4, 4, 3), np.uint8)))
        while len(shown_s) < 12:
            sleep(0.001)
    assert shown_s[11] - shown_s[1] > 0.08


def test_a_steady_camera_that_goes_away_tells_whoever_sends() -> None:
    picture = i420_from_rgb(np.zeros((4, 4, 3), np.uint8))
    with SteadyCamera(FakeCamera(fails_after=0), 100.0) as steady:
        steady.send(picture)
        while steady.alive:
            sleep(0.001)
        with pytest.raises(RuntimeError, match="device gone"):
            steady.send(picture)


def test_a_virtual_camera_that_goes_away_ends_it() -> None:
    with pytest.raises(SettingsError, match=r"fake camera went away \(device gone\)"):
        drive(endless(), FakeCamera(fails_after=2), EchoPipeline(), None)


def test_consent_that_is_withdrawn_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.commands.camera.WITHDRAWN_EVERY_S", 0.05)
    asked: list[str] = ["", "2026-11-30"]
    with pytest.raises(SettingsError, match="consent to this avatar was withdrawn on 2026-11-30"):
        drive(endless(), FakeCamera(), EchoPipeline(), None, withdrawn=lambda: asked.pop(0))


def test_a_renderer_that_always_fails_ends_it() -> None:
    class Broken(EchoPipeline):
        def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
            raise ValueError("broken")

    with pytest.raises(RunnerError, match="see the log lines above"):
        drive(endless(), FakeCamera(), Broken(), None)


@pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
def test_the_real_pipeline_fills_the_camera(
    monkeypatch: pytest.MonkeyPatch,
    puppet_avatar: Avatar,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A clip plays as the webcam; all but the network, which the null runner stands in for."""
    short = tmp_path / "short.mp4"
    with av.open(str(PRESENTER)) as source, VideoWriter(short, 320, 240, Fraction(15)) as writer:
        for frame, _ in zip(source.decode(video=0), range(20), strict=False):
            writer.write(frame.reformat(320, 240).to_ndarray(format="rgb24"))
    real = {"who": "Mia", "statement": "yes", "date": "2024-05-01", "person": "real"}
    puppet = Avatar(**{name: getattr(puppet_avatar, name) for name in Avatar.__slots__} | {"consent": real})
    monkeypatch.setattr(avatar_file, "load_avatar", lambda _: puppet)
    camera = FakeCamera()
    asked: list[tuple[Any, ...]] = []

    def opened(*arguments: object) -> FakeCamera:
        asked.append(arguments)
        return camera

    monkeypatch.setattr(command_camera, "open_virtual_camera", opened)
    given = ["--device", str(short), "--runner", "null", "--background", "#00b140", "--json"]
    assert main(["camera", *given, "--mark-corner", "top-left", "--virtual-device", "v"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert asked == [((1280, 720), 30.0, "v")]
    assert result["frames_in"] == 20
    assert result["frames_out"] >= 1
    assert result["shown"] == len(camera.pictures) >= 1
    assert result["camera"] == "fake camera"
    assert camera.closed == 1
    last = camera.pictures[-1]
    assert last.shape == (720, 1280, 3)
    assert last[100:140, -200:].reshape(-1, 3).mean(0) == pytest.approx((0, 177, 64), abs=8)
    assert last[:40, :200].max() > 200  # the mark's letters
