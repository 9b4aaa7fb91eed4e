"""Mutated datagrams, and a process that throws them at media ports.

Seeds are what came to a media port in real calls (tests/data/datagrams.txt) and what the callers under attack
have sent. A mutation is a fault at one or more places, a cut, a splice of two, a length that lies, or a STUN
message of random attributes that is well formed around them. The process sends from sockets of its own, as
strangers do, and from the callers' own sockets, which it is given, as whoever forges a source address does:

    python -m benchmarks.robustness.datagrams < ORDER      (one JSON object; an Order)
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

CORPUS = Path(__file__).parents[2] / "tests" / "data" / "datagrams.txt"
STRANGERS = 16  # sockets
BURST = 20  # datagrams at once
MOST_BYTES = 9_000
_COOKIE = 0x2112A442
_ATTRIBUTES = (1, 3, 4, 5, 6, 8, 9, 12, 13, 18, 20, 21, 22, 25, 32, 36, 37, 0x8022, 0x8028, 0x8029, 0x802A)
_EDGES = (0, 1, 2, 3, 4, 20, 21, 22, 23, 63, 64, 79, 127, 128, 191, 192, 200, 255)  # RFC 7983 and around


@dataclass(frozen=True, slots=True)
class Order:
    """What to throw, from where, at whom."""

    targets: Sequence[tuple[str, int]]  # media ports
    forged: Sequence[tuple[int, str, int]]  # descriptor of a caller's socket, and where it calls
    seeds: Sequence[str]  # hex, besides the corpus
    count: int
    per_s: float
    seed: int


def corpus() -> list[bytes]:
    """What is kept in the file."""
    lines = [line.split() for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [bytes.fromhex(words[1].strip("-")) for words in lines if words and words[0] != "#"]


def mutated(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """One datagram; of 20, one is a seed as it is: a replay."""
    data = bytearray(rng.choice(seeds))
    way = rng.randrange(20)
    if way < 6:  # faults, a bit or a byte each
        for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
            at = rng.randrange(len(data))
            data[at] = data[at] ^ (1 << rng.randrange(8)) if way < 3 else rng.choice(_EDGES)
    elif way < 9:
        del data[rng.randrange(len(data) + 1) :]
    elif way == 9:
        data += rng.randbytes(rng.choice((1, 4, 100, 1_500)))
    elif way == 10:
        other = rng.choice(seeds)
        data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    elif way < 13 and len(data) > 14:  # the lengths of a STUN message, an RTCP packet and a DTLS record
        at = rng.choice((2, 11, 22))
        data[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", rng.randbytes(2)))
    elif way == 13:
        data = bytearray(bytes([rng.choice(_EDGES)]) + rng.randbytes(rng.choice((0, 1, 11, 19, 500))))
    elif way == 14:
        data = bytearray(rng.choice((0, 1_500, 1_501, MOST_BYTES)) * bytes([rng.choice(_EDGES)]))
    elif way < 19:
        data = bytearray(_stun(rng))
    return bytes(data[:MOST_BYTES])


def _stun(rng: random.Random) -> bytes:
    body = b""
    for _ in range(rng.randrange(5)):
        value = rng.randbytes(rng.choice((0, 1, 2, 3, 4, 5, 8, 12, 20, 24)))
        kind = rng.choice((*_ATTRIBUTES, rng.randrange(65_536)))
        body += struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
    kind = rng.choice((0x0001, 0x0101, 0x0111, 0x0011, 0x0003, rng.randrange(0x4000)))
    return struct.pack("!HHI", kind, len(body), _COOKIE) + rng.randbytes(12) + body


def throw(order: Order) -> dict[str, int]:
    """Send them all, half in the callers' names; tells how many went, and how many the system refused."""
    rng = random.Random(order.seed)
    seeds = corpus() + [bytes.fromhex(text) for text in order.seeds]
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
    callers = [(socket.socket(fileno=descriptor), (host, port)) for descriptor, host, port in order.forged]
    routes = cycle([(stranger, tuple(target)) for stranger in strangers for target in order.targets])
    sent = refused = 0
    begun_s = time.perf_counter()
    while sent + refused < order.count:
        for _ in range(min(BURST, order.count - sent - refused)):
            forge = bool(callers) and rng.random() < 0.5
            source, target = rng.choice(callers) if forge else next(routes)
            try:
                source.sendto(mutated(seeds, rng), target)
                sent += 1
            except OSError:  # a full buffer
                refused += 1
        ahead_s = begun_s + (sent + refused) / order.per_s - time.perf_counter()
        if ahead_s > 0:
            time.sleep(ahead_s)
    return {"sent": sent, "refused": refused}


def as_text(order: Order) -> str:
    """As the process takes it."""
    return json.dumps(asdict(order))


def main() -> int:
    """Run at the lowest priority: an attacker elsewhere takes nothing of this machine's processor."""
    os.nice(19)
    print(json.dumps(throw(Order(**json.load(sys.stdin)))), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
