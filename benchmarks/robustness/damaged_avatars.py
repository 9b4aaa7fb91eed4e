"""Does a damaged or forged .avatar file ever do more than be refused in one line, or be served?

    avatarcast bench damaged_avatars --mutations 100000 [--minutes 8] [--workers 2]

A presenter made small (128 px, networks in three precisions) is damaged in one way after the other (see
`damage.py`): arrays, pictures, JSON, the manifest, which members there are, and the graphs of its
networks. Each file is loaded as every command does; what loads is shown by `info`, `evaluate` and
`export --list`, and served: each of its networks starts in ONNX Runtime and renders two pictures.
One in --commands-every of those refused goes through all these commands, `render` and the start of `serve`.

A mutation has failed when anything but one line of error came of it, or a process died. What was read outside
is seen in two ways: an audit hook for what Python opens, and the kernel's notices (inotify) of the working
folder, where a file lies that some networks name as their weights. seconds and memory are the worst of one
mutation, and of one worker above what it held before its first; the floor is the time of the file as it was.
Seconds are the process's CPU time, so that what else the machine does is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import mimetypes
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.machine import ROOT, forget_peak, peak_mb, resident_mb
from benchmarks.records.record import Record
from benchmarks.robustness.damage import Damage
from engine.avatar.avatar import LOSSLESS_KEYFRAMES, Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.avatar.bundled import BUNDLED
from engine.avatar.records import table
from engine.cli import main as avatarcast
from engine.commands import info
from engine.errors import AvatarcastError
from engine.media.video import VideoWriter
from engine.network.contract import allocate, denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.person.motion import build_neutral
from engine.render.keyframes import KeyFrame
from engine.render.scene import Scene
from engine.runners.onnx_runner import OnnxRunner
from engine.user_folders import DATA_VARIABLE, cache_folder, data_folder
from export.commands.export import describe as describe_network
from export.convert.fused import FusedDenoiser, HalfDenoiser
from export.convert.gate import held_out_frame
from export.convert.onnx_export import export_onnx
from export.convert.quantise import quantise
from export.evaluate.replay import replay
from export.evaluate.report_text import held_out_motion_table, held_out_table

BATCH = 25  # mutations between two words to the parent
SIZE_PX = 128
WANTED_S, WANTED_MB = 5.0, 500.0
DEATHS = 3  # of a process over the same mutations count; one may come from outside
MAX_LINE = 1000  # characters
PICTURES = 2
FILE, DRIVER = "in/damaged.avatar", "in/driver.mp4"
SHOWING = (["info", FILE], ["info", FILE, "--json"], ["evaluate", FILE], ["export", FILE, "--list"])
STARTING = (
    ["render", "--avatar", FILE, "--driver", DRIVER, "--out", "in/out.mp4"],
    ["serve", "--port", "0", "--avatar", FILE],
)
_LOOKED_UP = (os.devnull, "/proc/self/limits", "/proc/self/stat", "/proc/stat", *mimetypes.knownfiles)
OUTSIDE = "token"  # lies in the working folder, as a server's may


@dataclass(slots=True)
class Outcome:
    """Of one batch, or of all."""

    run: int = 0
    refused: int = 0
    served: int = 0
    failures: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  # files opened that nobody named
    seconds: float = 0.0  # of CPU, the longest
    memory_mb: float = 0.0  # the most
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Both together."""
        self.run += other.run
        self.refused += other.refused
        self.served += other.served
        self.failures += other.failures
        self.outside += other.outside
        self.seconds = max(self.seconds, other.seconds)
        self.memory_mb = max(self.memory_mb, other.memory_mb)
        self.kinds += other.kinds


