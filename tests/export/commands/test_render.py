"""Rendering a driver clip to a file: frames, sound, marks, mirrors, and what is refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures.odd_films import film_that_changes_size
from engine import pipeline as pipeline_module
from engine.arrays import U8Image
from engine.avatar import avatar_file as avatar_module
from engine.avatar.avatar import Avatar
from engine.avatar.container import SIGNATURES
from engine.errors import FootageError, SettingsError, VideoError
from engine.expression.emotion import EmotionControl
from engine.expression.eye_contact import EyeContact
from engine.media.disclosure import COMMENT
from engine.media.video import VideoWriter, probe, read_frames
from engine.person.landmarks import Landmarks
from engine.pipeline import Adjustment
from engine.render.background import Background
from engine.stages import STAGES
from engine.voice.driver import VoiceDriver
from export.commands import render as command_render
from export.commands.render import RenderOptions, render
from export.drivers import FilmDriver
from tests.support.forged_package import rezip, unzip
from tests.support.places import PRESENTER
from tests.support.presenter_clip import write_presenter
from tests.support.puppet import Pose, Puppet
from tests.support.sounds import babble, write_sound

SIZE = 64
FPS = Fraction(10)


@dataclass
class Frame:
    rgb: U8Image
    stage_ms: dict[str, float]


@dataclass
class FakePipeline:
    """Shows the brightness of the driver's left half as the grey of the picture; holds it without a face."""

    frame_px: tuple[int, int] = (SIZE, SIZE)
    runner_reason: str = "fake: asked for"
    neutral_from: list[Landmarks] = field(default_factory=list)
    given: list[Landmarks | None] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    closed: int = 0
    background: Background | None = None
    adjustments: list[Adjustment] = field(default_factory=list)
    _picture: U8Image = field(default_factory=lambda: np.zeros((SIZE, SIZE, 3), np.uint8))

    def calibrate_from(self, landmarks: Sequence[Landmarks]) -> None:
        self.neutral_from = list(landmarks)

    def set_background(self, background: Background) -> None:
        self.background = background

    def accompany(self, companion: VoiceDriver | None) -> None:
        raise AssertionError("no voice was given")

    def adjust(self, adjustments: Sequence[Adjustment]) -> None:
        self.adjustments = list(adjustments)

    def process(self, rgb: U8Image, time_ns: int, landmarks: Landmarks | None = None) -> Frame:
        self.given.append(landmarks)
        self.times_ns.append(time_ns)
        if landmarks is None or landmarks.face_confidence <= 0:
            return Frame(self._picture, {"track": 0.0})
        self._picture[:] = round(float(rgb[:, : rgb.shape[1] // 2].mean()))
        stages = dict.fromkeys(STAGES, 1.0)
        return Frame(self._picture, stages | {"denoise": 20.0})

    def close(self) -> None:
        self.closed += 1


class FakeTracker:
    """A face in every frame but those named."""

    def __init__(self, without: Sequence[int] = ()) -> None:
        self.without = without
        self.count = 0
        self.left_grey: list[float] = []

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        self.left_grey.append(float(rgb[:, : rgb.shape[1] // 2].mean()))
        found = Puppet(SIZE).landmarks(Pose())
        self.count += 1
        return replace(found, face_confidence=0.0) if self.count - 1 in self.without else found

    def close(self) -> None:
        pass


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """Twelve frames, dark at the left and light at the right, slowly brightening."""
    path = tmp_path / "driver.mp4"
    with VideoWriter(path, 96, 48, FPS) as writer:
        for index in range(12):
            rgb = np.full((48, 96, 3), 200, np.uint8)
            rgb[:, :48] = 30 + 5 * index
            writer.write(rgb)
    return path


@pytest.fixture
def rendered(driver: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Renders the driver with the fake pipeline."""

    def go(
        options: RenderOptions | None = None,
        pipeline: FakePipeline | None = None,
        tracker: FakeTracker | None = None,
        source: Path = driver,
        mirror: bool = False,
    ) -> tuple[dict[str, Any], Path]:
        out = tmp_path / "out.mp4"
        options = options or RenderOptions(mark=None)
        pipeline, tracker = pipeline or FakePipeline(), tracker or FakeTracker()
        return render(pipeline, tracker, FilmDriver(source, mirror), out, options), out

    return go


def pictures(path: Path) -> list[U8Image]:
    return [frame.rgb for frame in read_frames(path)]


def test_every_frame_comes_out_once_and_in_time(rendered: Callable[..., Any]) -> None:
    pipeline = FakePipeline()
    result, out = rendered(pipeline=pipeline)
    assert (result["frames_in"], result["frames_out"]) == (12, 12)
    info = probe(out)
    assert (info.frames, info.width, info.height) == (12, SIZE, SIZE)
    assert info.fps == pytest.approx(10)
    assert info.duration_s == pytest.approx(1.2)
    assert result["duration_s"] == pytest.approx(1.2)
    greys = [float(picture.mean()) for picture in pictures(out)]
    assert greys == pytest.approx([30 + 5 * index for index in range(12)], abs=3)
    assert pipeline.times_ns == pytest.approx([index * 100_000_000 for index in range(12)], abs=1000)


def test_the_neutral_comes_from_the_whole_clip(rendered: Callable[..., Any]) -> None:
    pipeline = FakePipeline()
    rendered(pipeline=pipeline)
    assert len(pipeline.neutral_from) == 12
    assert [id(one) for one in pipeline.given] == [id(one) for one in pipeline.neutral_from]


def test_stage_times_are_those_of_the_frames_that_ran(rendered: Callable[..., Any]) -> None:
    result, _ = rendered(tracker=FakeTracker(without=[0, 5]))
    assert set(result["stage_ms"]) == {"track", "retarget", "guidance", "warp", "denoise", "compose"}
    assert result["stage_ms"]["denoise"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0}
    assert result["stage_ms"]["track"]["p50"] > 0
    assert result["fps"] > 0
    assert result["frames_without_face"] == 2


def test_without_a_face_the_last_picture_stays(rendered: Callable[..., Any]) -> None:
    _, out = rendered(tracker=FakeTracker(without=[6, 7, 8]))
    greys = [float(picture.mean()) for picture in pictures(out)]
    assert greys[6:9] == pytest.approx([greys[5]] * 3, abs=2)
    assert greys[9] == pytest.approx(75, abs=3)


def test_a_driver_without_any_face_is_refused(rendered: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="no face in any of 12 frames"):
        rendered(tracker=FakeTracker(without=range(12)))
    assert [path.name for path in tmp_path.iterdir()] == ["driver.mp4"]


def test_a_mirror_flips_the_driver_before_it_is_tracked(rendered: Callable[..., Any]) -> None:
    tracker = FakeTracker()
    _, out = rendered(RenderOptions(mark=None, side_by_side=True), tracker=tracker, mirror=True)
    assert tracker.left_grey == pytest.approx([200] * 12, abs=3)
    picture = pictures(out)[0]
    assert picture.shape == (SIZE, 2 * SIZE + SIZE, 3)  # the driver is 2:1
    assert picture[:, :56].mean() == pytest.approx(200, abs=6)  # and shown as the avatar sees it
    assert picture[:, 72:120].mean() == pytest.approx(30, abs=6)


def test_a_driver_that_is_turned_midway_keeps_its_middle_and_its_scale(
    rendered: Callable[..., Any], tmp_path: Path
) -> None:
    """Phones are; the driver's face jumped, and beside the avatar it was squeezed."""
    wide, tall = np.full((64, 96, 3), 60, np.uint8), np.full((96, 64, 3), 60, np.uint8)
    for picture in (wide, tall):
        middle = (picture.shape[0] // 2, picture.shape[1] // 2)
        picture[middle[0] - 10 : middle[0] + 10, middle[1] - 10 : middle[1] + 10] = 220
    source = film_that_changes_size(tmp_path / "turned.webm", [[wide] * 4, [tall] * 4])
    _, out = rendered(RenderOptions(side_by_side=True, mark=None), source=source)
    shown = [picture[:, :-SIZE] > 140 for picture in pictures(out)]
    assert len(shown) == 8
    for light in (shown[2], shown[6]):
        rows, columns = np.nonzero(light[..., 0])
        scale = SIZE / 64  # the driver at the avatar's height
        assert rows.mean() == pytest.approx(SIZE / 2, abs=2)
        assert columns.mean() == pytest.approx(light.shape[1] / 2, abs=2)
        assert (np.ptp(rows), np.ptp(columns)) == pytest.approx((20 * scale, 20 * scale), abs=4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no colon in names")
@pytest.mark.parametrize("name", ["12:30.mp4", "concat:x.mp4", "http:y.mkv"])
def test_names_that_look_like_protocols_are_files_in_and_out(
    command: Callable[..., Any], driver: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(driver.parent)
    driver.rename(driver.with_name("data:in.mp4"))
    status, _ = command("--driver", "data:in.mp4", "--out", name)
    assert status == 0
    assert len(pictures(Path(name))) == 12
    assert sorted(entry.name for entry in driver.parent.glob("*.m*")) == sorted([name, "data:in.mp4"])


def test_a_failure_midway_leaves_no_file(rendered: Callable[..., Any], tmp_path: Path) -> None:
    class Broken(FakePipeline):
        def process(self, rgb: U8Image, time_ns: int, landmarks: Landmarks | None = None) -> Frame:
            if len(self.given) == 4:
                raise RuntimeError("network broke")
            return super().process(rgb, time_ns, landmarks)

    with pytest.raises(RuntimeError, match="network broke"):
        rendered(pipeline=Broken())
    assert [path.name for path in tmp_path.iterdir()] == ["driver.mp4"]


def test_a_variable_frame_rate_is_kept(rendered: Callable[..., Any], tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.9]
    path = tmp_path / "variable.mp4"
    with VideoWriter(path, 96, 48, Fraction(4), variable=True) as writer:
        for time_s in times:
            writer.write(np.full((48, 96, 3), 90, np.uint8), time_s)
    _, out = rendered(source=path)
    assert [frame.time_s for frame in read_frames(out)] == pytest.approx(times, abs=2e-3)


def comment_of(path: Path) -> str | None:
    with av.open(str(path)) as container:
        comment: str | None = container.metadata.get("comment")
        return comment


def test_the_file_always_says_what_it_is_and_the_picture_on_request(rendered: Callable[..., Any]) -> None:
    _, out = rendered(RenderOptions(mark=None))
    plain = pictures(out)[0]
    assert comment_of(out) == COMMENT
    assert plain.std() < 2
    _, out = rendered(RenderOptions())
    marked = pictures(out)[0]
    assert comment_of(out) == COMMENT
    assert marked[-14:].std() > 20
    assert np.abs(marked[:40].astype(int) - plain[:40]).max() < 6


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    avatar_file: Path,
    driver: Path,
    tmp_path: Path,
) -> Callable[..., tuple[int, FakePipeline]]:
    """Runs `avatarcast render` on the fake pipeline and tracker."""
    tracking = pytest.importorskip("engine.tracking.tracker", reason="needs LiteRT")

    def go(*extra: str, person: str = "real") -> tuple[int, FakePipeline]:
        pipeline = FakePipeline()
        loaded = avatar_module.load_avatar(avatar_file)
        loaded = replace(loaded, consent=loaded.consent | {"person": person})
        monkeypatch.setattr(avatar_module, "load_avatar", lambda path: loaded)
        monkeypatch.setattr(pipeline_module, "build_pipeline", lambda avatar, config, tracker: pipeline)
        monkeypatch.setattr(tracking, "EveryFrameTracker", lambda filtered: FakeTracker())
        parser = argparse.ArgumentParser()
        command_render.add_arguments(parser)
        required = ["--driver", str(driver), "--out", str(tmp_path / "out.mp4")]
        return command_render.run(parser.parse_args([*required, *extra])), pipeline

    return go


def test_json_has_the_names_of_the_contract(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, pipeline = command("--json")
    assert status == 0
    assert pipeline.closed == 1
    result = json.loads(capsys.readouterr().out)
    assert {"frames_in", "frames_out", "fps", "stage_ms"} <= set(result)
    assert set(result["stage_ms"]["warp"]) == {"p50", "p95", "p99"}
    assert result["runner"] == "fake: asked for"
    assert result["marked"] is True
    assert pictures(tmp_path / "out.mp4")[0][-14:].std() > 20


def test_eye_contact_is_asked_for(command: Callable[..., Any]) -> None:
    assert not command()[1].adjustments
    assert [type(one) for one in command("--eye-contact")[1].adjustments] == [EyeContact]


def test_an_emotion_is_asked_for_by_times_or_by_words(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = command("--emotion", "0:neutral, 0.5:happy 0.6", "--eye-contact")[1].adjustments
    assert [type(one) for one in asked] == [EmotionControl, EyeContact]  # the eyes have the last word
    assert "emotion" not in capsys.readouterr().err
    command("--emotion", "very sad, then relieved")
    said = capsys.readouterr().err
    assert "emotion 'very sad': sad 0.74 (by very sad)" in said
    assert "emotion 'relieved': happy" in said
    with pytest.raises(SettingsError, match="give one of neutral, happy"):
        command("--emotion", "0:merry")


def test_leaving_the_mark_off_is_never_quiet(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command("--no-mark")
    said = capsys.readouterr()
    assert "no visible mark" in said.err
    assert COMMENT in said.err
    assert comment_of(tmp_path / "out.mp4") == COMMENT
    assert pictures(tmp_path / "out.mp4")[0].std() < 2


def test_no_file_takes_the_mark_off_by_its_own_word(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command("--json", person="synthetic")
    assert json.loads(capsys.readouterr().out)["marked"] is True
    assert pictures(tmp_path / "out.mp4")[0][-14:].std() > 20


def test_what_nobody_known_signed_cannot_go_unmarked(command: Callable[..., Any], avatar_file: Path) -> None:
    members = unzip(avatar_file)
    del members[SIGNATURES]
    rezip(avatar_file, members)
    with pytest.raises(SettingsError, match="no visible mark: noise is unsigned; only what is signed here"):
        command("--no-mark")


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        (["--out", "picture.png"], SettingsError, "ends in .mp4"),
        (["--steps", "0"], SettingsError, "--steps 0"),
        (["--mark-size", "1"], SettingsError, "mark size 1 %: nobody could read it"),
        (["--background", "green"], SettingsError, "original, a colour such as '#00b140', or the path"),
        (["--out", "/nowhere/at/all.mp4"], VideoError, "not a folder"),
        (["--driver", "absent.mp4"], VideoError, "no such file"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    command: Callable[..., Any], extra: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        command(*extra)


def test_the_driver_is_never_overwritten(command: Callable[..., Any], driver: Path) -> None:
    before = driver.read_bytes()
    with pytest.raises(SettingsError, match="the driver itself"):
        command("--out", str(driver))
    assert driver.read_bytes() == before


def test_the_mark_stands_where_it_is_wanted(command: Callable[..., Any], tmp_path: Path) -> None:
    command("--mark-corner", "top-right", "--mark-size", "8")
    picture = pictures(tmp_path / "out.mp4")[0]
    assert picture[:14].std() > 20
    assert picture[30:].std() < 4


@pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
def test_the_presenters_sound_is_kept(rendered: Callable[..., Any]) -> None:
    result, out = rendered(source=PRESENTER)
    info = probe(out)
    assert result["frames_out"] == info.frames == 105
    assert info.has_audio
    assert info.duration_s == pytest.approx(7.0, abs=0.05)
    with av.open(str(PRESENTER)) as old, av.open(str(out)) as new:
        first = [bytes(packet) for packet in old.demux(audio=0) if packet.size][:50]
        assert [bytes(packet) for packet in new.demux(audio=0) if packet.size][:50] == first


@pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")
def test_one_avatar_by_any_driver(
    monkeypatch: pytest.MonkeyPatch, puppet_avatar: Avatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A film, one picture of it, its recorded motion, that with words for an emotion, and a voice.

    Motion is replayed as the film drove, bit for bit, with no film and no tracker.
    """
    tracking = pytest.importorskip("engine.tracking.tracker", reason="needs LiteRT")
    monkeypatch.setattr(avatar_module, "load_avatar", lambda path: puppet_avatar)
    clip, motion = write_presenter(tmp_path / "clip.mp4", 12), tmp_path / "talk.motion"
    parser = argparse.ArgumentParser()
    command_render.add_arguments(parser)

    def rendered(name: str, *given: str) -> Path:
        out = tmp_path / name
        words = ["--runner", "null", "--json", "--out", str(out), *given]
        assert command_render.run(parser.parse_args(words)) == 0
        return out

    film = rendered("film.mp4", "--driver", str(clip), "--save-motion", str(motion))
    photo = tmp_path / "photo.png"
    Image.fromarray(next(iter(read_frames(clip))).rgb).save(photo)
    still = np.asarray(Image.open(rendered("still.png", "--driver", str(photo))))
    monkeypatch.setattr(tracking, "EveryFrameTracker", None)
    clip.unlink()
    replayed = rendered("replayed.mp4", "--driver", str(motion))
    assert np.array_equal(pictures(replayed), pictures(film))
    merry = rendered("merry.mp4", "--driver", str(motion), "--emotion", "over the moon")
    talk = write_sound(tmp_path / "talk.wav", babble(0.5), 16_000, "pcm_s16le")
    spoken = rendered("spoken.mp4", "--voice", str(talk))
    shown = {"film": pictures(film)[-1], "still": still, "merry": pictures(merry)[-1]}
    shown |= {"voice": pictures(spoken)[-1]}
    assert {picture.shape for picture in shown.values()} == {shown["film"].shape}
    for name in ("still", "merry", "voice"):
        assert not np.array_equal(shown[name], shown["film"]), name
    capsys.readouterr()
    for option in ("--mirror", "--side-by-side"):
        with pytest.raises(SettingsError, match=f"{option}: .* holds no pictures"):
            rendered("refused.mp4", "--driver", str(motion), option)
    with pytest.raises(SettingsError, match=r"must end in \.motion"):
        rendered("refused.mp4", "--driver", str(motion), "--save-motion", str(tmp_path / "a.npz"))
    with pytest.raises(SettingsError, match="there is no folder"):
        rendered("refused.mp4", "--driver", str(motion), "--save-motion", str(tmp_path / "no" / "a.motion"))
    assert not (tmp_path / "refused.mp4").exists()


def test_the_real_pipeline_renders_the_presenter(
    monkeypatch: pytest.MonkeyPatch, puppet_avatar: Avatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything but the network, which the null runner stands in for."""
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    monkeypatch.setattr(avatar_module, "load_avatar", lambda path: puppet_avatar)
    parser = argparse.ArgumentParser()
    command_render.add_arguments(parser)
    out, driver = tmp_path / "puppet.mp4", write_presenter(tmp_path / "driver.mp4", 30)
    given = ["--driver", str(driver), "--out", str(out), "--runner", "null", "--json", "--side-by-side"]
    given += ["--background", "#00b140", "--frame", "640x360"]
    assert command_render.run(parser.parse_args(given)) == 0
    said = capsys.readouterr()
    assert said.err == ""
    result = json.loads(said.out)
    assert result["frames_in"] == result["frames_out"] == 30
    assert all(times["p50"] >= 0 for times in result["stage_ms"].values())
    assert result["stage_ms"]["track"]["p50"] > 0
    assert (probe(out).width, probe(out).height) == (360 + 640, 360)  # the driver is square
    corner = pictures(out)[20][:6, 360:366].reshape(-1, 3).mean(0)
    assert corner == pytest.approx((0, 177, 64), abs=8)
