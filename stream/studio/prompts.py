"""What a person is asked to do while they film themselves: about a minute, one thing after another.

Enrolment keeps the last fifth of the footage to measure by and does not learn from it, so what must be learnt
comes first and `CLOSING`, which shows a bit of everything once more, last. Missed prompts come in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.render.coach import NEEDED


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to do."""

    title: str  # short: it stands in a list
    text: str
    seconds: float
    states: tuple[str, ...] = ()  # of stream.render.coach.NEEDED: done when all of them were seen
    read: str = ""  # words to read aloud

    def __post_init__(self) -> None:
        unknown = set(self.states) - set(NEEDED)
        assert not unknown, unknown


@dataclass(frozen=True, slots=True)
class Script:
    """A whole recording. Prompts of `asked` that were missed are asked once more before `closing`."""

    asked: tuple[Prompt, ...]
    closing: tuple[Prompt, ...]
    consent_s: float = 8.0  # to say the sentence of the consent clip in, before all

    @property
    def seconds(self) -> float:
        """Without anything asked twice."""
        return self.consent_s + sum(prompt.seconds for prompt in (*self.asked, *self.closing))


ASKED = (
    Prompt("Rest", "Look at the camera and rest, mouth shut.", 3, ("rest",)),
    Prompt("Left", "Turn your head slowly to your left, and back.", 3, ("left",)),
    Prompt("Right", "Turn your head slowly to your right, and back.", 3, ("right",)),
    Prompt("Up", "Look up, chin too, and back.", 2.5, ("up",)),
    Prompt("Down", "Look down, chin too, and back.", 2.5, ("down",)),
    Prompt("Tilt", "Tilt your head to one shoulder, then to the other.", 3, ("tilt",)),
    Prompt("Blink", "Blink three times, slowly.", 3, ("blink",)),
    Prompt("Smile", "Smile, as at a friend.", 2.5, ("smile",)),
    Prompt("Brows", "Raise your brows, as if surprised; then frown, as at small print.", 3),
    Prompt("Mmm", "Lips together: hum a long “mmm”.", 3, ("lips",)),
    Prompt(
        "Hands",
        "Both hands up beside your face; turn them and move the fingers.",
        5,
        ("left_hand", "right_hand"),
    ),
    Prompt(
        "Speak",
        "Read this aloud, as you would talk to somebody:",
        10,
        ("speak",),
        "“My favourite place is by the sea. When the weather is fair, we go there and watch the boats. Some"
        " of them are blue, some are white, and one, the biggest of them all, is painted like a zebra.”",
    ),
    Prompt(
        "Read on",
        "And on:",
        8,
        (),
        "“People ask me why I bother. Perhaps because the air is good. Perhaps because, for an hour, nobody"
        " wants anything from me but a wave and a friendly word.”",
    ),
)
CLOSING = (
    Prompt(
        "Talk",
        "And freely now, with your hands: what did you do this morning? Or read:",
        12,
        (),
        "“Five foxes chewed the blue vase. Why? Nobody knows. Oh, what a wonderful job they made of it! My"
        " mother swept up the bits, put them in a paper bag, and never spoke of it again.”",
    ),
    Prompt("Rest", "Look at the camera and rest.", 3),
)
SCRIPT = Script(ASKED, CLOSING)
