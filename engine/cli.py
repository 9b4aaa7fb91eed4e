"""The `avatarcast` command: finds the subcommands, imports the one asked for, makes known errors one line.

Knows no subcommand by name: each is an entry point of the group `avatarcast.commands` that names a module
with `add_arguments(parser)` and `run(args) -> int`, whose docstring is its help. So engine imports neither
stream nor export.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.errors import AvatarcastError

GROUP = "avatarcast.commands"
EXIT_ERROR = 1
EXIT_SIGNAL = 128  # and the signal's number, as shells report it
EXIT_BROKEN_PIPE = EXIT_SIGNAL + 13  # SIGPIPE
ENDING = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
OWN_PACKAGES = ("engine", "export", "stream")
# What a missing package is called where it is imported -> how to get it.
EXTRA_OF = {
    "diffusers": "bench",
    "matplotlib": "bench",
    "onnx": "train",
    "onnxruntime": "cpu",
    "onnxscript": "train",
    "pyvirtualcam": "camera",
    "tensorrt": "trt",
    "tensorrt_rtx": "trt-rtx",
    "torch": "train",
}


class Ended(KeyboardInterrupt):
    """SIGTERM came, or SIGHUP as the terminal was closed: as after Ctrl-C, nothing half-done is left."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; the result is the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # NumPy's matrices are small here: BLAS threads that wait for a busy core cost more than they save.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with _ending_in_order():
            status = _dispatch(arguments)
        sys.stdout.flush()  # so that a closed pipe shows here, not while the interpreter shuts down
    except AvatarcastError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if not root or root in OWN_PACKAGES:
            raise
        return _fail(f"{root} is not installed and this command needs it: {_cure(root)}")
    except KeyboardInterrupt as end:
        number = end.number if isinstance(end, Ended) else signal.SIGINT
        words = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        with suppress(OSError):  # the terminal may be gone
            print(f"avatarcast: {words}", file=sys.stderr)
        return EXIT_SIGNAL + number
    except BrokenPipeError:
        # The reader (`| head`) has gone; without this the flush at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return status


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Signals that end a process raise Ended meanwhile; one that is ignored, as after nohup, stays so."""
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # only there may they be set
        ours = []

    def end(number: int, _: object) -> None:
        for each in ours:  # a closed terminal sends more than one: the tidying is not to be cut short
            signal.signal(each, signal.SIG_IGN)
        raise Ended(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _dispatch(arguments: list[str]) -> int:
    commands = _commands()
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="avatarcast",
        description="Half a minute of footage becomes an avatar that a presenter drives live from a webcam.",
        epilog="avatarcast COMMAND --help explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"avatarcast {metadata.version('avatarcast')}")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = None
    for name, entry in sorted(commands.items()):
        text = _docstring(entry.value)
        command = choices.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == wanted:  # only this one is imported: the others may need packages that are not here
            module = _load(entry)
            module.add_arguments(command)
            run = module.run
    args = parser.parse_args(arguments)
    if run is None:  # argparse has refused every other case
        raise AssertionError(f"command {args.command!r} was parsed but not loaded")
    return int(run(args))


def _commands() -> Mapping[str, metadata.EntryPoint]:
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if not found:
        raise AvatarcastError(
            "found no commands; wanted the entry points of an installed avatarcast: run `make setup`, "
            "or pip install -e . in the repository"
        )
    return found


def _docstring(module_name: str) -> str:
    """The module's docstring, read from its source: importing it could take seconds, or fail."""
    try:
        spec = importlib.util.find_spec(module_name)
    except ModuleNotFoundError:  # not even its package is here
        spec = None
    if spec is None or spec.origin is None:
        return f"(not in this installation: {module_name})"
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""


def _load(entry: metadata.EntryPoint) -> Any:
    """The command's module. Some are in the repository only, not in the wheel."""
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if f"{entry.value}.".startswith(f"{error.name}."):
            raise AvatarcastError(
                f"{entry.name}: found no module {entry.value} in this installation; wanted a checkout of the "
                "repository: run `make setup-dev` in one, then its .venv/bin/avatarcast"
            ) from error
        raise


def _cure(package: str) -> str:
    extra = EXTRA_OF.get(package)
    return (
        f"pip install 'avatarcast[{extra}]'" if extra else f"pip install {package}, or run `make setup` again"
    )


def _fail(message: str) -> int:
    print("avatarcast: error: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main())
