"""A dialogue that an agent has through an avatar: two voices come in, turns and emotions go out.

The agent is a program: any language model with any text to speech. It is told whose turn it is and when the
other one has spoken; it says what each turn was, and the avatar's face follows from the tree of turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter_ns
from typing import Any

import numpy as np

from engine.conversation.hearing import ROW_S, Row
from engine.conversation.tree import DialogueTree, Turn
from engine.conversation.turns import State
from engine.expression.feeling import feeling_of, steady
from engine.voice.mel import SAMPLE_RATE_HZ
from stream import tasks
from stream.refusal import RequestRefused
from stream.sessions.agent_voice import AgentVoice
from stream.sessions.session import Session

SPOKEN_S = 0.3  # less is a cough: nobody is told that it ended
PAUSE_S = (0.12, 3.0)  # after which the other one has spoken: what may be asked for
USUAL_PAUSE_S = 0.2  # people answer each other as quickly (Stivers et al., PNAS 106, 2009)
BREAKS_IN_S = 0.08  # heard for so long, the other one interrupts
MOST_AHEAD_S = 10.0  # that the other one's voice may come sooner than it can have been said
_FULL_SCALE = 32_768.0


class Dialogue:
    """Use: run() as a task, and the others as messages come. Event loop only."""

    def __init__(self, session: Session, tell: Callable[[dict[str, Any]], None]) -> None:
        """tell: gets every event."""
        self.voice = AgentVoice(session.voice.play)
        self.pause_s = USUAL_PAUSE_S
        self.breaks_in = True  # the other one, by speaking, makes the avatar fall silent
        self._session = session
        self._tell = tell
        self._tree = DialogueTree()
        self._state = State.IDLES
        self._heard_s = 0.0  # up to here, on the loop's clock, what came can have been said
        self._spoke_s = self._quiet_s = 0.0  # how long they have spoken, and been quiet since
        self._spoke_on_s = 0.0  # without a gap
        self._spoke_before = False  # the agent, a row ago

    async def run(self) -> None:
        """Until it is cancelled: plays, and goes on counting where no sound of the other comes."""
        performer = self._session.performer
        performer.on_row = self._attend
        playing = tasks.start(self.voice.run(), "agent's voice", self._session.end)
        try:
            while True:
                await asyncio.sleep(ROW_S)
                performer.attend(perf_counter_ns())
        finally:
            performer.on_row = None
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    def say(self, pcm: bytes) -> None:
        """More of the agent's voice. Raises RequestRefused."""
        self.voice.say(pcm)

    def hear(self, pcm: bytes) -> None:
        """What the other one says, as it comes. Raises RequestRefused."""
        if len(pcm) % 2:
            raise RequestRefused(400, f"{len(pcm)} bytes of sound; whole 16-bit samples are needed")
        now_s = asyncio.get_running_loop().time()
        until_s = max(self._heard_s, now_s) + len(pcm) / (2 * SAMPLE_RATE_HZ)
        if until_s > now_s + MOST_AHEAD_S:
            raise RequestRefused(
                429, "the other one's voice comes faster than it is said; send it as it comes"
            )
        self._heard_s = until_s
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
        self._session.performer.hear_other(samples, perf_counter_ns())

    def interrupt(self, by: str) -> None:
        """The avatar says no more of what it was to say."""
        self.voice.hush()
        self._session.hush()
        self._tell({"type": "interrupted", "by": by})

    def add(self, message: dict[str, Any]) -> Turn:
        """A turn: its words, or its emotion; the face follows. Raises RequestRefused, SettingsError."""
        match message:
            case {"who": str(who), "text": str(text)}:
                turn = self._tree.say(who, text, _number(message, "parent"))
            case {"who": str(who), "strengths": dict(strengths)} if _all_numbers(strengths.values()):
                confidence = message.get("confidence", 1.0)
                if not _all_numbers([confidence]):
                    raise RequestRefused(400, "confidence is no number; give 0 to 1")
                turn = self._tree.add(who, feeling_of(strengths), confidence, _number(message, "parent"))
            case _:
                raise RequestRefused(
                    400, 'turn needs {"who": "other", "text": "..."}, or "strengths": {"happy": 0.6} for text'
                )
        self._session.performer.feel(steady(turn.shown))
        return turn

    def read(self, message: dict[str, Any]) -> Turn:
        """A turn that was. Raises RequestRefused, SettingsError."""
        number = _number(message, "number")
        if number is None:
            raise RequestRefused(400, 'read needs {"number": 3}, of a turn')
        return self._tree.read(number)

    def _attend(self, row: Row) -> None:
        speaks = self.voice.speaks
        self._spoke_on_s = self._spoke_on_s + ROW_S if row.other else 0.0
        if row.other:
            self._spoke_s, self._quiet_s = self._spoke_s + ROW_S, 0.0
        else:
            self._quiet_s += ROW_S
            if self._quiet_s >= self.pause_s and self._spoke_s:
                if self._spoke_s >= SPOKEN_S:
                    self._tell({"type": "other_spoke", "for_s": round(self._spoke_s, 2)})
                self._spoke_s = 0.0
        if speaks and self.breaks_in and self._spoke_on_s >= BREAKS_IN_S:
            self.interrupt("other")
            speaks = False
        if self._spoke_before and not speaks:
            self._tell({"type": "said"})
        self._spoke_before = speaks
        if row.state is not self._state:
            self._state = row.state
            self._tell({"type": "state", "state": row.state.value})


def told(turn: Turn) -> dict[str, Any]:
    """As it is sent."""
    feelings = {name: _strengths(getattr(turn, name)) for name in ("feeling", "shown")}
    rest = {name: getattr(turn, name) for name in ("number", "who", "confidence", "parent")}
    return {"type": "turn", **rest, **feelings}


def _strengths(feeling: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(feeling).items() if value}


def _number(message: dict[str, Any], name: str) -> int | None:
    value = message.get(name)
    if value is not None and type(value) is not int:
        raise RequestRefused(400, f"{name} is {str(value)[:40]!r}; the number of a turn is needed")
    return value


def _all_numbers(values: Any) -> bool:
    return all(type(value) in (int, float) for value in values)
