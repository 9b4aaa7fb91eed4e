"""A voice rendered to a file: as long as the sound, which is kept; with a film or alone; what is refused."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import Avatar
from engine.cli import main
from engine.media.sound import read_sound
from engine.media.video import VideoWriter, probe
from engine.network.contract import NullRunner, denoiser_inputs, denoiser_outputs
from engine.person.landmarks import Landmarks
from engine.person.motion import motion_of
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline, PipelineConfig, Rendered
from engine.render.temporal_cache import CacheConfig
from engine.voice.driver import SpokenLips, VoiceDriver
from engine.voice.features import features_of
from engine.voice.idle import Idle
from engine.voice.motion_code import encode_all
from engine.voice.speaker import Speaker
from engine.voice.sync import AGREES_MS, estimate_offset
from export.commands.render import RenderOptions, render
from export.drivers import FilmDriver, SoundDriver
from export.evaluate.replay import NoTracker
from tests.support.puppet import Pose, Puppet
from tests.support.sounds import babble, hush, write_sound

SOUND = np.concatenate([hush(0.3, 48_000), babble(0.6, 48_000), hush(0.31, 48_000)])  # 1.21 s
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_sound(tmp_path / "talk.wav", SOUND, 48_000, "pcm_s16le")


@pytest.fixture
def run(avatar_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`avatarcast render` as it is, of an avatar of 64 px; gives its JSON, and what it said."""

    def go(*words: str) -> dict[str, Any]:
        out = tmp_path / "out.mp4"
        status = main(["render", "--avatar", str(avatar_file), "--out", str(out), "--json", *words])
        said = capsys.readouterr()
        facts = json.loads(said.out) if status == 0 else {}
        left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out")))
        return facts | {"status": status, "said": said.err, "path": out, "left": left}

    return go


def film(path: Path, frames: int) -> Path:
    with VideoWriter(path, 96, 48, Fraction(10)) as writer:
        for _ in range(frames):
            writer.write(np.full((48, 96, 3), 90, np.uint8))
    return path