def small_presenters(folder: Path) -> list[bytes]:
    """The first bundled presenter at SIZE_PX with few pictures and small networks of no use, as files.

    The first has every kind of member, the others only what is needed, each with one network.
    """
    whole = load_avatar(BUNDLED)
    share = SIZE_PX / whole.size

    def small(picture: Any) -> Any:
        return cv2.resize(picture, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)

    def moved(landmarks: Any) -> Any:
        return landmarks.transformed(share, 0.0, 0.0, SIZE_PX, SIZE_PX)

    config = DenoiserConfig(SIZE_PX, (8, 8, 8), 1, 1)
    torch.manual_seed(0)
    network = Denoiser(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    rng = np.random.default_rng(0)
    feeds = [
        {name: rng.random(spec.shape, np.float32) for name, spec in denoiser_inputs(SIZE_PX).items()}
        for _ in range(2)
    ]
    example = {name: torch.from_numpy(array) for name, array in feeds[0].items()}
    models = {
        "denoiser-fp32.onnx": export_onnx(network, example),
        "denoiser-fp16.onnx": export_onnx(HalfDenoiser(network).eval(), example),
        "denoiser-int8.onnx": quantise(
            export_onnx(FusedDenoiser(network).eval(), example), feeds, feeds[:1], 5.0
        ).model,
    }
    few = [*whole.keyframes[:3], *whole.keyframes[LOSSLESS_KEYFRAMES : LOSSLESS_KEYFRAMES + 2]]
    frames = [KeyFrame(small(key.rgba), moved(key.landmarks)) for key in few]
    made = replace(
        whole,
        name="small",
        size=SIZE_PX,
        neutral=build_neutral([frame.landmarks for frame in frames]),
        keyframes=(*frames[:3], *(frames[0],) * (LOSSLESS_KEYFRAMES - 3), *frames[3:]),
        plate=small(whole.plate),
        models=models,
        variants={name: whole.variants.get(name, {}) for name in models},
        training={**whole.training, "network": config.to_dict()},
        held_out=tuple(held_out_frame(frame.rgb, frame.landmarks) for frame in frames[:2]),
        report_png=b"",
        bare_torso=None if whole.bare_torso is None else small(whole.bare_torso),
        scene=Scene(cv2.resize(whole.plate, (2 * SIZE_PX, SIZE_PX)), SIZE_PX // 2, 0, SIZE_PX),
    )
    light = replace(made, keyframes=made.keyframes[:3], held_out=(), bare_torso=None, scene=None)
    lights = [
        replace(light, models={name: model}, variants={name: made.variants[name]})
        for name, model in models.items()
    ]
    files = []
    for index, one in enumerate([made, *lights]):
        path = folder / f"{index}.avatar"
        save_avatar(path, one)
        files.append(path.read_bytes())
    return files


class Notices:
    """What the kernel says of files of one folder being opened; Linux."""

    _OPEN, _NONBLOCK = 0x20, 0o4000

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._number = libc.inotify_init1(self._NONBLOCK)
        if self._number < 0 or libc.inotify_add_watch(self._number, os.fsencode(folder), self._OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def opened(self, names: Sequence[str]) -> list[str]:
        """Which of these files were opened since the last call."""
        try:
            told = os.read(self._number, 1 << 20)
        except BlockingIOError:
            return []
        return [name for name in names if os.fsencode(name) in told]


class Bench:
    """A worker's own: the damage, the folder, and what watches over it."""

    def __init__(self, files: Sequence[bytes], commands_every: int, place: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=place))
        self._outside = self._folder / OUTSIDE
        self._outside.write_bytes(b"s3cr3t of the server\n")
        os.chdir(self._folder)
        (self._folder / "in").mkdir()
        self._file = self._folder / FILE
        self._damage = [Damage(whole, self._outside) for whole in files]
        self._commands_every = commands_every
        self._opened: set[str] = set()
        ours = (self._folder / "in", data_folder(), cache_folder())
        self._places = (*ours, ROOT, *map(Path, (sys.prefix, sys.base_prefix)))
        with VideoWriter(self._folder / DRIVER, 96, 48, Fraction(25)) as writer:
            writer.write(np.zeros((48, 96, 3), np.uint8))
        self._file.write_bytes(files[0])
        for _ in range(2):  # imports, pools, caches
            self._tried(with_commands=True)
        begun = process_time()
        self._tried(with_commands=False)
        self.floor_s = process_time() - begun
        self._file.write_bytes(files[0][:-1])
        self._tried(with_commands=True)
        forget_peak()
        self._held_mb = resident_mb(os.getpid()) or 0.0
        sys.addaudithook(self._heard)
        self._notices = Notices(self._folder)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)):
            self._opened.add(os.fsdecode(args[0]))

    def batch(self, first: int, count: int) -> Outcome:
        """Mutations of the seeds `first` to `first + count - 1`."""
        outcome = Outcome()
        for seed in range(first, first + count):
            # The one with everything takes longest, so it comes once in eight.
            damage = self._damage[0 if seed % 8 == 0 else 1 + seed % (len(self._damage) - 1)]
            said, begun = "no damage", process_time()
            try:
                said, data = damage.damaged(seed)
                self._file.write_bytes(data)
                self._opened.clear()
                begun = process_time()
                refusal = self._tried(with_commands=seed % self._commands_every == 0)
            except Exception as error:  # whatever it is, it is a finding
                outcome.failures.append(f"{seed} {said}: {type(error).__name__}: {error}"[:300])
                refusal = None
            outcome.seconds = max(outcome.seconds, process_time() - begun)
            outcome.run += 1
            outcome.refused += refusal is not None
            outcome.served += refusal is None
            outcome.kinds[said.partition(":")[0]] += 1
            read = {name for name in self._opened if not self._is_ours(name)}
            if read or self._notices.opened([OUTSIDE]):
                outcome.outside.append(f"{seed} {said}: {sorted(read)[:3] or OUTSIDE}"[:300])
        outcome.memory_mb = max(0.0, (peak_mb(os.getpid()) or 0.0) - self._held_mb)
        return outcome

    def _is_ours(self, name: str) -> bool:
        """The file itself, what `render` writes, and what Python and its libraries look up of the system."""
        path = Path(name).absolute()
        return name in _LOOKED_UP or any(path.is_relative_to(place) for place in self._places)

    def _tried(self, with_commands: bool) -> str | None:
        """The error's one line, None where it was served. Raises whatever else came of it."""
        try:
            avatar = load_avatar(self._file)
        except AvatarcastError as error:
            if with_commands:
                for words in (*SHOWING, *STARTING):
                    _refused(words)
            return _one_line(error)
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            _show(avatar)
            if with_commands:
                for words in SHOWING:
                    avatarcast(words)
        if not shown.getvalue().replace("\n", "").isprintable():
            raise AssertionError("control characters for the terminal")
        try:
            _serve(avatar)
        except AvatarcastError as error:
            return _one_line(error)
        return None


