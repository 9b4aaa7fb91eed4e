"""A server's link as it prints it, http://127.0.0.1:8080/#token=...; without a token where none is asked."""

from __future__ import annotations

from urllib.parse import parse_qs, urljoin, urlsplit
from urllib.request import Request, urlopen

ANSWER_LIMIT_S = 60.0


def at(link: str, path: str) -> str:
    """The address of a path on this server."""
    return urljoin(link, path)


def page_at(link: str, path: str) -> str:
    """The same for a browser, whose page takes the token from it."""
    fragment = urlsplit(link).fragment
    return at(link, path) + (f"#{fragment}" if fragment else "")


def bearer(link: str) -> dict[str, str]:
    """Header fields that carry the token."""
    given = parse_qs(urlsplit(link).fragment).get("token")
    return {} if given is None else {"Authorization": f"Bearer {given[0]}"}


def metrics(link: str) -> dict[str, float]:
    """What the server counts, by its names for Prometheus less `avatarcast_`, with their labels."""
    with urlopen(Request(at(link, "/metrics"), headers=bearer(link)), timeout=ANSWER_LIMIT_S) as reply:
        lines = reply.read().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("avatarcast_"): float(value) for name, _, value in found}


def counts(link: str, name: str) -> dict[str, int]:
    """Of what the server counts under this name, how often by reason."""
    start = f'{name}_total{{reason="'
    found = metrics(link).items()
    return {key[len(start) : -2]: int(count) for key, count in found if key.startswith(start)}
