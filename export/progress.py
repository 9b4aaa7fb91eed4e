"""How a long command tells where it stands: bars for people, lines of JSON for programs.

Both write to standard error; the result alone goes to standard output.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from threading import Thread
from time import perf_counter
from typing import Any, Protocol

from tqdm import tqdm

# How a function says where it stands, to whatever shows it.
FramesDone = Callable[[int, int], None]  # frames done, frames in all (an estimate)
StageFramesDone = Callable[[str, int, int], None]  # stage, frames done, frames in all
StageShareDone = Callable[[str, float], None]  # stage, share done, 0..1

EVERY_S = 0.25  # between two progress events of a stage; its first and its last are always told


class Listener(Protocol):
    """Is told how it goes."""

    def stage(self, name: str, total: float) -> None:
        """A stage begins; its `advance` will run up to `total`."""

    def advance(self, done: float, note: str = "") -> None:
        """The current stage stands at `done`."""

    def warn(self, text: str) -> None:
        """Something that the user could do better, in one line."""


class Display(Listener, Protocol):
    """A listener that shows what it hears until it is closed."""

    def close(self) -> None:
        """Nothing more is coming; a second call does nothing."""


def note(text: str) -> None:
    """Something worth knowing, in one line on standard error; bars stay whole."""
    tqdm.write(f"avatarcast: note: {text}", file=sys.stderr)


class Bars:
    """One progress bar per stage. Closed at the end of a `with`, or by `close`."""

    def __init__(self, disable: bool | None = False) -> None:
        """disable: None shows them on a terminal only."""
        self._bar: tqdm | None = None
        self._stage = ""
        self._disable = disable

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stage(self, name: str, total: float) -> None:
        """See Listener."""
        self._begin(name, total, "s")

    def show(self, stage: str, done: float, total: float = 1.0, unit: str = "frames") -> None:
        """The stage, which begins where it is another than before, has done so much; of 1.0 it is a share."""
        bar = self._bar
        if bar is None or stage != self._stage:
            bar = self._begin(stage, total, unit)
        bar.total = max(total, done)  # frames in all are an estimate
        self.advance(done)

    def advance(self, done: float, note: str = "") -> None:
        """See Listener."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(min(done, self._bar.total) - self._bar.n)

    def warn(self, text: str) -> None:
        """See Listener."""
        note(text)

    def close(self) -> None:
        """Ends the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, name: str, total: float, unit: str) -> tqdm:
        self.close()
        done = f"{{n:.0f}}/{{total:.0f}} {unit}" if total > 1.0 else "{percentage:.0f} %"
        layout = "{desc:16}|{bar}| " + done + " [{elapsed}<{remaining}] {postfix}"
        self._stage = name
        self._bar = tqdm(
            total=total,
            desc=name,
            bar_format=layout,
            mininterval=0.5,
            file=sys.stderr,
            disable=self._disable,
        )
        return self._bar


class JsonLines:
    """One JSON object a line, each with an `event`:

    {"event": "stage", "stage": "tracking", "total": 1.0}
    {"event": "progress", "stage": "tracking", "done": 0.42, "total": 1.0, "note": ""}
    {"event": "warning", "text": "only 12 s of usable footage: 30 s give a better avatar"}
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """clock: seconds; spaces the progress events."""
        self._now = clock
        self._stage, self._total = "", 1.0
        self._told_s = -EVERY_S

    def stage(self, name: str, total: float) -> None:
        """See Listener."""
        self._stage, self._total, self._told_s = name, total, -EVERY_S
        self._tell(event="stage", stage=name, total=total)

    def advance(self, done: float, note: str = "") -> None:
        """See Listener."""
        now_s = self._now()
        if done < self._total and now_s - self._told_s < EVERY_S:
            return
        self._told_s = now_s
        shown = round(min(done, self._total), 3)
        self._tell(event="progress", stage=self._stage, done=shown, total=self._total, note=note)

    def warn(self, text: str) -> None:
        """See Listener."""
        self._tell(event="warning", text=text)

    def close(self) -> None:
        """Nothing is left open."""

    def _tell(self, **event: Any) -> None:
        print(json.dumps(event), file=sys.stderr, flush=True)


def end_with_listener() -> None:
    """From now on this process is ended, as by SIGTERM, when nobody listens to its standard error any more.

    Whoever asked for events and died would else leave it at work for nobody. Where it is not a pipe, nothing
    happens; nor on Windows.
    """

    def watch(number: int) -> None:
        listener = select.poll()
        listener.register(number, 0)  # what is always told is enough: that the other end is closed
        ((_, told),) = listener.poll()
        if told & (select.POLLERR | select.POLLHUP):
            os.kill(os.getpid(), signal.SIGTERM)

    if sys.platform != "win32" and sys.__stderr__ is not None:
        Thread(target=watch, args=[sys.__stderr__.fileno()], name="listener", daemon=True).start()


DISPLAYS: dict[str, Callable[[], Display]] = {"bars": Bars, "json": JsonLines}
