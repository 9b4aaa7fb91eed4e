"""A server's link as it prints it, http://127.0.0.1:8080/#token=...; without a token where none is asked."""

from __future__ import annotations

from urllib.parse import parse_qs, urljoin, urlsplit


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
