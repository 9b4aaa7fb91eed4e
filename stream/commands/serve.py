"""The live server: open the address that it prints, and the avatar follows your webcam.

Unless told otherwise it listens on the loopback address and talks to no other host. The address has a token
in it, so no other program or user of this machine gets in. Others reach it over TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.avatar.bundled import bundled_name, bundled_names
from engine.commands.options import add_frame, add_renderer, add_runner
from engine.errors import SettingsError
from engine.media.disclosure import add_mark_arguments, mark_style
from engine.render.frame import checked_frame
from engine.user_folders import data_folder
from stream.http.exposure import add_exposure_arguments, listen, read_exposure
from stream.logs import FORMATS, configure_logging

if TYPE_CHECKING:
    from stream.http.security import Access
    from stream.sessions.registry import SessionRegistry
    from stream.studio.studio import Studio

MAX_SESSIONS_LIMIT = 64
LEAST_FPS_LIMIT = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast serve`."""
    parser.add_argument(
        "--avatar",
        action="append",
        metavar="AVATAR",
        help=f"an .avatar file, or a bundled presenter: {', '.join(bundled_names())} (default all of these); "
        "may be given several times, the first is shown first",
    )
    parser.add_argument("--port", default="8080", help="port to listen on, 0 for any free one (default 8080)")
    add_runner(parser)
    add_renderer(parser)
    add_frame(parser)
    parser.add_argument(
        "--studio",
        metavar="FOLDER",
        type=Path,
        help="where recordings and the avatars made of them lie (default ~/.local/share/avatarcast)",
    )
    parser.add_argument("--max-sessions", default="2", help="presenters at the same time (default 2)")
    parser.add_argument(
        "--least-fps",
        default="8",
        help="refuse a presenter who would bring the others below this many pictures a second (default 8)",
    )
    parser.add_argument(
        "--only-own-voice",
        action="store_true",
        help="where an avatar keeps a voice print of its person, no other voice moves its mouth (default: "
        "such a voice is noted, on the page and in the session's stats)",
    )
    add_exposure_arguments(parser)
    add_mark_arguments(parser)
    parser.add_argument(
        "--log-format", default="text", choices=FORMATS, help="text (default) or json: one object a line"
    )
    parser.add_argument("--json", action="store_true", help="print the start-up facts as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    port = whole_number("--port", args.port, 0, 65_535)
    max_sessions = whole_number("--max-sessions", args.max_sessions, 1, MAX_SESSIONS_LIMIT)
    least_fps = whole_number("--least-fps", args.least_fps, 1, LEAST_FPS_LIMIT)
    exposure, style, frame = read_exposure(args), mark_style(args), checked_frame(args.frame)
    configure_logging(args.log_format)
    with listen(args.host, port) as listener:  # first: a taken port fails at once
        from engine.pipeline import PipelineConfig  # heavy, like all below, and not needed for --help
        from stream.render.avatars import Avatars, served_file
        from stream.sessions.registry import RegistryConfig, SessionRegistry
        from stream.studio.studio import Studio, StudioConfig

        for path in args.avatar or ():
            check_avatar(path)
        pipeline = PipelineConfig(runner=args.runner, frame=frame, renderer=args.renderer)
        avatars = Avatars([served_file(path, pipeline, style) for path in args.avatar or bundled_names()])
        config = RegistryConfig(
            max_sessions=max_sessions,
            only_own_voice=args.only_own_voice,
            least_fps=least_fps,
            runner=args.runner,
            frame=frame,
            loopback_only=exposure.access.loopback_only,
            media_ports=exposure.media_ports,
            ice_servers=exposure.ice_servers,
        )
        studio = Studio(
            StudioConfig((args.studio or data_folder()).absolute(), exposure.access.loopback_only),
            avatars,
            lambda path: served_file(path, pipeline, style),
        )
        studio.offer_avatars()
        serving = Serving(SessionRegistry(avatars, config), exposure.access, exposure.tls, studio)
        return serve(listener, serving, as_json=args.json)


def check_avatar(path: str | Path) -> None:
    """Reads the whole file, so that a flaw is told before anybody chose the avatar. Raises PackageError."""
    from engine.avatar.avatar_file import load_avatar

    if bundled_name(path) is None:
        load_avatar(path)


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, and to whom."""

    registry: SessionRegistry
    access: Access
    tls: ssl.SSLContext | None = None
    studio: Studio | None = None


def serve(listener: socket.socket, serving: Serving, as_json: bool) -> int:
    """Run a server on a listening socket until Ctrl-C, SIGTERM or SIGHUP; returns the exit status."""
    return asyncio.run(_serve(listener, serving, as_json))


async def _serve(listener: socket.socket, serving: Serving, as_json: bool) -> int:
    from aiohttp import web

    from stream import tasks
    from stream.http.server import CONNECTION_LIMITS, LiveServer

    registry = serving.registry
    reason = await registry.warm()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks.hear_others(loop)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, stop.set)
    live = LiveServer(registry, serving.access, serving.studio)
    gc.collect()
    gc.freeze()  # what is loaded stays; a collection during a call then takes no 100 ms
    runner = web.AppRunner(live.app(), access_log=None, shutdown_timeout=5.0, **CONNECTION_LIMITS)
    await runner.setup()
    assert runner.server is not None
    try:
        live.door.open(listener, runner.server, serving.tls)
        _announce(listener, serving, reason, as_json)
        await stop.wait()
        open_sessions = len(registry)
    finally:
        await live.door.close()
        await runner.cleanup()
    with suppress(OSError):  # the terminal may be gone
        print(f"avatarcast: stopped, {open_sessions} open session(s) closed", file=sys.stderr, flush=True)
    return 0


def _announce(listener: socket.socket, serving: Serving, reason: str, as_json: bool) -> None:
    host, port = listener.getsockname()[:2]
    scheme = "http" if serving.tls is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    access = serving.access
    link = f"{url}/#token={access.token}" if access.made_token else url  # one that was given is known already
    config, avatars = serving.registry.config, serving.registry.avatars
    if as_json:
        started: dict[str, Any] = {
            "url": url,
            "link": link,
            "host": host,
            "port": port,
            "pid": os.getpid(),
            "avatar": avatars.first.name,
            "avatars": [avatar.name for avatar in avatars],
            "signatures": {avatar.name: avatar.signature for avatar in avatars},
            "runner": config.runner,
            "runner_reason": reason,
            "encoder": serving.registry.encoder.h264 if serving.registry.encoder.h264_first else "libvpx",
            "encoder_reason": serving.registry.encoder.reason,
            "max_sessions": config.max_sessions,
            "token": access.token is not None,
        }
        print(json.dumps(started), flush=True)
        return
    print("avatarcast is ready", flush=True)
    if access.token is None or access.made_token:
        print(f"  page     {link}")
    else:
        print(f"  page     {url}/#token=... with the token in place of the dots")
    for number, avatar in enumerate(avatars):
        marked = "" if avatar.mark_style is None else ", marked"
        print(f"  {'' if number else 'avatar':<9}{avatar.name}: {avatar.signature}{marked}")
    print(f"  runner   {reason}")
    print(f"  video    {serving.registry.encoder.reason}")
    print(f"  limit    {config.max_sessions} presenter(s) at the same time")
    print("Ctrl-C stops it.", flush=True)


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """An option's value. Raises SettingsError."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise SettingsError(f"{option} {text!r}: a whole number from {least} to {most} is needed")
    return value
