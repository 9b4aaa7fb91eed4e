"""What of an offer is served: one picture, one voice or two, one data channel, over one transport.

aiortc answers all sections of an offer or none, and takes each word of it as it stands. So it is given an
offer that is written anew, of the sections that are served and of what it knows in them; afterwards the
others are put back into its answer with port 0, which refuses them (RFC 8829 section 5.3.1). Where no picture
can be served RequestRefused says in one line what was found and what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcdtlstransport import X509_DIGEST_ALGORITHMS

from stream.refusal import RequestRefused
from stream.webrtc.offered_codecs import WANTED, codecs_of, plain, values

UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")  # RFC 8839 section 5.4
PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_MEDIA = re.compile(r"m=(\S+) (\d{1,5})(?:/\d+)? (\S+) (\S.*)")
_TOKEN = re.compile(r"[!-~]{1,64}")
_EXTENSION = re.compile(r"(\d{1,3})(?:/\w+)? (\S+)(?: .*)?")
_RTP = re.compile(r"(UDP/TLS/|TCP/DTLS/)?RTP/S?AVPF?")  # all of them mean DTLS-SRTP (RFC 8829 section 5.1.2)
_SCTP = re.compile(r"(UDP/|TCP/)?DTLS/SCTP")
_LAYERS = re.compile(r"(?:.* )?send (?:rid=)?(\S+)(?: .*)?")
_RID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "rtcp-mux")
_RID_EXTENSION = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
_ONLY = "0"  # what a section is called here that is the only one and has no name
_SCTP_PORT, _LARGEST_MESSAGE = 5_000, 65_536  # where none is said (RFC 8841 sections 5.1 and 6.1)


class _Unfit(Exception):
    """Why a section is not served."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What aiortc is given, and how its answer becomes the answer to what was offered."""

    sdp: str
    refused: tuple[str, ...]  # what of it is not served and why, a line each
    _sections: tuple[_Section, ...]
    _served: Mapping[int, _Served]  # by the section's place
    _grouped: bool  # the offer has a BUNDLE group, of sections that are there

    @property
    def has_video(self) -> bool:
        """A picture of it is served."""
        return any(one.section.kind == "video" for one in self._served.values())

    def answer(self, sdp: str) -> str:
        """The whole answer. sdp: aiortc's, of the sections that are served."""
        session, *medias = re.split(r"(?m)^(?=m=)", sdp)
        if not self._grouped:
            session = re.sub(r"a=group:.*\r\n", "", session)
        answers = iter(medias)
        return session + "".join(
            self._served[place].answer(next(answers)) if place in self._served else section.refusal()
            for place, section in enumerate(self._sections)
        )


@dataclass(frozen=True, slots=True)
class _Section:
    """One media section as it was offered."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    lines: tuple[str, ...]
    session: tuple[str, ...]  # lines of the whole session

    @property
    def mid(self) -> str | None:
        return next((mid for mid in values(self.lines, "mid") if _TOKEN.fullmatch(mid)), None)

    @property
    def direction(self) -> str:
        said = (line[2:] for line in (*self.lines, *self.session))
        return next((word for word in said if word in _DIRECTIONS), _DIRECTIONS[0])

    @property
    def layers(self) -> list[str]:
        """What its simulcast calls each layer, the preferred one first (RFC 8853; or, as was, by SSRC)."""
        if not self.direction.startswith("send"):
            return []
        found = [one for value in values(self.lines, "simulcast") if (one := _LAYERS.fullmatch(value))]
        if found:
            return [layer.split(",")[0].lstrip("~") for layer in found[0][1].split(";")]
        groups = [value.split() for value in values(self.lines, "ssrc-group")]
        return next((group[1:] for group in groups if group[:1] == ["SIM"]), [])

    def refusal(self) -> str:
        """Of this section, in an answer."""
        lines = [
            f"m={self.kind} 0 {self.protocol} {' '.join(self.formats)}",
            "c=IN IP4 0.0.0.0",
            "a=inactive",
        ]
        return "\r\n".join([*lines, *([] if self.mid is None else [f"a=mid:{self.mid}"]), ""])


@dataclass(frozen=True, slots=True)
class _Served:
    """A section that is served."""

    section: _Section
    lines: tuple[str, ...]  # of what aiortc is given
    h264: Mapping[str, str | None]  # by payload type: the parameters that are answered

    def answer(self, media: str) -> str:
        """To this section. media: aiortc's, to what it was given."""
        lines = []
        for line in media.splitlines():
            if line.startswith("m="):
                kind, port, _, formats = line.split(" ", 3)
                line = (
                    f"{kind} {port} {self.section.protocol} {formats}"  # RFC 8829 section 5.3.1: as offered
                )
            elif line.startswith("a=fmtp:") and (number := line[7:].split(" ")[0]) in self.h264:
                if self.h264[number] is None:
                    continue
                line = f"a=fmtp:{number} {self.h264[number]}"
            if not line.startswith("a=mid:") or self.section.mid is not None:
                lines.append(line)
        return "\r\n".join([*lines, *_one_layer(self.section), ""])


