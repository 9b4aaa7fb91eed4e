"""What `avatarcast serve` is told about who may reach it: address, TLS, token, STUN and TURN servers.

Secrets come from files or the environment, never from the command line, where every user of the machine can
read them. Every contradiction is a SettingsError before anything is loaded.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BusyError, SettingsError

if TYPE_CHECKING:
    from stream.http.security import Access
    from stream.webrtc.ice_servers import IceServers

TOKEN_VARIABLE = "AVATARCAST_TOKEN"
MEDIA_PORTS_VARIABLE = "AVATARCAST_MEDIA_PORTS"
MIN_TOKEN_CHARACTERS = 16
MADE_TOKEN_BYTES = 24
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
BACKLOG = 64  # connections that may wait while models load


@dataclass(frozen=True, slots=True)
class Exposure:
    """How far a server is to be reached, checked."""

    access: Access
    ice_servers: IceServers
    tls: ssl.SSLContext | None
    media_ports: range | None  # UDP; None: any that is free


def add_exposure_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that `read_exposure` reads, and --host."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with the operator's token, {MIN_TOKEN_CHARACTERS} characters or more; or set "
        f"{TOKEN_VARIABLE}; without either a server of this machine makes one at each start, and prints it",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM; with --tls-key")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy on this machine does TLS, passes on Host and sets X-Forwarded-For; a token is needed",
    )
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        metavar="ADDRESS",
        help="the same for a proxy elsewhere: its address, or a network as in 10.0.0.0/24, whose word on who "
        "its clients are is believed; may be given several times",
    )
    parser.add_argument(
        "--media-ports",
        metavar="PORTS",
        help="UDP ports for media, one or a range as 50000-50100; each presenter and viewer needs one "
        f"(default any that is free); or set {MEDIA_PORTS_VARIABLE}",
    )
    parser.add_argument(
        "--ice-server",
        action="append",
        metavar="URL",
        help="stun:HOST:PORT or turn:HOST:PORT[?transport=tcp], for clients and for this server; "
        "may be given several times",
    )
    parser.add_argument(
        "--turn-user-file", metavar="FILE", help="file with NAME:PASSWORD for the TURN servers"
    )
    parser.add_argument(
        "--turn-secret-file",
        metavar="FILE",
        help="file with the secret shared with the TURN servers (coturn: use-auth-secret); clients get "
        "credentials that expire",
    )


def read_exposure(args: argparse.Namespace) -> Exposure:
    """Raises SettingsError where the options contradict each other or leave the server open."""
    from stream.http.client_address import THIS_MACHINE, read_proxy
    from stream.http.security import Access, is_loopback

    tls = _tls(args.tls_cert, args.tls_key)
    token = _token(args.token_file)
    proxies = tuple(read_proxy(text) for text in args.trusted_proxy or ())
    if args.behind_proxy:
        if not is_loopback(args.host) and not proxies:
            raise SettingsError(
                f"--host {args.host} is for a proxy on another machine, and --behind-proxy believes those on "
                "this one; name yours with --trusted-proxy ADDRESS"
            )
        proxies += THIS_MACHINE
    if not is_loopback(args.host) and tls is None and not proxies:
        raise SettingsError(
            f"--host {args.host} can be reached from other machines, and camera streams must not travel "
            "without TLS; use 127.0.0.1, give --tls-cert and --tls-key, or --trusted-proxy where one does TLS"
        )
    reached = bool(proxies) or not is_loopback(args.host)
    if reached and token is None:
        raise SettingsError(
            "others can reach this server, so it needs a token; write one to a file for --token-file, "
            f"or set {TOKEN_VARIABLE}"
        )
    ice_servers = _ice_servers(args)
    if ice_servers.urls and not reached:
        raise SettingsError(
            "--ice-server is of no use to a server that only this machine reaches; leave it out, "
            "or let others reach it with --host or --behind-proxy"
        )
    media_ports = _media_ports(args.media_ports)
    access = Access(
        token or secrets.token_urlsafe(MADE_TOKEN_BYTES),  # not even other programs of this machine get in
        made_token=token is None,
        loopback_only=not reached,
        proxies=proxies,
    )
    return Exposure(access, ice_servers, tls, media_ports)


def _media_ports(option: str | None) -> range | None:
    """One port or a range, ends included; the option goes before the variable."""
    name, text = "--media-ports", option
    if text is None:
        name, text = MEDIA_PORTS_VARIABLE, os.environ.get(MEDIA_PORTS_VARIABLE)
    if text is None:
        return None
    match = _PORTS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < first <= last <= 65_535:
        raise SettingsError(
            f"{name} {text[:40]!r}: a UDP port from 1 to 65535 or a range as 50000-50100 is needed"
        )
    return range(first, last + 1)


def _token(path: str | None) -> str | None:
    token = os.environ.get(TOKEN_VARIABLE)
    if path is not None:
        if token is not None:
            raise SettingsError(f"--token-file and {TOKEN_VARIABLE} are both given; one is needed")
        token = _secret("--token-file", path)
    if token is not None and (len(token) < MIN_TOKEN_CHARACTERS or not _is_plain(token)):
        raise SettingsError(
            f"the token has {len(token)} characters or odd ones; {MIN_TOKEN_CHARACTERS} or more letters, "
            "digits and punctuation without spaces are needed: try `openssl rand -hex 16`"
        )
    return token


def _is_plain(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


def _secret(option: str, path: str) -> str:
    """The one line of a file."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{option} {path} cannot be read ({error}); name a file with one line") from error
    if not text or "\n" in text:
        raise SettingsError(f"{option} {path} has {len(text.splitlines())} lines; one line is needed")
    return text


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SettingsError("--tls-cert and --tls-key come together; one of them is missing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # an encrypted key must not prompt
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f"--tls-cert {certificate} and --tls-key {key} cannot be used ({error}); "
            "a PEM chain and its unencrypted key are needed"
        ) from error
    return context


def _ice_servers(args: argparse.Namespace) -> IceServers:
    from stream.webrtc.ice_servers import IceServers

    user = password = secret = ""
    if args.turn_user_file is not None:
        user, _, password = _secret("--turn-user-file", args.turn_user_file).partition(":")
        if not user or not password:
            raise SettingsError(f"--turn-user-file {args.turn_user_file}: NAME:PASSWORD is needed")
    if args.turn_secret_file is not None:
        secret = _secret("--turn-secret-file", args.turn_secret_file)
    for text in (user, password, secret):
        if not _is_plain(text):
            raise SettingsError("TURN credentials are letters, digits and punctuation; others were found")
    return IceServers(tuple(args.ice_server or ()), user, password, secret)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError or BusyError, one line each."""
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
        listener.listen(BACKLOG)
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
