"""The live server for tests of the studio: short prompts, and an avatar of 128 px within a minute.

The page is driven as anybody drives it; only this configuration differs from that of `avatarcast serve`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.media.disclosure import MarkStyle
from engine.pipeline import PipelineConfig
from engine.render.frame import AUTO
from stream.commands.serve import Serving, serve
from stream.http.exposure import listen
from stream.http.security import Access
from stream.render.avatars import Avatars, served_file
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.studio.prompts import Prompt, Script
from stream.studio.studio import Studio, StudioConfig

MINUTES = 0.05
# What the presenter of the test does, and one that is never done.
SCRIPT = Script(
    asked=(
        Prompt("Turn", "Turn your head to your left, and back.", 3, ("left",)),
        Prompt("Blink", "Blink three times.", 3, ("blink",)),
        Prompt("Left hand", "Hold up your left hand.", 1, ("left_hand",)),
    ),
    closing=(Prompt("Rest", "Look at the camera and rest.", 4, (), "Read this."),),
    consent_s=3.0,
)


def main() -> int:
    """Serve until SIGTERM; prints the start-up facts as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studio", type=Path, required=True)
    args = parser.parse_args()
    pipeline = PipelineConfig(frame=AUTO)
    avatars = Avatars([served_file("bundled", pipeline, MarkStyle())])
    config = StudioConfig(
        args.studio,
        script=SCRIPT,
        minutes=(MINUTES, 2.0),
        usual_minutes=MINUTES,
        options=("--size=128", "--base=none"),
        enroll=(sys.executable, "-m", "tests.support.small_enroll", "enroll"),
    )
    studio = Studio(config, avatars, lambda path: served_file(path, pipeline, MarkStyle()))
    studio.offer_avatars()
    with listen("127.0.0.1", 0) as listener:
        registry = SessionRegistry(avatars, RegistryConfig())
        return serve(listener, Serving(registry, Access(), studio=studio), as_json=True)


if __name__ == "__main__":
    raise SystemExit(main())