def read_offer(
    sdp: str,
    directions: Sequence[str],
    sends: bool,
    without_video: str,
    sound_will_do: bool = False,
    listens: bool = False,
) -> Offer:
    """Raises RequestRefused (400). sdp: of a bounded length. listens: a second voice is taken, the other's.

    directions: of a video section that can be served; sends: we send pictures in it; without_video: how the
    sentence "the offer has ..." ends where there is none. sound_will_do: an offer of sound that has no video.
    """
    sections, bundle = _split(sdp)
    live = _live(sections, bundle)
    served: dict[int, _Served] = {}
    refused: list[str] = []
    unfit: list[str] = []
    for place in sorted(live):
        section = sections[place]
        try:
            if section.kind == "video" and section.direction not in directions:
                raise _Unfit(f"it is {section.direction}")
            alike = [other.section for other in served.values() if other.section.kind == section.kind]
            if alike and not (listens and len(alike) == 1 and _are_told_apart(alike[0], section)):
                raise _Unfit("one of its kind is served")
            served[place] = _serve(section, sections[live[0]], sends)
        except _Unfit as error:
            refused.append(f"the {plain(section.kind)} section {section.mid or _ONLY!r} is refused: {error}")
            if section.kind == "video" and section.direction in directions:
                unfit.append(str(error))
        else:
            if len(layers := section.layers) > 1:
                refused.append(f"{len(layers)} layers of simulcast are offered; one layer is taken")
    kinds = {one.section.kind for one in served.values()}
    if "video" not in kinds and not (sound_will_do and "audio" in kinds and not unfit):
        raise RequestRefused(
            400,
            f"the offer's video cannot be served: {unfit[0]}" if unfit else f"the offer has {without_video}",
        )
    order = [place for place in live if place in served]
    written = _write(sections, served, order, live[0])
    grouped = bool(bundle) and all(sections[place].mid is not None for place in order)
    return Offer(written, tuple(refused), tuple(sections), served, grouped)


def _are_told_apart(voice: _Section, other: _Section) -> bool:
    """Two voices that both come, by packets which say whose they are."""
    sources = [_source_lines(voice), _source_lines(other)]
    sends = other.kind == "audio" and all(one.direction.startswith("send") for one in (voice, other))
    return sends and all(sources) and sources[0] != sources[1]


def _split(sdp: str) -> tuple[list[_Section], list[str]]:
    """The sections, and the names in the BUNDLE group."""
    session: list[str] = []
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in map(str.strip, sdp.splitlines()):
        if line.startswith("m="):
            if (media := _MEDIA.fullmatch(line)) is None:
                raise RequestRefused(400, f"{plain(line)!r} cannot be read; send the offer unchanged")
            found.append((media, []))
        else:
            (found[-1][1] if found else session).append(line)
    sections = [
        _Section(media[1], int(media[2]), media[3], tuple(media[4].split()), tuple(lines), tuple(session))
        for media, lines in found
    ]
    groups = [group.split() for group in values(session, "group")]
    return sections, next((group[1:] for group in groups if group[:1] == ["BUNDLE"]), [])


