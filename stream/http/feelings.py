"""Reads which emotion a client asks for."""

from __future__ import annotations

from typing import Any

from engine.expression.asked import read_emotion
from engine.expression.feeling import EMOTIONS, Schedule, feeling_at, feeling_of, steady
from stream.refusal import RequestRefused

_WANTED = (
    'emotion needs {"strengths": {"happy": 0.6}}, with any of '
    + ", ".join(EMOTIONS)
    + ', or {"valence": -0.5, "arousal": 0.3}, or {"text": "..."}'
)


def read_feelings(body: Any) -> tuple[Schedule, list[str]]:
    """What to show, and what was understood of words. Raises RequestRefused (400), SettingsError."""
    match body:
        case {"text": str(text)} if len(body) == 1:
            schedule, understood = read_emotion(text)
            return schedule, [str(one) for one in understood]
        case {"valence": valence, "arousal": arousal} if len(body) == 2 and _numbers(body):
            return steady(feeling_at(valence, arousal)), []
        case {"strengths": dict(strengths)} if len(body) == 1 and _numbers(strengths):
            return steady(feeling_of(strengths)), []
    raise RequestRefused(400, _WANTED)


def _numbers(values: dict[str, Any]) -> bool:
    return all(type(value) in (int, float) for value in values.values())
