"""Do recording, enrolment, export and packages go on after a crash, and is nothing left lying?

    avatarcast bench crash_matrix --kills 200

Each case does one piece of work (`workloads.py`) in a process that is ended by SIGTERM, SIGHUP or
SIGKILL at a random time, or whose disk is full from a random size of file on; or that is killed, and then one
file that it left is cut at a random length. Then everything is made three minutes old, and the same is done
again, undisturbed. A case went on where that succeeds and what it made is whole: of recordings, all that the
server said it kept. It said why where it ends with status 1 and one line that begins with "avatarcast:
error:". Otherwise, as with any traceback or anything left lying that is older than two minutes, it failed;
so it did where a process that was asked to end (SIGTERM, SIGHUP) left a half-written file at once.

What bounds it: a power cut cannot be had, so what the disk itself loses is not seen. Arithmetic that touches
no disk is left out, so kills meet writing more often than they would. Processes are forked, which needs
Linux or macOS.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from benchmarks.records.tables import FAULTS
from benchmarks.robustness import victims
from benchmarks.robustness.victims import Ended
from engine.files import LEFT_S, LOCK

if TYPE_CHECKING:
    from benchmarks.robustness.workloads import Workload

FULL, CUT = FAULTS[-2:]
TURN = ("recording", "packages", "recording", "export", "packages", "enrolment")  # quick ones more often
MOST_BYTES = 1_500_000  # up to which a full disk may come; the largest file is ten million
AGE_S = LEFT_S + 60
_ERROR = "avatarcast: error: "


@dataclass(frozen=True, slots=True)
class Case:
    """One kill and what came of it."""

    work: str
    fault: str
    outcome: str  # of the second time: "went on", "said why" or "failed"
    why: str = ""
    first: str = ""  # how it was ended the first time


def measure(args: argparse.Namespace) -> Record:
    """The cases one after the other."""
    begun_s = perf_counter()
    return _figures(list(_cases(args.kills, random.Random(args.seed))), perf_counter() - begun_s)


def _cases(kills: int, rng: random.Random) -> Iterator[Case]:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads is not to be forked
    workloads = {
        one.name: one for one in importlib.import_module("benchmarks.robustness.workloads").WORKLOADS
    }
    with tempfile.TemporaryDirectory(prefix="crash-matrix-") as base:
        os.environ["XDG_DATA_HOME"] = os.environ["AVATARCAST_CACHE"] = f"{base}/home"
        undisturbed: dict[str, Ended] = {}
        for index in range(kills):
            name = TURN[index % len(TURN)]
            fault = FAULTS[(index + index // len(TURN)) % len(FAULTS)]
            source, folder = Path(base, f"{index}-in"), Path(base, f"{index}")
            if name not in undisturbed:
                undisturbed[name] = _undisturbed(workloads[name], Path(base, name))
            shutil.copytree(Path(base, name), source)
            folder.mkdir(mode=0o700)
            workloads[name].place(source, folder)
            case = _case(workloads[name], fault, source, folder, undisturbed[name].seconds, rng)
            if case.outcome == "failed":
                print(f"{index}: {case}", file=sys.stderr, flush=True)
            yield case
            shutil.rmtree(source)
            shutil.rmtree(folder)


def _undisturbed(workload: Workload, source: Path) -> Ended:
    """Makes the input, does the work once, and gives how that ended. Raises RuntimeError where it fails."""
    source.mkdir()

    def make() -> int:
        workload.make_input(source)
        return 0

    with tempfile.TemporaryDirectory() as used, tempfile.TemporaryDirectory() as folder:
        for ended in (victims.run(make), _copied_and_run(workload, source, Path(used, "in"), Path(folder))):
            if ended.status:
                raise RuntimeError(f"{workload.name} fails undisturbed: {ended.said}")
    return ended


def _copied_and_run(workload: Workload, source: Path, used: Path, folder: Path) -> Ended:
    shutil.copytree(source, used)
    workload.place(used, folder)
    return victims.run(lambda: workload.work(used, folder))


def _case(
    workload: Workload, fault: str, source: Path, folder: Path, seconds: float, rng: random.Random
) -> Case:
    def do() -> int:
        return workload.work(source, folder)

    def failed(why: str) -> Case:
        return Case(workload.name, fault, "failed", why)

    when_s, size = rng.uniform(0.0, seconds), int(MOST_BYTES ** rng.uniform(0.2, 1.0))
    if fault == FULL:
        first = victims.run(do, disk_bytes=size)
    else:
        number = signal.SIGKILL if fault == CUT else signal.Signals[fault]
        first = victims.run(do, kill=(number, when_s))
    where = f"{when_s:.2f} s" if fault != FULL else f"{size} bytes"
    if why := _flaw_of_end(first):
        return failed(f"after {where}: {why}")
    if first.status >= 0 and (parts := _parts(folder)):
        return failed(f"ended in order after {where}, and left {parts}")
    if why := workload.flaw(source, folder, None):
        return failed(f"after {where}: {why}")
    cut = _cut(folder, rng) if fault == CUT else None
    _age(folder)
    second = victims.run(do)
    if why := _flaw_of_end(second):
        return failed(f"again, after {where} and {cut} cut: {why}")
    if left := [*_parts(folder), *_useless(folder)]:
        return failed(f"again, after {where}: {left} are left")
    if why := workload.flaw(source, folder, cut):
        return failed(f"again, after {where}: {why}")
    if second.status == 0:
        return Case(workload.name, fault, "went on", first=_how(first))
    why = second.said.rpartition(_ERROR)[2].strip()
    return Case(workload.name, fault, "said why", why, _how(first))


def _how(ended: Ended) -> str:
    if ended.status < 0:
        return "killed"
    if _ERROR in ended.said:
        return "said why"
    return "finished" if ended.status == 0 else "ended in order"


def _flaw_of_end(ended: Ended) -> str:
    """It succeeded, was ended by a signal, or said in one line why it did not; "" where that is so."""
    if ended.hung:
        return f"hung: {ended.said}"
    if "Traceback" in ended.said or "rror:" in ended.said.replace(_ERROR, ""):
        return ended.said
    if ended.status == 1 and ended.said.count(_ERROR) != 1:
        return f"status 1 and not one line: {ended.said!r}"
    if ended.status not in (0, 1) and not ended.status < 0 and ended.status <= 128:
        return f"status {ended.status}: {ended.said}"
    return ""


def _parts(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".avatarcast-*"))


def _useless(folder: Path) -> list[str]:
    """Locks that nobody holds, and work whose avatar is made."""
    works = [path for path in folder.glob("*.work") if path.with_suffix("").exists()]
    return [path.name for path in (*folder.rglob(LOCK), *works)]


def _cut(folder: Path, rng: random.Random) -> Path | None:
    """One file, at a random length; None where there is no file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    if not files:
        return None
    path = rng.choice(files)
    size = path.stat().st_size
    os.truncate(path, rng.randrange(size) if size else 0)
    return path