def _live(sections: list[_Section], bundle: list[str]) -> list[int]:
    """The places of those not switched off, in the order in which their transports count (RFC 9143).

    In a bundle, port 0 may mean that a section is offered in it alone.
    """
    live = [
        place
        for place, section in enumerate(sections)
        if section.port or ("a=bundle-only" in section.lines and section.mid in bundle)
    ]
    mids = [sections[place].mid for place in live]
    if len(live) < 2:
        return live
    if None in mids or len(set(mids)) < len(mids) or not set(mids) <= set(bundle):
        raise RequestRefused(400, "the offer's sections need one mid each, all in one BUNDLE group")
    return sorted(live, key=lambda place: bundle.index(sections[place].mid or ""))


def _serve(section: _Section, tagged: _Section, sends: bool) -> _Served:
    """Raises _Unfit. tagged: where a bundled section may leave its transport to."""
    sources = (section.lines, section.session, tagged.lines)
    transport = {
        name: next((found for lines in sources if (found := values(lines, name))), []) for name in _TRANSPORT
    }
    shared = [f"a={name}:{value}" for name in _TRANSPORT[:-1] for value in transport[name]]
    if section.kind == "application":
        data = _data_lines(section)
        _check_transport(transport)
        return _Served(section, (*data, *shared), {})
    if section.kind not in WANTED:
        raise _Unfit("audio, video and data are understood")
    codecs = codecs_of(section.kind, section.formats, section.lines, sends and section.kind == "video")
    if not codecs.numbers:
        wanted = WANTED[section.kind]
        if sends and section.kind == "video":
            wanted += " (Constrained) Baseline in packetization mode 1"
        raise _Unfit(f"it is {codecs.missing}; {wanted} is needed")
    if not _RTP.fullmatch(section.protocol):
        raise _Unfit(f"it goes by {plain(section.protocol)}; UDP/TLS/RTP/SAVPF is needed")
    if not transport["rtcp-mux"]:
        raise _Unfit("a=rtcp-mux is missing; RTP and RTCP go by one port here")
    _check_transport(transport)
    first = f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(codecs.numbers)}"
    lines = (first, f"a={section.direction}", "a=rtcp-mux", *shared, *codecs.lines)
    return _Served(section, (*lines, *_extensions(section), *_source_lines(section)), codecs.h264)


def _check_transport(transport: Mapping[str, list[str]]) -> None:
    for name, form in (("ice-ufrag", UFRAG), ("ice-pwd", PASSWORD)):
        if not transport[name] or not form.fullmatch(transport[name][0]):
            raise _Unfit(f"a={name} is missing, or not as RFC 8839 section 5.4 has it")
    prints = [value.split() for value in transport["fingerprint"]]
    hashes = [fingerprint[0].lower() for fingerprint in prints if len(fingerprint) == 2]
    if len(hashes) < len(prints) or not set(hashes) & set(X509_DIGEST_ALGORITHMS):
        found = f"is by {plain(hashes[0])}" if hashes else "is missing"
        raise _Unfit(f"a=fingerprint {found}; one by sha-256 is needed")
    if not transport["setup"]:
        raise _Unfit("a=setup is missing; a=setup:actpass is needed")
    if (role := transport["setup"][0]) not in ("actpass", "active", "passive"):
        raise _Unfit(f"a=setup is {plain(role)!r}; actpass is needed")