def loudness(samples: FloatArray) -> FloatArray:
    return np.asarray(np.abs(samples[: len(samples) // 160 * 160]).reshape(-1, 160).mean(axis=1))


@pytest.mark.parametrize(
    ("name", "rate_hz", "codec", "channels"),
    [
        ("talk.wav", 8_000, "pcm_s16le", 1),
        ("talk.mp3", 44_100, "libmp3lame", 2),
        ("talk.m4a", 48_000, "aac", 2),
        ("talk.opus", 48_000, "libopus", 1),
    ],
)
def test_sound_in_talking_avatar_out(
    run: Run, tmp_path: Path, name: str, rate_hz: int, codec: str, channels: int
) -> None:
    sound = np.concatenate([hush(0.3, rate_hz), babble(0.6, rate_hz), hush(0.31, rate_hz)])
    given = read_sound(write_sound(tmp_path / name, sound, rate_hz, codec, channels))
    found = run("--voice", str(tmp_path / name))
    assert (found["status"], found["said"]) == (0, "")
    kept, info = read_sound(found["path"]), probe(found["path"])
    assert given is not None
    assert kept is not None
    assert given.duration_s <= info.frames / 25 < given.duration_s + 0.04
    assert info.fps == pytest.approx(25)
    assert given.duration_s - 0.03 <= kept.duration_s <= given.duration_s + 0.13  # a frame of AAC at 8 kHz
    before, after = (loudness(one.from_picture())[:115] for one in (given, kept))
    apart = np.correlate(after, before, mode="full")
    assert abs(int(apart.argmax()) - 114) <= 2  # 20 ms
    assert found["marked"]


def test_silence_is_said_and_lives(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "quiet.wav", hush(0.5), 16_000, "pcm_s16le")
    found = run("--voice", str(tmp_path / "quiet.wav"))
    assert (found["frames_out"], found["speech_s"]) == (13, 0.0)
    assert "quiet.wav: no speech in it; the avatar keeps its lips shut" in found["said"]


def test_clipping_is_said(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "loud.wav", np.clip(20 * babble(0.4), -1, 1), 16_000, "pcm_s16le")
    found = run("--voice", str(tmp_path / "loud.wav"))
    assert found["frames_out"] == 10
    assert "% of the sound is clipped: lips may be off" in found["said"]


REFUSED: dict[str, Callable[[Callable[[str], str]], list[str]]] = {
    "nothing drives it": lambda at: [],
    "--look-ahead -1: must be 0 to": lambda at: ["--voice", at("talk.wav"), "--look-ahead", "-1"],
    "--look-ahead nan": lambda at: ["--voice", at("talk.wav"), "--look-ahead", "nan"],
    "--seed -3": lambda at: ["--voice", at("talk.wav"), "--seed", "-3"],
    "--save-motion": lambda at: ["--voice", at("talk.wav"), "--save-motion", at("a.motion")],
    "--side-by-side: ": lambda at: ["--voice", at("talk.wav"), "--side-by-side"],
    "missing.wav: no such file": lambda at: ["--voice", at("missing.wav")],
    "empty.wav: the file is empty": lambda at: ["--voice", at("empty.wav")],
    "noise.wav": lambda at: ["--voice", at("noise.wav")],
    "mute.mp4: no sound in it": lambda at: ["--voice", at("mute.mp4")],
    "instant.wav: its sound has no length": lambda at: ["--voice", at("instant.wav")],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_spoken_is_said_in_a_line(run: Run, voice: Path, tmp_path: Path, message: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    film(tmp_path / "mute.mp4", 3)
    with wave.open(str(tmp_path / "instant.wav"), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
    found = run(*REFUSED[message](lambda name: str(tmp_path / name)))
    assert found["status"] != 0
    assert message in found["said"]
    assert len(found["said"].splitlines()) == 1
    assert found["left"] == []


def test_the_voice_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "out.mp4", SOUND, 48_000, "aac")
    before = (tmp_path / "out.mp4").read_bytes()
    assert "that is the driver itself" in run("--voice", str(tmp_path / "out.mp4"))["said"]
    assert (tmp_path / "out.mp4").read_bytes() == before


class Seen:
    """A pipeline that remembers what it drew."""

    def __init__(self, avatar: Avatar) -> None:
        null = NullRunner(denoiser_inputs(avatar.size), denoiser_outputs(avatar.size))
        renderer = StepRenderer(avatar, null, 1, CacheConfig())
        self.pipeline = Pipeline(avatar, PipelineConfig(live=False), NoTracker(), renderer, "null")
        self.frame_px, self.runner_reason = self.pipeline.frame_px, "null"
        self.calibrate_from, self.accompany = self.pipeline.calibrate_from, self.pipeline.accompany
        self.set_background, self.close = self.pipeline.set_background, self.pipeline.close
        self.targets: list[Landmarks] = []

    def process(self, rgb: U8Image, time_ns: int, landmarks: Landmarks | None = None) -> Rendered:
        rendered = self.pipeline.process(rgb, time_ns, landmarks)
        assert rendered.target is not None
        self.targets.append(rendered.target)
        return rendered


def spoken(driver: SoundDriver) -> VoiceDriver:
    lips = SpokenLips(Speaker(), kept_rows=None)
    lips.push(driver.samples)
    lips.finish()
    return VoiceDriver(lips, Idle(0), always_lips=True)


class PuppetTracker:
    """The same face in every frame."""

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        return Puppet(96).landmarks(Pose(yaw_deg=6.0))


@pytest.mark.parametrize(("frames", "seen"), [(6, 6), (30, 13)])
def test_with_a_film_it_is_as_long_as_the_voice(
    puppet_avatar: Avatar, voice: Path, tmp_path: Path, frames: int, seen: int
) -> None:
    """Beyond a film's own end nobody is seen, and the avatar lives on; a longer one is cut."""
    driver = SoundDriver(voice, FilmDriver(film(tmp_path / "driver.mp4", frames)))
    options, out, pipeline = RenderOptions(mark=None), tmp_path / "out.mp4", Seen(puppet_avatar)
    result = render(pipeline, PuppetTracker(), driver, out, options, voice=spoken(driver))
    wanted = 13  # 1.21 s at 10 frames/s
    assert (result["frames_out"], result["frames_without_face"]) == (wanted, wanted - seen)
    assert probe(out).duration_s == pytest.approx(1.3, abs=0.02)
    assert read_sound(out) is not None


def test_lips_in_the_file_are_where_its_sound_is(puppet_avatar: Avatar, tmp_path: Path) -> None:
    """By the estimator that judges footage."""
    pieces = [babble(length, seed=seed) for seed, length in enumerate((0.5, 0.9, 0.3, 0.7, 1.1, 0.4))]
    pauses = [hush(length) for length in (0.4, 0.3, 0.6, 0.35, 0.5, 0.4)]
    sound = np.concatenate([piece for pair in zip(pauses, pieces, strict=True) for piece in pair])
    driver = SoundDriver(write_sound(tmp_path / "talk.wav", sound, 16_000, "pcm_s16le"))
    pipeline = Seen(puppet_avatar)
    render(pipeline, NoTracker(), driver, tmp_path / "out.mp4", RenderOptions(), voice=spoken(driver))
    kept = read_sound(tmp_path / "out.mp4")
    assert kept is not None
    neutral = puppet_avatar.neutral
    codes = encode_all([motion_of(target, neutral) for target in pipeline.targets], neutral)
    times_s = np.arange(len(codes), dtype=np.float32) / 25
    found = estimate_offset(features_of(kept.from_picture()), codes, times_s)
    assert found is not None
    assert abs(found.offset_ms) <= AGREES_MS
    assert found.certainty >= 0.9


def test_it_listens_to_another_one(run: Run, voice: Path, tmp_path: Path) -> None:
    """As long as the voice; what the other one says is not in the file."""
    other = write_sound(tmp_path / "other.wav", babble(2.0, 48_000), 48_000, "pcm_s16le")
    result = run("--voice", str(voice), "--listen", str(other))
    assert result["status"] == 0, result["said"]
    assert result["duration_s"] == pytest.approx(1.24, abs=0.05)
    sound = read_sound(result["path"])
    assert sound is not None
    assert loudness(sound.samples)[:20].max() < 0.01  # it begins with silence, as the voice does


def test_listening_needs_a_voice(run: Run, voice: Path) -> None:
    result = run("--driver", str(voice), "--listen", str(voice))
    assert result["status"] != 0
    assert "--listen: a camera's person listens by themselves; give --voice too" in result["said"]
    assert not result["left"]
