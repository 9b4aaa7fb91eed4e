"""What is asked for in writing: times and emotions, or a sentence."""

from __future__ import annotations

import re

from engine.expression.feeling import Schedule, parse_schedule
from engine.expression.words import Understood, understand

EACH_S = 4.0  # a sentence's feelings follow each other by so much

_TIMED = re.compile(r"\s*[0-9.]+\s*:")


def read_emotion(text: str) -> tuple[Schedule, list[Understood]]:
    """Of "0:neutral, 3.5:happy 0.6" or "a little worried, then relieved"; and what was understood of words.

    Raises SettingsError.
    """
    if _TIMED.match(text):
        return parse_schedule(text), []
    understood = understand(text)
    times_s = tuple(number * EACH_S for number in range(len(understood)))
    return Schedule(times_s, tuple(one.feeling for one in understood)), understood