def _age(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        then = path.lstat().st_mtime - AGE_S
        os.utime(path, (then, then), follow_symlinks=False)


def _figures(cases: Sequence[Case], seconds: float) -> dict[str, Any]:
    found = Counter(case.outcome for case in cases)
    of_cell = Counter((case.work, case.fault) for case in cases)
    good = Counter((case.work, case.fault) for case in cases if case.outcome != "failed")
    return {
        "cases": len(cases),
        "outcomes": {outcome: found[outcome] for outcome in ("went on", "said why", "failed")},
        "cells": {  # of each kind of work and fault, how many did not fail
            work: {fault: f"{good[work, fault]} of {of_cell[work, fault]}" for fault in FAULTS}
            for work in sorted({case.work for case in cases})
        },
        "first_ends": dict(Counter(case.first for case in cases if case.outcome != "failed")),
        "reasons": sorted({_plain(case.why) for case in cases if case.outcome == "said why"}),
        "failures": [f"{case.work}, {case.fault}: {case.why}" for case in cases if case.outcome == "failed"],
        "seconds": round(seconds, 1),
    }


def _plain(line: str) -> str:
    """Without folders, whose names are random."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in line.split())


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many, and which."""
    parser.add_argument("--kills", type=counted, default=200, help="how many cases (default 200)")
    add_common(parser, seed=7)


main = Instrument("crash_matrix", __doc__, add_options, measure, quick={"kills": 6})
