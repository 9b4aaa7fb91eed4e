"""The codecs of one media section of an offer: which of them we have, and how both sides call the rest.

H.264 is decoded in any profile, by FFmpeg; what we send is Constrained Baseline, in packetization mode 1
(RFC 6184).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiortc.codecs import CODECS, is_rtx
from aiortc.rtp import FORBIDDEN_PAYLOAD_TYPES

WANTED = {"video": "VP8 or H.264", "audio": "Opus, G.722 or G.711"}
_RTPMAP = re.compile(r"(\d{1,3}) +([^/\s]+)/(\d{1,9})(?:/\d+)?")
_FEEDBACK = re.compile(r"(\*|\d{1,3}) (\S+(?: \S+)?)")
_PARAMETERS = re.compile(r"(\d{1,3}) +(.*)")
_HELPERS = ("rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event")
_OURS = {
    kind: {(codec.name.lower(), codec.clockRate) for codec in codecs if not is_rtx(codec)}
    for kind, codecs in CODECS.items()
}
_FOR_AIORTC = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={}"
_H264_PARAMETERS = ("level-asymmetry-allowed", "packetization-mode", "profile-level-id")
_BASELINE, _CONSTRAINED_BASELINE = "42001f", "42e01f"
_PROFILES = {
    0x42: "Baseline",
    0x4D: "Main",
    0x58: "Extended",
    0x64: "High",
    0x6E: "High 10",
    0x7A: "High 4:2:2",
    0xF4: "High 4:4:4",
}


def values(lines: Sequence[str], name: str) -> list[str]:
    """Of every line a=name:value, and "" of every line a=name."""
    start = f"a={name}:"
    return [line[len(start) :].strip() for line in lines if line.startswith(start)] + [
        "" for line in lines if line == f"a={name}"
    ]


def plain(text: str) -> str:
    """What an offer says, as it may stand in a log."""
    return text[:40].encode("ascii", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Codecs:
    """Those of a section that we have."""

    numbers: tuple[str, ...]
    lines: tuple[str, ...]  # about them, as aiortc knows them
    h264: Mapping[str, str | None]  # by payload type: what is answered instead of the parameters in `lines`
    missing: str  # what else there is, in words


@dataclass(frozen=True, slots=True)
class _Format:
    """One payload type."""

    number: str
    name: str
    clock_hz: int
    rtpmap: str  # "VP8/90000"
    parameters: Mapping[str, str]

    @property
    def is_h264(self) -> bool:
        return self.name.lower() == "h264"

    @property
    def profile(self) -> str:
        return self.parameters.get("profile-level-id", _CONSTRAINED_BASELINE)  # where missing, as browsers do

    @property
    def mode(self) -> str:
        return self.parameters.get("packetization-mode", "0")


def codecs_of(kind: str, numbers: Sequence[str], lines: Sequence[str], sends: bool) -> Codecs:
    """kind: "audio" or "video"; numbers: of the m line; sends: we send too, and not only decode."""
    formats = _formats(numbers, lines)
    ours = [one for one in formats if _is_ours(kind, one, sends)]
    h264 = [one for one in ours if one.is_h264]
    names = {one.number for one in ours}
    repairs = [one for one in formats if one.name.lower() == "rtx" and one.parameters.get("apt") in names]
    others = [one for one in formats if one not in ours and one.name.lower() not in _HELPERS]
    feedback = [one for value in values(lines, "rtcp-fb") if (one := _FEEDBACK.fullmatch(value))]
    return Codecs(
        numbers=tuple(one.number for one in (*ours, *repairs)),
        lines=(
            *(f"a=rtpmap:{one.number} {one.rtpmap}" for one in (*ours, *repairs)),
            *(f"a=fmtp:{one.number} {_FOR_AIORTC.format(_profile_for(one, sends))}" for one in h264),
            *(f"a=fmtp:{one.number} apt={one.parameters['apt']}" for one in repairs),
            *(f"a=rtcp-fb:{one[1]} {one[2]}" for one in feedback if one[1] in {"*", *names}),
        ),
        h264={} if sends else {one.number: _stated(one) for one in h264},
        missing=", ".join(dict.fromkeys(_words(one) for one in others)) or "of no codec",
    )


def _formats(numbers: Sequence[str], lines: Sequence[str]) -> list[_Format]:
    """In the order of the m line, which is the other side's preference."""
    parameters: dict[str, dict[str, str]] = {}
    for value in values(lines, "fmtp"):
        if (stated := _PARAMETERS.fullmatch(value)) is not None:  # a second line adds to the first
            pairs = (pair.partition("=") for pair in stated[2].split(";"))
            parameters.setdefault(stated[1], {}).update(
                {key.strip().lower(): what.strip() for key, _, what in pairs if key.strip()}
            )
    maps = [_RTPMAP.fullmatch(value) for value in values(lines, "rtpmap")]
    named = {one[1]: one for one in reversed(maps) if one is not None}  # the first of several
    return [
        _Format(number, one[2], int(one[3]), one[0].split()[1], parameters.get(number, {}))
        for number in dict.fromkeys(numbers)
        if (one := named.get(number)) is not None and _is_payload_type(number)
    ]


def _is_payload_type(number: str) -> bool:
    return number == str(int(number)) and int(number) < 128 and int(number) not in FORBIDDEN_PAYLOAD_TYPES


def _is_ours(kind: str, one: _Format, sends: bool) -> bool:
    return (one.name.lower(), one.clock_hz) in _OURS[kind] and (
        not one.is_h264 or _profile_for(one, sends) is not None
    )


def _profile_for(one: _Format, sends: bool) -> str | None:
    """Which of its two profiles aiortc is to take this H.264 for; None: we cannot serve it.

    What comes goes to FFmpeg whatever its profile; what we send the other side must be able to decode.
    """
    if re.fullmatch("[0-9a-fA-F]{6}", one.profile) is None or one.mode not in (
        ("1",) if sends else ("0", "1")
    ):
        return None
    profile, constraints = (int(one.profile[at : at + 2], 16) for at in (0, 2))
    if (
        not sends
        or (profile == 0x42 and constraints & 0x40)
        or (profile == 0x4D and constraints & 0x80)
        or (profile == 0x58 and constraints & 0xC0 == 0xC0)
    ):
        return _CONSTRAINED_BASELINE
    return _BASELINE if profile == 0x42 else None


def _stated(one: _Format) -> str | None:
    stated = [f"{key}={one.parameters[key]}" for key in _H264_PARAMETERS if key in one.parameters]
    return ";".join(stated) or None


def _words(one: _Format) -> str:
    if not one.is_h264:
        return plain(one.name)
    try:
        number, constraints = (int(one.profile[at : at + 2], 16) for at in (0, 2))
        constrained = (number, constraints & 0x40) == (0x42, 0x40) or (number, constraints) == (0x64, 0x0C)
        name = "Constrained " * constrained + _PROFILES[number]
    except (KeyError, ValueError):
        name = "of a strange profile"
    return f"H.264 {name} ({plain(one.profile)}) in packetization mode {plain(one.mode)}"
