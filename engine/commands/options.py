"""Options that several commands have, each said once. Light: nothing that takes long to import."""

from __future__ import annotations

import argparse

from engine.avatar.bundled import BUNDLED, avatar_help
from engine.render.frame import AUTO as AUTO_FRAME
from engine.render.frame import SQUARE
from engine.runners.names import AUTO, GRAPH, NAMES, STEPS


def add_avatar(parser: argparse.ArgumentParser) -> None:
    """--avatar: one file or presenter."""
    parser.add_argument("--avatar", default=BUNDLED, help=avatar_help())


def add_runner(parser: argparse.ArgumentParser) -> None:
    """--runner; `engine.runners.choice.choose_runner` refuses what is not one."""
    names = ", ".join(name for name in NAMES if name != AUTO)
    parser.add_argument("--runner", default=AUTO, help=f"of the network: {AUTO} (default), {names}")


def add_renderer(parser: argparse.ArgumentParser) -> None:
    """--renderer; `engine.picture.choice.choose_renderer` refuses what is not one."""
    parser.add_argument(
        "--renderer",
        default=AUTO,
        help=f"{STEPS}: all but the network on the CPU; {GRAPH}: the whole picture on the runner, see export "
        f"--graph; {AUTO} (default): the graph where one was made for the GPU",
    )


def add_background(parser: argparse.ArgumentParser) -> None:
    """--background; `engine.render.background.Background.parse` reads it."""
    parser.add_argument(
        "--background",
        default="original",
        help="behind the person: original (default), a colour such as '#00b140', or a PNG or JPEG",
    )


def add_frame(parser: argparse.ArgumentParser, default: str = AUTO_FRAME) -> None:
    """--frame; `engine.render.frame.checked_frame` reads it."""
    parser.add_argument(
        "--frame",
        default=default,
        help=f"size of the pictures: {AUTO_FRAME} (wide where the footage was), {SQUARE}, or a size such as "
        f"1280x720 (default {default})",
    )


def add_mirror(parser: argparse.ArgumentParser) -> None:
    """--mirror."""
    parser.add_argument("--mirror", action="store_true", help="move as in a mirror")


def add_emotion(parser: argparse.ArgumentParser) -> None:
    """--emotion; `engine.expression.asked.read_emotion` reads it."""
    parser.add_argument(
        "--emotion",
        metavar="TEXT",
        help="added to the avatar's face: seconds and emotions, '0:neutral, 3.5:happy 0.6, 8:sad 0.3', or "
        "English words, 'a little worried, then relieved'",
    )


def add_eye_contact(parser: argparse.ArgumentParser) -> None:
    """--eye-contact; see `engine.expression.eye_contact`."""
    parser.add_argument(
        "--eye-contact",
        action="store_true",
        help="the avatar looks at the camera, wherever the driver's screen is, while its head is turned by "
        "less than 15 degrees",
    )
