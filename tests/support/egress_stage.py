"""Runs one command where all that it asks of a network, and all that it writes, is seen.

usage, in network and mount namespaces of its own: python egress_stage.py FOLDER REPORT COMMAND...

There is a way out, so that nobody holds back: an address, default routes, and a DNS server that knows every
name. But the way ends here, and whatever takes it is written to REPORT. Every file system is read-only except
FOLDER, with the command's `home`, `work` (where it runs), `tmp` and `shm` (as /dev/shm).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

FOLDERS = ("home", "work", "tmp", "shm")
KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)  # above all not CI: libraries heed it
SETTLE_S = 0.2  # for the last packet of a command to be noted

_WAY_OUT = "out0"
_SETUP = (  # documentation's addresses (RFC 5737, RFC 3849)
    "link set lo up",
    f"link set {_WAY_OUT} addrgenmode none multicast off up",
    f"addr add 192.0.2.1/24 dev {_WAY_OUT}",
    f"route add default dev {_WAY_OUT}",
    f"-6 addr add 2001:db8::1/64 dev {_WAY_OUT} nodad",
    f"-6 route add default dev {_WAY_OUT}",
)
_ANSWERS = {1: socket.inet_aton("192.0.2.7"), 28: socket.inet_pton(socket.AF_INET6, "2001:db8::7")}  # A, AAAA
_OF_THE_KERNEL = (133, 135, 136, 143)  # ICMPv6: it looks for routers and neighbours by itself

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_SYS_MOUNT_SETATTR = 442
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """The command's exit status."""
    folder, report, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    packets: list[str] = []
    queries: list[str] = []
    way_out = open_way_out()
    for words in _SETUP:
        subprocess.run(["ip", *words.split()], check=True)
    answerer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answerer.bind(("127.0.0.1", 53))
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    close_all_but(folder)
    watch(lambda: note_packet(os.read(way_out, 65536), packets))
    watch(lambda: answer(answerer, queries))
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    status = subprocess.run(command, cwd=folder / "work", env=environment, check=False).returncode
    time.sleep(SETTLE_S)
    report.write_text(json.dumps({"status": status, "packets": packets, "queries": queries}))
    return status


def open_way_out() -> int:
    """A network interface whose packets come to the descriptor that is returned."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", _WAY_OUT.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def close_all_but(folder: Path) -> None:
    """Every mount becomes read-only, except `folder`; names are resolved here alone."""
    mount("none", "/", _MS_REC | _MS_PRIVATE)
    mount(folder, folder, _MS_BIND)
    mount(folder / "shm", "/dev/shm", _MS_BIND)
    files = {"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/nsswitch.conf": "hosts: files dns\n"}
    for name, text in files.items():
        if Path(name).exists():
            ours = folder / Path(name).name
            ours.write_text(text)
            mount(ours, name, _MS_BIND)
    set_read_only("/", _AT_RECURSIVE, True)
    for open_folder in (folder, "/dev/shm"):
        set_read_only(open_folder, 0, False)


def mount(source: Path | str, target: Path | str, flags: int) -> None:
    """mount(2)."""
    if _libc.mount(os.fsencode(source), os.fsencode(target), b"none", flags, None):
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def set_read_only(target: Path | str, flags: int, wanted: bool) -> None:
    """mount_setattr(2)."""
    change = (_MOUNT_ATTR_RDONLY, 0) if wanted else (0, _MOUNT_ATTR_RDONLY)
    attributes = struct.pack("4Q", *change, 0, 0)
    if _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, attributes, len(attributes)):
        raise OSError(ctypes.get_errno(), f"mount_setattr {target}: {os.strerror(ctypes.get_errno())}")


def watch(step: Callable[[], None]) -> None:
    """Do it again and again, in a thread that ends with the process."""

    def forever() -> None:
        while True:
            step()

    threading.Thread(target=forever, daemon=True).start()


def note_packet(packet: bytes, packets: list[str]) -> None:
    """Protocol number, destination and length of an IP packet that would have left."""
    if packet[0] >> 4 == 4:
        packets.append(f"protocol {packet[9]} to {socket.inet_ntoa(packet[16:20])}, {len(packet)} bytes")
    elif not (packet[6] == socket.IPPROTO_ICMPV6 and packet[40] in _OF_THE_KERNEL):
        to = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        packets.append(f"protocol {packet[6]} to {to}, {len(packet)} bytes")


def answer(answerer: socket.socket, queries: list[str]) -> None:
    """Note a DNS query, and answer with an address whose packets are noted too."""
    query, asker = answerer.recvfrom(2048)
    labels, end = [], 12
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].decode("ascii", "replace"))
        end += 1 + query[end]
    (kind,) = struct.unpack_from("!H", query, end + 1)
    queries.append(f"{'.'.join(labels)}, type {kind}")
    address = _ANSWERS.get(kind)
    head = query[:2] + b"\x81\x80" + struct.pack("!4H", 1, 1 if address else 0, 0, 0)
    reply = head + query[12 : end + 5]
    if address:
        reply += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(address)) + address
    answerer.sendto(reply, asker)


if __name__ == "__main__":
    raise SystemExit(main())
