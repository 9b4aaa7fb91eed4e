"""What one client may take of this server: every number in one place.

The limits are several times what a browser needs, and low enough that whoever goes up to all of them slows
nobody else down (`avatarcast bench harm` measures that). Rates of requests are in stream/http/security.py.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Literal
from weakref import WeakValueDictionary

MOST_OFFER_LINES = 500  # Chromium sends 200; parsing holds up every other session meanwhile
MOST_CANDIDATES = 64  # of one end in one ICE generation, in the offer and late; a browser has up to a dozen
RESTARTS_PER_MIN = 6.0  # of one connection, in the long run
MOST_CONNECTING = 16  # presenters' offers of all clients whose camera has not come yet
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
    requests: int = 24  # in hand
    body_bytes: int = 20 * 1024**2  # of requests in hand; a chunk of a recording is up to 16 MB
    pictures_per_min: float = 6.0  # decoded as backgrounds; a large one takes a seventh of a second of CPU
    pictures_at_once: float = 3.0
    snapshots_per_min: float = 60.0  # written and signed; of 1280x720 a tenth of a second of CPU
    snapshots_at_once: float = 10.0
    connecting: int = 4  # offers whose connection does not stand yet
    media_sockets: int = 32  # of viewers and of offers that are connecting; presenters have their places


What = Literal["requests", "body_bytes", "connecting", "media_sockets"]  # fields of Budgets


class Account:
    """What one client holds now. Event loop only."""

    def __init__(self, budgets: Budgets | None = None) -> None:
        self.held: Counter[str] = Counter()
        self._budgets = budgets or Budgets()

    def lease(self) -> Lease:
        """For one request or one connection."""
        return Lease(self)

    def take(self, what: What, amount: int) -> bool:
        """False where that would be too much; nothing is taken then."""
        if self.held[what] + amount > getattr(self._budgets, what):
            return False
        self.held[what] += amount
        return True


class Lease:
    """What is taken from an account at different times, and given back together."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._taken: Counter[str] = Counter()

    def take(self, what: What, amount: int = 1) -> bool:
        """False where the client would hold too much; nothing is taken then."""
        if not self.account.take(what, amount):
            return False
        self._taken[what] += amount
        return True

    def give_back(self, what: What | None = None) -> None:
        """All of this kind, or of every kind. A second time does nothing."""
        for kind in [what] if what is not None else list(self._taken):
            self.account.held[kind] -= self._taken.pop(kind, 0)


class Accounts:
    """One per client, for as long as anything is held on it."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._accounts: WeakValueDictionary[str, Account] = WeakValueDictionary()

    def of(self, client: str) -> Account:
        """The account of this client; see stream.http.client_address."""
        account = self._accounts.get(client)
        if account is None:
            account = self._accounts[client] = Account(self._budgets)
        return account


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
