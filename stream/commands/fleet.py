"""Serve from many machines as one: a head, and a server on every machine of a Ray cluster."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import ssl
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engine.avatar.bundled import bundled_names
from engine.commands.options import add_frame, add_renderer, add_runner
from engine.errors import AvatarcastError, SettingsError
from engine.render.frame import checked_frame
from stream.commands.serve import LEAST_FPS_LIMIT, MAX_SESSIONS_LIMIT, check_avatar, whole_number
from stream.http.exposure import add_exposure_arguments, listen, read_exposure
from stream.logs import FORMATS, configure_logging

if TYPE_CHECKING:
    from stream.fleet.head import FleetHead

WAIT_FOR_NODES_S = 180.0
MOST_SPARE = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast fleet`."""
    parser.add_argument(
        "--address",
        help="of a Ray cluster, HOST:PORT as `ray start --head` says it (default: this machine alone)",
    )
    parser.add_argument(
        "--avatar", action="append", metavar="AVATAR", help="as of serve; files are spread to all machines"
    )
    parser.add_argument("--port", default="8080", help="port to listen on, 0 for any free one (default 8080)")
    add_runner(parser)
    add_renderer(parser)
    add_frame(parser)
    parser.add_argument("--max-sessions", default="64", help="presenters on one machine at most (default 64)")
    parser.add_argument("--least-fps", default="8", help="as of serve, on each machine (default 8)")
    parser.add_argument("--only-own-voice", action="store_true", help="as of serve")
    parser.add_argument(
        "--spare",
        default="0",
        help="presenters for whom Ray's autoscaler keeps machines ready, beside those there are (default 0: "
        "it is asked for none)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the servers running when this ends")
    add_exposure_arguments(parser)
    parser.add_argument("--log-format", default="text", choices=FORMATS, help="text (default) or json")
    parser.add_argument("--json", action="store_true", help="print the start-up facts as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    port = whole_number("--port", args.port, 0, 65_535)
    max_sessions = whole_number("--max-sessions", args.max_sessions, 1, MAX_SESSIONS_LIMIT)
    least_fps = whole_number("--least-fps", args.least_fps, 1, LEAST_FPS_LIMIT)
    spare = whole_number("--spare", args.spare, 0, MOST_SPARE)
    exposure, frame = read_exposure(args), checked_frame(args.frame)
    if find_spec("ray") is None:
        raise AvatarcastError("fleet needs ray: pip install 'avatarcast[fleet]'")
    if args.address and exposure.access.made_token:
        raise SettingsError(
            "--address: servers outlive this head, so it needs a token that does; give --token-file"
        )
    for path in args.avatar or ():
        check_avatar(path)
    configure_logging(args.log_format)
    with listen(args.host, port) as listener:
        import secrets

        from stream.fleet.cluster import Cluster
        from stream.fleet.head import FleetHead
        from stream.fleet.node import NodeConfig

        token = exposure.access.token
        assert token is not None  # read_exposure makes one
        config = NodeConfig(
            host="127.0.0.1",
            token=token,
            key=secrets.token_bytes(32),
            runner=args.runner,
            renderer=args.renderer,
            frame=frame,
            max_sessions=max_sessions,
            least_fps=least_fps,
            only_own_voice=args.only_own_voice,
            loopback_only=exposure.access.loopback_only,
            media_ports=exposure.media_ports,
            ice_servers=exposure.ice_servers,
        )
        cluster = Cluster(config, args.avatar or bundled_names(), spare)
        cluster.connect(args.address)
        head = FleetHead(cluster)
        served = serve(listener, head, token, exposure.tls, stop_nodes=not args.keep, as_json=args.json)
        return asyncio.run(served)


async def serve(
    listener: socket.socket,
    head: FleetHead,
    token: str,
    tls: ssl.SSLContext | None,
    stop_nodes: bool,
    as_json: bool,
) -> int:
    """Until a signal; gives the exit status."""
    from aiohttp import web

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(head.app(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(head.ready.wait(), WAIT_FOR_NODES_S)
        await web.SockSite(runner, listener, ssl_context=tls).start()
        host, port = listener.getsockname()[:2]
        url = f"{'http' if tls is None else 'https'}://{host}:{port}"
        link = f"{url}/#token={token}"
        facts = {"url": url, "link": link, "nodes": len(head.cluster.members)}
        page = f"avatarcast's fleet is ready\n  page     {link}\n  nodes    {url}/fleet#token=..."
        print(json.dumps(facts) if as_json else page, flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
        await head.cluster.leave(stop=stop_nodes)
    return 0
