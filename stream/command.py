"""The live server: open its page in a browser, and the avatar follows your webcam.

Everything stays on this machine: the server listens on the loopback address and talks to no other host.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.errors import BusyError, SettingsError

if TYPE_CHECKING:
    from stream.render_loop import FramePipeline
    from stream.server import ServerFacts

MAX_SESSIONS_LIMIT = 64
_BACKLOG = 64  # connections that may wait while models load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast serve`."""
    parser.add_argument("--avatar", default="bundled", help='an .avatar file, or "bundled" (default)')
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", default="8080", help="port to listen on, 0 for any free one (default 8080)")
    parser.add_argument("--runner", default="auto", help="auto (default), onnx-cpu, onnx-cuda, torch, null")
    parser.add_argument("--max-sessions", default="2", help="presenters at the same time (default 2)")
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="permit a --host other machines can reach: camera streams are then exposed, without TLS",
    )
    parser.add_argument("--json", action="store_true", help="print the start-up facts as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    port = _number("--port", args.port, 0, 65_535)
    max_sessions = _number("--max-sessions", args.max_sessions, 1, MAX_SESSIONS_LIMIT)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with listen(args.host, port, args.allow_remote) as listener:  # first: a taken port fails at once
        from engine.avatar import load_avatar  # heavy, and not needed for --help
        from engine.disclosure import wants_mark
        from engine.pipeline import PipelineConfig, build_pipeline
        from stream.server import ServerFacts, is_loopback

        avatar = load_avatar(args.avatar)
        config = PipelineConfig(runner=args.runner)
        facts = ServerFacts(
            avatar=avatar.name,
            runner=args.runner,
            max_sessions=max_sessions,
            loopback_only=is_loopback(args.host),
            preview_jpeg=avatar.preview_jpeg,
            mark_pictures=wants_mark(avatar.consent),
        )
        return serve(listener, facts, lambda: build_pipeline(avatar, config), as_json=args.json)


def serve(
    listener: socket.socket,
    facts: ServerFacts,
    pipeline_factory: Callable[[], FramePipeline],
    as_json: bool,
) -> int:
    """Run a server on a listening socket until Ctrl-C or SIGTERM; returns the exit status."""
    return asyncio.run(_serve(listener, facts, pipeline_factory, as_json))


async def _serve(
    listener: socket.socket,
    facts: ServerFacts,
    pipeline_factory: Callable[[], FramePipeline],
    as_json: bool,
) -> int:
    from aiohttp import web

    from stream.server import LiveServer

    server = LiveServer(facts, pipeline_factory)
    reason = await server.pool.warm()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        _announce(listener, facts, reason, as_json)
        await stop.wait()
        open_sessions = len(server.sessions)
    finally:
        await runner.cleanup()
    print(f"avatarcast: stopped, {open_sessions} open session(s) closed", file=sys.stderr, flush=True)
    return 0


def _announce(listener: socket.socket, facts: ServerFacts, reason: str, as_json: bool) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if as_json:
        started: dict[str, Any] = {
            "url": url,
            "host": host,
            "port": port,
            "pid": os.getpid(),
            "avatar": facts.avatar,
            "runner": facts.runner,
            "runner_reason": reason,
            "max_sessions": facts.max_sessions,
        }
        print(json.dumps(started), flush=True)
        return
    print("avatarcast is ready", flush=True)
    print(f"  page     {url}")
    print(f"  avatar   {facts.avatar}")
    print(f"  runner   {reason}")
    print(f"  limit    {facts.max_sessions} presenter(s) at the same time")
    print("Ctrl-C stops it.", flush=True)


def listen(host: str, port: int, allow_remote: bool) -> socket.socket:
    """A listening socket. Raises SettingsError or BusyError, one line each."""
    from stream.server import is_loopback

    if not is_loopback(host) and not allow_remote:
        raise SettingsError(
            f"--host {host} can be reached from other machines: camera streams would be exposed without TLS; "
            "use 127.0.0.1, or add --allow-remote if that is what you want"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"--host {host!r} cannot be listened on ({error}); use 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise BusyError(
                f"port {port} is in use on {host}; choose another with --port, or --port 0 for any free one"
            ) from error
        if error.errno == errno.EACCES:
            raise SettingsError(
                f"port {port} needs administrator rights; choose one above 1023 with --port"
            ) from error
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}); use 127.0.0.1"
        ) from error
    listener.setblocking(False)
    return listener


def _number(option: str, text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise SettingsError(f"{option} {text!r}: a whole number from {least} to {most} is needed")
    return value
