"""Reading and writing video: times, turns, sound, damage."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.errors import VideoError
from engine.media.video import VideoWriter, probe, read_frames

FPS = Fraction(25)


def picture(index: int, width: int = 64, height: int = 48) -> U8Image:
    """A grey that tells the index, with a white block at the top left."""
    rgb = np.full((height, width, 3), 20 + 3 * index, np.uint8)
    rgb[: height // 4, : width // 4] = 255
    return rgb


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip of `frames` pictures."""

    def make(name: str = "clip.mp4", frames: int = 25, width: int = 64, height: int = 48) -> Path:
        path = tmp_path / name
        with VideoWriter(path, width, height, FPS) as writer:
            for index in range(frames):
                writer.write(picture(index, width, height))
        return path

    return make


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Two seconds of a tone."""
    path = tmp_path / "tone.wav"
    samples = (8000 * np.sin(np.arange(2 * 16_000) * 0.2)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return path


def audio_of(path: Path) -> tuple[str, float]:
    """Codec and seconds of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(stream))
        return stream.codec_context.name, seconds


def test_what_is_written_is_read_back(clip: Callable[..., Path]) -> None:
    path = clip()
    info = probe(path)
    assert (info.width, info.height, info.frames, info.has_audio) == (64, 48, 25, False)
    assert info.fps == pytest.approx(25)
    assert info.duration_s == pytest.approx(1.0)
    for frame in read_frames(path):
        assert frame.time_s == pytest.approx(frame.index / 25, abs=1e-4)
        assert frame.rgb.flags.c_contiguous
        assert frame.rgb.dtype == np.uint8
        assert np.abs(frame.rgb.astype(int) - picture(frame.index)).mean() < 3
    assert frame.index == 24


def test_odd_sizes_gain_a_repeated_edge(clip: Callable[..., Path]) -> None:
    path = clip(width=63, height=47)
    rgb = next(iter(read_frames(path))).rgb
    assert rgb.shape == (48, 64, 3)
    assert np.abs(rgb[47].astype(int) - rgb[46]).mean() < 4


def turned(source: Path, degrees: float) -> Path:
    """The same packets with a display matrix."""
    path = source.with_name(f"turned{degrees:.0f}.mp4")
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return path


@pytest.mark.parametrize("degrees", [-90, 90, 180])
def test_rotation_metadata_is_honoured(clip: Callable[..., Path], degrees: int) -> None:
    """The white block is where the frame's own rotation, counter-clockwise, puts it."""
    path = turned(clip(), degrees)
    rgb = next(iter(read_frames(path))).rgb
    with av.open(str(path)) as container:
        stated = next(container.decode(video=0)).rotation
    assert abs(stated) == abs(degrees)
    expected = np.rot90(picture(0), stated // 90)
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).mean() < 4
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]


def test_variable_frame_times_survive(tmp_path: Path) -> None:
    path = tmp_path / "variable.mp4"
    times = [0.0, 0.033, 0.1, 0.4, 0.45, 1.0]
    with VideoWriter(path, 64, 48, Fraction(6), variable=True) as writer:
        for index, time_s in enumerate(times):
            writer.write(picture(index), time_s)
    assert [frame.time_s for frame in read_frames(path)] == pytest.approx(times, abs=1e-3)


def test_sound_is_kept_and_cut_to_the_picture(clip: Callable[..., Path], tone: Path, tmp_path: Path) -> None:
    first = tmp_path / "with_tone.mp4"
    with VideoWriter(first, 64, 48, FPS, audio_from=tone) as writer:
        for index in range(25):
            writer.write(picture(index))
    codec, seconds = audio_of(first)
    assert codec == "aac"  # raw PCM does not go into MP4: encoded
    assert seconds == pytest.approx(1.0, abs=0.15)
    assert probe(first).duration_s == pytest.approx(1.0)

    second = tmp_path / "copied.mp4"
    with VideoWriter(second, 64, 48, FPS, audio_from=first) as writer:
        for index in range(10):
            writer.write(picture(index))
    codec, seconds = audio_of(second)
    assert codec == "aac"
    assert seconds == pytest.approx(0.4, abs=0.15)
    with av.open(str(first)) as a, av.open(str(second)) as b:
        packets = [bytes(packet) for packet in a.demux(audio=0) if packet.size]
        copied = [bytes(packet) for packet in b.demux(audio=0) if packet.size]
    assert copied == packets[: len(copied)]  # not encoded a second time