def _refused(words: Sequence[str]) -> None:
    """Runs a command, which must refuse the file in one line."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = avatarcast(words)
    lines = errors.getvalue().splitlines()
    if status == 0 or len(lines) != 1:
        raise AssertionError(f"{words}: status {status}, {lines[:3]}")


def _show(avatar: Avatar) -> None:
    """All that `info`, `evaluate` and `export --list` print of an avatar that is loaded."""
    found = info.facts(avatar)
    print(json.dumps(found), *info.as_lines(found), sep="\n")
    print(held_out_table(avatar.report), held_out_motion_table(table(avatar.report, "held_out")), sep="\n")
    for name, facts in avatar.variants.items():
        print(describe_network(name, len(avatar.models[name]), facts))


def _one_line(error: AvatarcastError) -> str:
    line = str(error)
    if not line.isprintable() or len(line) > MAX_LINE:
        raise AssertionError(f"no line: {line!r:.200}") from error
    return line


def _serve(avatar: Avatar) -> None:
    """Starts every network, and renders with the first."""
    for index, model in enumerate(avatar.models.values()):
        runner = OnnxRunner(model, threads=1)
        try:
            runner.run(allocate(runner.inputs))
            frames = [key.landmarks for key in avatar.keyframes[:PICTURES]]
            for _ in replay(avatar, runner, frames if index == 0 else []):
                pass
        finally:
            runner.close()


_bench: Bench | None = None  # of this worker


def _start(files: Sequence[bytes], commands_every: int, place: Path) -> None:
    global _bench
    warnings.simplefilter("error", RuntimeWarning)  # it would be a second line
    os.environ[DATA_VARIABLE] = str(place / f"data-{os.getpid()}")  # keys of its own, in no folder of a user
    _bench = Bench(files, commands_every, place)


def _batch(first: int, count: int) -> Outcome:
    assert _bench is not None
    return _bench.batch(first, count)


def _floor() -> float:
    assert _bench is not None
    return _bench.floor_s


def mutated(files: Sequence[bytes], args: argparse.Namespace, place: Path) -> tuple[Outcome, float]:
    """All mutations, or as many as there is time for; and the seconds of the file as it was.

    place: a folder in which the workers make theirs.
    """
    total, deadline = Outcome(), perf_counter() + args.minutes * 60
    starts: Iterator[int] = iter(range(args.seed, args.seed + args.mutations, BATCH))

    def pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            args.workers, get_context("spawn"), _start, (files, args.commands_every, place)
        )

    workers = pool()
    floor_s = workers.submit(_floor).result()
    running: dict[Future[Outcome], int] = {}
    again: list[int] = []  # what ran when a process died
    deaths: Counter[int] = Counter()
    while True:
        while len(running) < 2 * args.workers and (again or perf_counter() < deadline):
            if (first := again.pop() if again else next(starts, None)) is None:
                break
            count = min(BATCH, args.seed + args.mutations - first)
            running[workers.submit(_batch, first, count)] = first
        if not running:
            break
        done = wait(running, return_when=FIRST_COMPLETED).done.pop()
        first = running.pop(done)
        try:
            total.add(done.result())
        except BrokenProcessPool:
            for lost in (first, *running.values()):
                deaths[lost] += 1
                if deaths[lost] < DEATHS:
                    again.append(lost)
                else:
                    total.failures.append(f"a process died in the seeds {lost} to {lost + BATCH - 1}")
            workers.shutdown(wait=False)
            workers, running = pool(), {}
    workers.shutdown()
    return total, floor_s


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much of it."""
    parser.add_argument("--mutations", type=counted, default=100_000, help="at most (default 100000)")
    parser.add_argument("--workers", type=counted, default=2, help="processes (default 2)")
    parser.add_argument(
        "--commands-every", type=counted, default=50, help="to one through all commands (default 50)"
    )
    add_common(parser, minutes=60.0, seed=0)


