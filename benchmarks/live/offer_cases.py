"""Offers as people's clients send them, in their essentials, and what must come of each.

After public reports; every key, fingerprint and host in them is invented.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SHA256, _SHA512, _SHA1 = (":".join(["AB"] * count) for count in (32, 64, 20))
_ICE = ("a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx")
_FINGERPRINT = f"a=fingerprint:sha-256 {_SHA256}"
_MODE_1 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="


def section(
    number: int,
    codec: str,
    mid: str | None = "0",
    *,
    kind: str = "video",
    port: int = 9,
    protocol: str = "UDP/TLS/RTP/SAVPF",
    direction: str = "sendonly",
    setup: str | None = "actpass",
    fingerprints: Sequence[str] = (_FINGERPRINT,),
    mux: bool = True,
    more: Sequence[str] = (),
) -> list[str]:
    """A media section of one codec, "VP8/90000"; number: its payload type."""
    lines = [f"m={kind} {port} {protocol} {number}", "c=IN IP4 0.0.0.0", *_ICE, *fingerprints]
    lines += [] if setup is None else [f"a=setup:{setup}"]
    lines += [] if mid is None else [f"a=mid:{mid}"]
    return [*lines, f"a={direction}", *["a=rtcp-mux"] * mux, f"a=rtpmap:{number} {codec}", *more]


def offer(*sections: Sequence[str], group: Sequence[str] | None = ("0",), more: Sequence[str] = ()) -> str:
    """group: the mids in its BUNDLE group; more: lines of the session."""
    head = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    head += [] if group is None else [f"a=group:BUNDLE {' '.join(group)}"]
    return "\r\n".join([*head, *more, *(line for one in sections for line in one), ""])


@dataclass(frozen=True, slots=True)
class Case:
    """One offer."""

    name: str
    sdp: str
    served: tuple[str, ...] = ("video",)  # kinds; none: the offer is refused
    refused: tuple[str, ...] = ()  # kinds of the sections that are answered with port 0
    words: tuple[str, ...] = ()  # in the refusal, or in the answer
    watches: bool = False  # it is a viewer's

    def mistake(self, status: int, text: str) -> str | None:
        """What is wrong with this reply of the server; None: nothing."""
        if status != (201 if self.served else 400):
            return f"status {status}: {text[:200]}"
        ports = re.findall(r"(?m)^m=(\w+) (\d+) ", text)
        found = (
            tuple(kind for kind, port in ports if port != "0"),
            tuple(k for k, port in ports if port == "0"),
        )
        if self.served and found != (self.served, self.refused):
            return f"served and refused are {found}"
        return next((f"no {word!r} in {text[:200]}" for word in self.words if word not in text), None)


def _h264(name: str, parameters: Sequence[str], words: Sequence[str] = (), number: int = 96) -> Case:
    lines = [f"a=fmtp:{number} {one}" for one in parameters]
    return Case(name, offer(section(number, "H264/90000", more=lines)), words=tuple(words))


_VP8 = section(96, "VP8/90000")
_OPUS = section(111, "opus/48000/2", "1", kind="audio")
_BOTH = ("video", "audio")
_OBS = """v=0
o=rtc 2113209719 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=msid-semantic:WMS *
a=setup:actpass
a=ice-ufrag:v3f/
a=ice-pwd:4b+Ogzsq+Xx0AEkYvTvG/n
a=ice-options:ice2,trickle
a=fingerprint:sha-256 82:06:23:C6:08:6C:47:62:82:22:90:F8:A5:4A:FF:F9:61:A6:5B:BF:B3:06:4E:D9:F5:39:8B:0B:2D:E5:0B:AB
m=audio 58712 UDP/TLS/RTP/SAVPF 111
c=IN IP4 192.168.68.60
a=mid:0
a=sendonly
a=ssrc:2168349679 cname:OTU9sDg2gfT6S7D7
a=ssrc:2168349679 msid:Uvjgw5v3KVIiH64D Uvjgw5v3KVIiH64D-audio
a=msid:Uvjgw5v3KVIiH64D Uvjgw5v3KVIiH64D-audio
a=rtcp-mux
a=rtpmap:111 OPUS/48000/2
a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
a=candidate:3 1 UDP 2130705919 fd00::3f:ad47 58712 typ host
a=candidate:1 1 UDP 2122317823 192.168.68.60 58712 typ host
a=candidate:2 1 UDP 2122317567 100.86.241.178 58712 typ host
a=end-of-candidates
m=video 58712 UDP/TLS/RTP/SAVPF 96
c=IN IP4 192.168.68.60
a=mid:1
a=sendonly
a=ssrc:2168349680 cname:OTU9sDg2gfT6S7D7
a=ssrc:2168349680 msid:Uvjgw5v3KVIiH64D Uvjgw5v3KVIiH64D-video
a=msid:Uvjgw5v3KVIiH64D Uvjgw5v3KVIiH64D-video
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
"""  # noqa: E501  a line cannot be broken

CASES: tuple[Case, ...] = (
    # sound that is not decoded
    Case(
        "aac_audio",
        offer(_VP8, section(111, "MPEG4-GENERIC/48000/2", "1", kind="audio"), group="01"),
        refused=("audio",),
    ),
    Case(
        "multiopus",
        offer(_VP8, section(111, "multiopus/48000/6", "1", kind="audio"), group="01"),
        refused=("audio",),
    ),
    Case("text", offer(_VP8, section(98, "t140/1000", "1", kind="text"), group="01"), refused=("text",)),
    # sections that are switched off; and one that only looks like it, which a bundle carries
    Case(
        "rejected_audio_unbundled",
        offer(
            _VP8,
            [
                "m=audio 0 UDP/TLS/RTP/SAVPF 0",
                "c=IN IP4 0.0.0.0",
                "a=inactive",
                "a=mid:1",
                "a=rtpmap:0 PCMU/8000",
            ],
        ),
        refused=("audio",),
    ),
    Case(
        "bundle_only",
        offer(
            _VP8,
            section(111, "opus/48000/2", "1", kind="audio", port=0, more=["a=bundle-only"]),
            group="01",
        ),
        served=_BOTH,
    ),
    Case(
        "bundle_only_bare",  # RFC 9143 section 7.1.3: what all share stands in the first section alone
        offer(
            _VP8,
            [
                "m=audio 0 UDP/TLS/RTP/SAVPF 111",
                *("a=bundle-only", "a=mid:1", "a=sendonly", "a=rtpmap:111 opus/48000/2"),
            ],
            group="01",
        ),
        served=_BOTH,
    ),
    # H.264 as encoders make it
    _h264("h264_main", [_MODE_1 + "4d001f"], ["profile-level-id=4d001f"]),
    _h264("h264_high_only", [_MODE_1 + "640c1f"], ["profile-level-id=640c1f"]),
    _h264("h264_high_64001f", [_MODE_1 + "64001f"], ["profile-level-id=64001f"]),
    _h264("h264_lvl52", [_MODE_1 + "42e034"], ["profile-level-id=42e034"]),
    _h264(
        "h264_pm0_only",
        ["level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"],
        ["packetization-mode=0"],
    ),
    _h264("h264_nofmtp", []),
    _h264("h264_two_fmtp", ["packetization-mode=1", "profile-level-id=4d001f"], ["profile-level-id=4d001f"]),
    _h264("space_fmtp", ["packetization-mode=1; profile-level-id=42e01f; level-asymmetry-allowed=1"]),
    # payload types that Chromium gives out when it has no other left
    _h264("h264_pt39", [_MODE_1 + "42e01f"], ["SAVPF 39\r\n", "a=rtpmap:39 H264/90000"], 39),
    Case("vp8_pt39", offer(section(39, "VP8/90000")), words=("SAVPF 39\r\n", "a=rtpmap:39 VP8/90000")),
    Case("vp8_pt35_page", offer(section(35, "VP8/90000", direction="sendrecv")), words=("SAVPF 35\r\n",)),
    # more than one, and more than one layer
    Case("two_video", offer(_VP8, section(96, "VP8/90000", "1"), group="01"), refused=("video",)),
    Case(
        "two_video_av1_first",
        offer(section(45, "AV1/90000"), section(96, "VP8/90000", "1"), group="01"),
        refused=("video",),
    ),
    Case("no_bundle_two", offer(_VP8, _OPUS, group=None), served=(), words=("BUNDLE",)),
    Case(
        "simulcast_rid",
        offer(
            section(
                96,
                "VP8/90000",
                more=[
                    *("a=rid:0 send", "a=rid:1 send", "a=rid:2 send", "a=simulcast:send 0;1;2"),
                    "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
                    "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
                ],
            )
        ),
        words=("a=simulcast:recv 0\r\n", "a=rid:0 recv\r\n"),
    ),
    Case(
        "simulcast_sim",
        offer(
            section(
                96,
                "VP8/90000",
                more=["a=ssrc-group:SIM 11 22 33", *(f"a=ssrc:{ssrc} cname:c" for ssrc in (11, 22, 33))],
            )
        ),
    ),
    # what cannot be served, in words
    Case(
        "setup_missing", offer(section(96, "VP8/90000", setup=None)), served=(), words=("a=setup is missing",)
    ),
    Case("av1_only", offer(section(45, "AV1/90000")), served=(), words=("AV1", "VP8 or H.264")),
    Case(
        "hevc_only",
        offer(section(96, "H265/90000", more=["a=fmtp:96 level-id=93;profile-id=1"])),
        served=(),
        words=("H265", "VP8 or H.264"),
    ),
    Case(
        "vp9_only",
        offer(section(98, "VP9/90000", more=["a=fmtp:98 profile-id=0"])),
        served=(),
        words=("VP9", "VP8 or H.264"),
    ),
    Case(
        "audio_only",
        offer(section(111, "opus/48000/2", kind="audio")),
        served=("audio",),
    ),
    Case("no_rtcp_mux", offer(section(96, "VP8/90000", mux=False)), served=(), words=("rtcp-mux",)),
    Case(
        "fp_sha1",
        offer(section(96, "VP8/90000", fingerprints=[f"a=fingerprint:sha-1 {_SHA1}"])),
        served=(),
        words=("sha-1", "sha-256"),
    ),
    Case(
        "h264_high_viewer",  # we send Constrained Baseline
        offer(section(96, "H264/90000", direction="recvonly", more=[f"a=fmtp:96 {_MODE_1}64001f"])),
        served=(),
        words=("H.264 High (64001f) in packetization mode 1",),
        watches=True,
    ),
    Case(
        "h264_pm0_viewer",
        offer(section(96, "H264/90000", direction="recvonly", more=["a=fmtp:96 profile-level-id=42e01f"])),
        served=(),
        words=("H.264 Constrained Baseline (42e01f) in packetization mode 0",),
        watches=True,
    ),
    # other spellings
    Case(
        "datachannel",
        offer(
            _VP8,
            [
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
                "c=IN IP4 0.0.0.0",
                *(*_ICE, _FINGERPRINT, "a=setup:actpass", "a=mid:1"),
                *("a=sctp-port:5000", "a=max-message-size:262144"),
            ],
            group="01",
        ),
        served=("video", "application"),
    ),
    *(
        Case(name, offer(section(96, "VP8/90000", protocol=protocol)), words=(f" {protocol} 96",))
        for name, protocol in (
            ("plain_avp", "RTP/AVP"),
            ("savp", "UDP/TLS/RTP/SAVP"),
            ("tcp_dtls", "TCP/DTLS/RTP/SAVPF"),
        )
    ),
    Case("obs_lf", _OBS, served=("audio", "video")),
    Case("opus_mono", offer(_VP8, section(111, "opus/48000", "1", kind="audio"), group="01"), served=_BOTH),
    Case(
        "pcmu_audio",
        offer(_VP8, section(0, "PCMU/8000", "1", kind="audio"), group="01"),
        served=_BOTH,
        words=("a=rtpmap:0 PCMU/8000",),
    ),
    Case("ice_lite", offer(section(96, "VP8/90000", setup="active"), more=["a=ice-lite"])),
    Case("ipv6_c", offer(_VP8).replace("c=IN IP4 0.0.0.0", "c=IN IP6 ::")),
    Case("setup_passive", offer(section(96, "VP8/90000", setup="passive")), words=("a=setup:active",)),
    Case(
        "fp_lower",
        offer(section(96, "VP8/90000", fingerprints=[f"a=fingerprint:sha-256 {_SHA256.lower()}"])),
    ),
    Case(
        "fp_sha512_and_256",
        offer(section(96, "VP8/90000", fingerprints=[_FINGERPRINT, f"a=fingerprint:sha-512 {_SHA512}"])),
    ),
    Case(
        "bw",
        offer(
            section(
                96,
                "VP8/90000",
                more=[
                    "b=AS:2500",
                    "b=TIAS:2500000",
                    "a=framerate:29.97",
                    "a=imageattr:96 send [x=640,y=480]",
                ],
            )
        ),
    ),
    Case("one_section_no_mid_no_group", offer(section(96, "VP8/90000", None), group=None)),
    Case("video_first_no_mid", offer(section(96, "VP8/90000", None))),
    *(
        Case(
            name,
            offer(
                section(96, "VP8/90000", direction=direction),
                section(111, "opus/48000/2", "1", kind="audio", direction=direction),
                group="01",
            ),
            served=_BOTH,
            words=("a=sendonly",),
            watches=True,
        )
        for name, direction in (("recvonly_all", "recvonly"), ("whep_sendrecv", "sendrecv"))
    ),
)