def test_a_source_without_sound_gives_none(clip: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with VideoWriter(path, 64, 48, FPS, audio_from=clip()) as writer:
        writer.write(picture(0))
    assert not probe(path).has_audio


def test_the_comment_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "said.mp4"
    with VideoWriter(path, 64, 48, FPS, comment="made by a machine") as writer:
        writer.write(picture(0))
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "made by a machine"


def test_the_file_appears_only_when_finished(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, 64, 48, FPS)
    writer.write(picture(0))
    assert path.read_bytes() == b"old"
    writer.close()
    writer.close()
    assert probe(path).frames == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["late.mp4"]


def test_an_error_leaves_nothing_behind(tmp_path: Path, tone: Path) -> None:
    path = tmp_path / "never.mp4"

    def write_badly() -> None:
        with VideoWriter(path, 64, 48, FPS, audio_from=tone) as writer:
            writer.write(picture(0))
            writer.write(picture(1, width=32))

    with pytest.raises(ValueError, match="32x48"):
        write_badly()
    assert [entry.name for entry in tmp_path.iterdir()] == ["tone.wav"]


def _bad_files(folder: Path, good: Path, sound: Path) -> Iterator[tuple[Path, str]]:
    (folder / "text.mp4").write_text("this is not a video at all, " * 50)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "half.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    yield folder / "text.mp4", "not readable as video"
    yield folder / "empty.mp4", "empty"
    yield folder / "half.mp4", "not readable as video|truncated"
    yield folder / "absent.mp4", "no such file"
    yield folder, "no such file"
    yield sound, "no picture in it, only audio"


def test_bad_files_give_one_line(tmp_path: Path, clip: Callable[..., Path], tone: Path) -> None:
    for path, expected in _bad_files(tmp_path, clip(), tone):
        for read in (probe, lambda file: list(read_frames(file))):
            with pytest.raises(VideoError, match=expected) as caught:
                read(path)
            assert "\n" not in str(caught.value)
            assert path.name in str(caught.value)


def test_a_file_cut_short_is_not_taken_for_a_whole_one(clip: Callable[..., Path], tmp_path: Path) -> None:
    """With its index at the front a truncated MP4 still opens and plays its beginning."""
    whole = clip(frames=60)
    streamable = tmp_path / "front.mp4"
    with (
        av.open(str(whole)) as old,
        av.open(str(streamable), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(streamable.read_bytes()[: streamable.stat().st_size * 7 // 10])
    with pytest.raises(VideoError, match=r"truncated|not readable"):
        list(read_frames(cut))


def test_unwritable_targets_are_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be written"):
        VideoWriter(tmp_path / "name.unknown", 64, 48, FPS)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VideoError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "clip.mp4", 64, 48, FPS)


def test_a_browsers_recording_without_length_and_with_dropped_frames(tmp_path: Path) -> None:
    """MediaRecorder's WebM states the camera's rate and no length, whatever was really recorded."""
    path = tmp_path / "recorded.webm"
    kept = [index for index in range(60) if index % 3]  # of three seconds at 20 a second
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in kept:
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.duration is None
        assert container.streams.video[0].average_rate == 20
    info = probe(path)
    assert info.frames == len(kept) == 40
    assert info.fps == pytest.approx(39 / (58 / 20), rel=0.01)
    assert info.duration_s == pytest.approx(40 / info.fps)
    times_s = [frame.time_s for frame in read_frames(path)]
    assert times_s == pytest.approx([(index - 1) / 20 for index in kept], abs=0.002)
