"""What one client may take of this server: every number in one place.

The limits are several times what a browser needs, and low enough that whoever goes up to all of them slows
nobody else down (`avatarcast bench harm` measures that). Rates of requests are in stream/http/security.py.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MOST_OFFER_LINES = 500  # Chromium sends 200; parsing holds up every other session meanwhile
MOST_CANDIDATES = 64  # of one end in one ICE generation, in the offer and late; a browser has up to a dozen
RESTARTS_PER_MIN = 6.0  # of one connection, in the long run
RESTARTS_AT_ONCE = 3.0  # one after the other, by a telephone that looks for a network
MAX_PEERS = 4_096  # whose rates are remembered


@dataclass(frozen=True, slots=True)
class Budgets:
    """Of one client, who is an address or, with IPv6, a household's network; see stream.http.client_address.

    Descriptors: a connection takes one, a media connection one for each address of the server.
    """

    connections: int = 24  # HTTP, at once; a browser opens up to 6
    connections_per_s: float = 10.0  # new ones; a TLS handshake takes 2 ms of everybody's time
    connections_at_once: float = 60.0
    handshake_s: float = 5.0  # TLS
    headers_s: float = 10.0  # for the first request, and until the next


class RateLimiter:
    """A token bucket per key: `per_s` in the long run, `burst` at once. Forgets whom it saw longest ago."""

    def __init__(self, per_s: float, burst: float, max_keys: int = MAX_PEERS) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (level, when, s)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, cost: float, now_s: float) -> float:
        """0 where there is room for `cost`, which is then taken; else the seconds until there is."""
        level, then_s = self._buckets.pop(key, (self._burst, now_s))
        level = min(self._burst, level + (now_s - then_s) * self._per_s)
        wait_s = max(0.0, (cost - level) / self._per_s)
        self._buckets[key] = (level if wait_s else level - cost, now_s)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return wait_s

    def drain(self, key: str, cost: float, now_s: float) -> None:
        """Take `cost` whether there is room or not, down to an empty bucket."""
        level, then_s = self._buckets.pop(key, (self._burst, now_s))
        level = min(self._burst, level + (now_s - then_s) * self._per_s)
        self._buckets[key] = (max(0.0, level - cost), now_s)