def measure(args: argparse.Namespace) -> Record:
    """Figures of all mutations that there was time for."""
    with tempfile.TemporaryDirectory(prefix="damaged-avatars-") as name:
        place = Path(name)
        files = small_presenters(place)
        begun = perf_counter()
        total, floor_s = mutated(files, args, place)
        took_s = perf_counter() - begun
    none = [] if total.served else ["none was served: the damage lies elsewhere than it means to"]
    slow = [f"the worst took {total.seconds:.1f} s of CPU"] if total.seconds >= WANTED_S else []
    large = [f"the worst took {total.memory_mb:.0f} MB"] if total.memory_mb >= WANTED_MB else []
    outside = [f"{text} was read" for text in total.outside[:50]]
    return {
        "failures": [*none, *total.failures[:50], *outside, *slow, *large],
        "ran": total.run,
        "refused": total.refused,
        "served": total.served,
        "failed": len(total.failures),
        "read_outside": len(total.outside),
        "seconds": round(total.seconds, 3),
        "floor_s": round(floor_s, 3),
        "memory_mb": round(total.memory_mb, 1),
        "took_s": round(took_s, 1),
        "kinds": dict(sorted(total.kinds.items())),
        "file_bytes": [len(data) for data in files],
    }


main = Instrument("damaged_avatars", __doc__, add_options, measure, quick={"mutations": 100, "workers": 1})