def _data_lines(section: _Section) -> list[str]:
    if not _SCTP.fullmatch(section.protocol):
        raise _Unfit(f"it goes by {plain(section.protocol)}; UDP/DTLS/SCTP is needed")
    if section.protocol == "DTLS/SCTP":  # as in drafts: the port stands in the m line
        port = _number(section.formats, _SCTP_PORT)
        lines = [f"m=application 9 DTLS/SCTP {port}", f"a=sctpmap:{port} webrtc-datachannel 65535"]
    else:
        port = _number(values(section.lines, "sctp-port"), _SCTP_PORT)
        lines = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", f"a=sctp-port:{port}"]
    most = _number(values(section.lines, "max-message-size"), _LARGEST_MESSAGE)
    return [*lines, f"a=max-message-size:{most}"]


def _number(found: Sequence[str], otherwise: int) -> int:
    return int(found[0]) if found and re.fullmatch(r"\d{1,9}", found[0]) else otherwise


def _extensions(section: _Section) -> list[str]:
    """RTP header extensions that we know."""
    known = {extension.uri for extension in HEADER_EXTENSIONS[section.kind]}
    return [f"a=extmap:{number} {uri}" for uri, number in _extension_numbers(section).items() if uri in known]


def _extension_numbers(section: _Section) -> dict[str, int]:
    found = [_EXTENSION.fullmatch(value) for value in values(section.lines, "extmap")]
    return {one[2]: int(one[1]) for one in reversed(found) if one is not None and 0 < int(one[1]) < 256}


def _source_lines(section: _Section) -> list[str]:
    """The SSRC of the picture or voice, and of its repairs: of the first layer alone."""
    groups = [value.split() for value in values(section.lines, "ssrc-group")]
    named = [value.split(" ")[0] for value in values(section.lines, "ssrc")]
    layers = [group[1] for group in groups if group[0:1] == ["SIM"] and len(group) > 1]
    first = next(iter([*layers, *named]), None)
    pairs = [group[1:] for group in groups if len(group) == 3 and group[0] == "FID"]
    sources = next((pair for pair in pairs if pair[0] == first), [] if first is None else [first])
    if not all(re.fullmatch(r"\d{1,10}", source) and int(source) < 2**32 for source in sources):
        return []
    return [f"a=ssrc:{source} cname:-" for source in sources]


def _one_layer(section: _Section) -> list[str]:
    """That the first layer of a simulcast is taken, in an answer (RFC 8853 section 5.3)."""
    layers = section.layers
    if not values(section.lines, "simulcast") or not layers or not _RID.fullmatch(layers[0]):
        return []
    number = _extension_numbers(section).get(_RID_EXTENSION)
    extension = [] if number is None else [f"a=extmap:{number} {_RID_EXTENSION}"]
    return [*extension, f"a=rid:{layers[0]} recv", f"a=simulcast:recv {layers[0]}"]


def _write(sections: list[_Section], served: Mapping[int, _Served], order: Sequence[int], tagged: int) -> str:
    """For aiortc. order: of the sections served in their BUNDLE group; tagged: the first in the offer's."""
    lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    lines += ["a=ice-lite"] * ("a=ice-lite" in sections[order[0]].session)
    mids = {place: sections[place].mid or _ONLY for place in served}
    lines.append(f"a=group:BUNDLE {' '.join(mids[place] for place in order)}")
    candidates = _candidates(sections[order[0]], sections[tagged])
    for place in sorted(served):  # all have the candidates: of one transport aiortc takes the last section's
        lines += [*served[place].lines, f"a=mid:{mids[place]}", *candidates]
    return "\r\n".join([*lines, ""])


def _candidates(first: _Section, tagged: _Section) -> list[str]:
    """Those of the one transport, which may stand in a section of the bundle that is not served."""
    wanted = ("a=candidate:", "a=end-of-candidates")
    own = [line for line in first.lines if line.startswith(wanted)]
    same_ice = values(first.lines, "ice-ufrag") in ([], values(tagged.lines, "ice-ufrag"))
    return own or [line for line in tagged.lines if line.startswith(wanted) and same_ice]
