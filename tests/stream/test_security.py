"""Who is let in: rates by a scripted clock, tokens, hosts, origins; TURN credentials as coturn has them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from engine.errors import SettingsError
from stream.budgets import RateLimiter
from stream.http.client_address import THIS_MACHINE, Network, client_key, read_proxy
from stream.http.rules import Rule
from stream.http.security import Access, Gate, is_loopback
from stream.refusal import RequestRefused
from stream.sessions.tokens import NOBODY, Right, Tokens
from stream.webrtc.ice_servers import CREDENTIALS_LIFETIME_S, IceServers

TOKEN = "correct horse battery staple"
NOW_S = 1_000.0


def request(
    method: str = "POST", path: str = "/api/sessions", peer: str = "192.0.2.1", **headers: str
) -> web.Request:
    fields = {"Host": "127.0.0.1"} | {name.replace("_", "-"): value for name, value in headers.items()}
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (peer, 50_000) if name == "peername" else default
    return make_mocked_request(method, path, headers=fields, transport=transport)


PRESENTS = Rule(frozenset({Right.PRESENT}))
OPEN = Rule(frozenset())


def gate_of(access: Access) -> Gate:
    return Gate(access, Tokens(access.token))


def refusal(gate: Gate, asked: web.Request, rule: Rule = PRESENTS) -> RequestRefused | None:
    try:
        gate.check(asked, rule, NOW_S, NOW_S)
    except RequestRefused as refused:
        return refused
    return None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     f"Bearer {TOKEN.upper()}", "Bearer é"],
)  # fmt: skip
def test_wrong_tokens(authorization: str) -> None:
    refused = refusal(gate_of(Access(token=TOKEN)), request(Authorization=authorization))
    assert refused is not None
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN} "])
def test_right_tokens(authorization: str) -> None:
    assert refusal(gate_of(Access(token=TOKEN)), request(Authorization=authorization)) is None


def test_secrets_show_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    access = Access(token=TOKEN)
    with caplog.at_level(logging.DEBUG):
        refused = refusal(gate_of(access), request(Authorization=f"Bearer {TOKEN}?"))
    assert TOKEN not in caplog.text
    assert TOKEN not in str(refused)
    assert TOKEN not in repr(access)
    assert "north" not in repr(IceServers(("turn:t.example",), secret="north"))
    assert "south" not in repr(IceServers(("turn:t.example",), user="u", password="south"))


def test_who_needs_no_token() -> None:
    gate = gate_of(Access(token=TOKEN))
    assert gate.check(request("GET", "/"), OPEN, NOW_S, NOW_S) == NOBODY
    assert refusal(gate_of(Access()), request()) is None


def test_guessing_a_token_soon_takes_longer() -> None:
    gate = gate_of(Access(token=TOKEN, requests_per_s=20.0, burst=100.0))
    statuses = []
    for _ in range(10):
        refused = refusal(gate, request(Authorization="Bearer guess"))
        assert refused is not None
        statuses.append(refused.status)
    assert statuses[:4] == [401] * 4
    assert statuses[6:] == [429] * 4
    other = refusal(gate, request(peer="192.0.2.2", Authorization=f"Bearer {TOKEN}"))
    assert other is None  # somebody else is not held up


def test_nobody_of_this_machine_is_locked_out_by_another() -> None:
    """A stale address that is asked for again and again does not stop the page that has the token."""
    gate = gate_of(Access(token=TOKEN, made_token=True, requests_per_s=1.0, burst=100.0))
    for _ in range(50):
        refused = refusal(gate, request(Authorization="Bearer stale"))
        assert refused is not None
        assert refused.status == 401
    assert refusal(gate, request(Authorization=f"Bearer {TOKEN}")) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
def test_other_sites(origin: str) -> None:
    for access in (Access(), Access(token=TOKEN)):
        refused = refusal(gate_of(access), request(Origin=origin, Authorization=f"Bearer {TOKEN}"))
        assert refused is not None
        assert refused.status == 403
    whip = Rule(frozenset({Right.PRESENT}), from_anywhere=True)
    refused = refusal(gate_of(Access()), request(Origin=origin), whip)
    assert refused is not None  # without a token another site's page could use what it finds here
    assert refused.status == 403
    known = request(Origin=origin, Authorization=f"Bearer {TOKEN}")
    assert refusal(gate_of(Access(token=TOKEN)), known, whip) is None


@pytest.mark.parametrize("host", ["rebound.example", "[::1", "127.0.0.1.evil.example", "192.0.2.1:8080", ""])
def test_foreign_names_for_this_machine(host: str) -> None:
    refused = refusal(gate_of(Access()), request(Host=host))
    assert refused is not None
    assert refused.status == 403
    assert refusal(gate_of(Access(token=TOKEN, loopback_only=False)), request(Host=host), OPEN) is None


def test_packed_bodies_are_not_unpacked() -> None:
    refused = refusal(gate_of(Access()), request(Content_Encoding="gzip"))
    assert refused is not None
    assert refused.status == 415


HERE = THIS_MACHINE
TEN = (read_proxy("10.0.0.0/8"), read_proxy("2001:db8:f::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "key"),
    [
        ("192.0.2.1", [], (), "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], (), "192.0.2.1"),  # anybody can write this
        ("192.0.2.1", ["203.0.113.9"], HERE, "192.0.2.1"),  # came past the proxy
        ("127.0.0.1", ["203.0.113.9"], HERE, "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.1, 203.0.113.9"], HERE, "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.1", "203.0.113.9"], HERE, "203.0.113.9"),  # the proxy's own line is the last
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9, 10.1.1.1"], HERE + TEN, "203.0.113.9"),
        ("10.0.0.7", ["198.51.100.1", "203.0.113.9 ,10.1.1.1 , "], TEN, "203.0.113.9"),
        ("10.0.0.7", ["10.2.2.2, 10.1.1.1"], TEN, "10.2.2.2"),  # a client within the proxies' network
        ("2001:db8:f::1", ["203.0.113.9"], TEN, "203.0.113.9"),
        ("::ffff:10.0.0.7", ["203.0.113.9"], TEN, "203.0.113.9"),  # of a socket for both kinds
        ("127.0.0.1", ["203.0.113.9:4411"], HERE, "203.0.113.9"),
        ("127.0.0.1", ["[2001:db8:1:2:3:4:5:6]:4411"], HERE, "2001:db8:1:2::/64"),
        ("127.0.0.1", ["[2001:db8:1:2:3:4:5:6]"], HERE, "2001:db8:1:2::/64"),
        ("127.0.0.1", ["2001:db8:1:2:3:4:5:6"], HERE, "2001:db8:1:2::/64"),
        ("127.0.0.1", [], HERE, "127.0.0.1"),
        ("127.0.0.1", ["nonsense"], HERE, "unknown"),
        ("127.0.0.1", ["203.0.113.9, unknown"], HERE, "unknown"),  # not whom anybody wrote before it
        ("2001:db8:1:2:3:4:5:6", [], (), "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], (), "fe80::/64"),
        ("::ffff:192.0.2.1", [], (), "192.0.2.1"),
    ],
)
def test_whose_rate_counts(peer: str, forwarded: list[str], proxies: tuple[Network, ...], key: str) -> None:
    assert client_key(peer, forwarded, proxies) == key


@pytest.mark.parametrize("text", ["", "proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1:80"])
def test_proxies_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--trusted-proxy .*10\.0\.0\.0/24"):
        read_proxy(text)


def repeated(*fields: tuple[str, str], peer: str = "127.0.0.1") -> web.Request:
    """A request whose fields may come more than once."""
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (peer, 50_000) if name == "peername" else default
    return make_mocked_request("POST", "/api/sessions", headers=CIMultiDict(fields), transport=transport)


def test_guesses_count_against_the_true_client() -> None:
    """A second X-Forwarded-For line, as HAProxy adds it, is read; and ports are no clients of their own."""
    gate = gate_of(Access(token=TOKEN, loopback_only=False, proxies=HERE, requests_per_s=0.01, burst=100.0))

    def guess(number: int, client: str) -> int:
        spoofed = ("X-Forwarded-For", f"10.1.0.{number}")
        refused = refusal(gate, repeated(("Host", "a.example"), spoofed, ("X-Forwarded-For", client)))
        assert refused is not None
        return refused.status

    assert [guess(number, "203.0.113.8") for number in range(40)].count(429) == 35
    assert [guess(number, f"198.51.100.9:{number + 1}") for number in range(40)].count(429) == 35
    assert [guess(number, f"198.51.100.{number + 10}:443") for number in range(40)].count(429) == 0


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Content-Type", "Content-Encoding"])
def test_a_field_that_decides_comes_once(name: str) -> None:
    twice = [("Host", "127.0.0.1"), (name, "127.0.0.1"), *([] if name == "Host" else [(name, "x")])]
    refused = refusal(gate_of(Access()), repeated(*twice))
    assert refused is not None
    assert (refused.status, name in str(refused)) == (400, True)


def test_a_burst_and_then_the_rate() -> None:
    limiter = RateLimiter(per_s=2.0, burst=3.0)
    assert [limiter.take("a", 1.0, 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limiter.take("b", 1.0, 0.0) == 0.0
    assert limiter.take("a", 1.0, 0.5) == 0.0
    assert limiter.take("a", 3.0, 0.5) == pytest.approx(1.5)
    assert limiter.take("a", 3.0, 1e9) == 0.0  # and no more than the burst has gathered since
    assert limiter.take("a", 1.0, 1e9) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 5)), min_size=1, max_size=60))
def test_never_more_than_burst_and_rate_allow(steps: list[tuple[float, float]]) -> None:
    limiter = RateLimiter(per_s=3.0, burst=5.0)
    now_s = taken = 0.0
    for pause_s, cost in steps:
        now_s += pause_s
        if not limiter.take("a", cost, now_s):
            taken += cost
        assert taken <= 5.0 + 3.0 * now_s + 1e-6


def test_a_flood_of_addresses_takes_bounded_memory() -> None:
    limiter = RateLimiter(per_s=1.0, burst=1.0, max_keys=10)
    for number in range(1_000):
        limiter.take(str(number), 1.0, 0.0)
    assert len(limiter) == 10
    assert limiter.take("999", 1.0, 0.0) > 0  # the newest are the ones remembered


def test_time_limited_turn_credentials() -> None:
    """As coturn checks them with use-auth-secret: the user name is a time, the password its HMAC."""
    ice = IceServers(("stun:stun.example", "turn:turn.example:3478?transport=tcp"), secret="north")
    stun, turn = ice.for_page(NOW_S)
    assert stun == {"urls": "stun:stun.example"}
    assert turn["username"] == str(int(NOW_S) + CREDENTIALS_LIFETIME_S)
    digest = hmac.new(b"north", turn["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn["credential"]) == digest
    assert [(server.urls, server.username) for server in ice.for_aiortc(NOW_S)] == [
        ("stun:stun.example", None),
        ("turn:turn.example:3478?transport=tcp", turn["username"]),
    ]


def test_a_known_turn_credential() -> None:
    """Made with openssl: printf 43200 | openssl dgst -sha1 -hmac north -binary | base64."""
    turn = IceServers(("turn:t.example",), secret="north").for_page(0.0)[0]
    assert (turn["username"], turn["credential"]) == ("43200", "Ubr3lSoQUzpUYr0qU2mVNbusJOo=")


def test_link_headers() -> None:
    ice = IceServers(("stun:s.example:1", "turns:t.example"), user='a"b', password="c\\d")
    credentials = 'username="a\\"b"; credential="c\\\\d"; credential-type="password"'
    assert ice.link_headers(NOW_S) == [
        '<stun:s.example:1>; rel="ice-server"',
        f'<turns:t.example>; rel="ice-server"; {credentials}',
    ]
    assert IceServers().link_headers(NOW_S) == []


@pytest.mark.parametrize(
    "url",
    ["", "turn:", "http://turn.example", "turn:turn.example:0", "turn:turn.example:65536", "turn:a b",
     "turn:t.example?transport=sctp", "turn:t.example>; rel=x", "stun:s.example?transport=udp"],
)  # fmt: skip
def test_ice_servers_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError, match="--ice-server"):
        IceServers((url,), user="u", password="p")


def test_turn_and_its_credentials_come_together() -> None:
    with pytest.raises(SettingsError, match="needs credentials"):
        IceServers(("turn:t.example",))
    with pytest.raises(SettingsError, match="no TURN server"):
        IceServers(("stun:s.example",), secret="s")
    with pytest.raises(SettingsError, match="one is needed"):
        IceServers(("turn:t.example",), user="u", password="p", secret="s")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
