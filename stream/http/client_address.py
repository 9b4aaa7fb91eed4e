"""Which client a request comes from, also behind proxies, as far as proxies that are named vouch for it.

X-Forwarded-For grows at its right end: each proxy appends whom it heard from, in the same line or in one more
(HAProxy). What stands left of the first address that is not a trusted proxy is anybody's word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from engine.errors import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "unknown"
THIS_MACHINE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([0-9.]+):\d+")  # as RFC 7239 section 6 writes them


def client_key(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> str:
    """Whose limits a request counts against: an IPv4 address, or the /64 that one IPv6 household has.

    peer: the other end of the connection; forwarded: all lines of X-Forwarded-For, in order; proxies: those
    that are trusted, none where the server stands in front.
    """
    address = _parsed(peer)
    named = [entry.strip() for line in forwarded for entry in line.split(",") if entry.strip()]
    while address is not None and named and any(address in network for network in proxies):
        address = _parsed(named.pop())
    if address is None:  # a proxy that names nobody; whoever comes through it shares one limit
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def is_among(peer: str, networks: Sequence[Network]) -> bool:
    """Whether the other end of a connection is in one of these."""
    address = _parsed(peer)
    return address is not None and any(address in network for network in networks)


def read_proxy(text: str) -> Network:
    """An address or a network of them, as --trusted-proxy names it. Raises SettingsError."""
    try:
        return ipaddress.ip_network(text.strip("[]"))
    except ValueError as error:
        raise SettingsError(
            f"--trusted-proxy {text!r}: {error}; an address or a network is needed, such as 10.0.0.7 or "
            "10.0.0.0/24"
        ) from error


@lru_cache(maxsize=4096)  # asked for every connection, also of those that come by the hundred
def _parsed(text: str) -> Address | None:
    """IPv4, IPv6, either with a port; None of anything else. IPv4 in IPv6's clothes is IPv4."""
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        text = match[1] or match[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
