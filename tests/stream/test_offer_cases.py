"""Offers as people's clients send them: each is answered as it should be, and what is served flows."""

from __future__ import annotations

import re
from collections.abc import Callable

import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from aiortc.rtp import RtpPacket
from av.frame import Frame

from benchmarks.live.offer_cases import CASES, offer, section
from benchmarks.live.offers import OfferServer
from benchmarks.live.peer import StampedCamera
from stream.media.encoders import RenderedH264Encoder
from stream.sessions.registry import SessionRegistry
from stream.webrtc.aiortc_tuning import SILENT_STREAM_S, gather_on_loopback, take_one_stream
from stream.webrtc.negotiation import read_publish_request
from stream.webrtc.offer import read_offer
from tests.support.direct_call import avatars_of
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until

AAC = section(97, "MPEG4-GENERIC/48000/2", "sound", kind="audio")


async def test_every_case_is_answered_as_it_should_be() -> None:
    async with OfferServer() as server:
        mistakes = {case.name: case.mistake(*await server.send(case)) for case in CASES}
    assert {name: mistake for name, mistake in mistakes.items() if mistake is not None} == {}


async def test_no_refusal_tells_of_the_library() -> None:
    async with OfferServer() as server:
        for case in CASES:
            if not case.served:
                _, text = await server.send(case)
                assert not re.search(r"Error|NoneType|aiortc|attribute '", text), text


def publishing(camera: StampedCamera) -> RTCPeerConnection:
    gather_on_loopback()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(camera, "sendonly")
    return peer


def only(sdp: str, codec: str, number: int, parameters: str | None) -> str:
    """An offer of aiortc's with one codec of these parameters, under another payload type."""
    named = re.search(rf"a=rtpmap:(\d+) {codec}/90000\r\n", sdp)
    assert named is not None
    lines = [
        line.replace(f":{named[1]} ", f":{number} ")
        for line in sdp.splitlines()
        if not line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"))
        or line.startswith((f"a=rtpmap:{named[1]} ", f"a=rtcp-fb:{named[1]} "))
    ]
    sdp = re.sub(r"(m=video \d+ \S+) .*", rf"\1 {number}", "\r\n".join([*lines, ""]))
    return sdp if parameters is None else sdp + f"a=fmtp:{number} {parameters}\r\n"


class MainProfileEncoder(RenderedH264Encoder):
    """H.264 Main with one NAL unit a packet, as packetization mode 0 wants it."""

    def __init__(self) -> None:
        super().__init__("libx264")

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        assert isinstance(frame, av.VideoFrame)
        assert frame.pts is not None
        assert frame.time_base is not None
        if self.codec is None:
            codec = av.CodecContext.create("libx264", "w")
            assert isinstance(codec, av.VideoCodecContext)
            codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuv420p"
            codec.time_base = VIDEO_TIME_BASE
            codec.options = {"tune": "zerolatency", "profile": "main", "slice-max-size": "1200"}
            self.codec = codec
        data = b"".join(bytes(packet) for packet in self.codec.encode(frame))
        assert data[4] & 0x1F != 7 or data[5] == 77
        return list(self._split_bitstream(data)), convert_timebase(
            frame.pts, frame.time_base, VIDEO_TIME_BASE
        )


async def flows(
    change: Callable[[str], str],
    restore: Callable[[str], str] = lambda answer: answer,
    encoder: RenderedH264Encoder | None = None,
) -> str:
    """Publish by an offer that was changed, until pictures come; gives the answer. restore: for aiortc."""
    registry, peer = SessionRegistry(avatars_of()), publishing(grey_camera())
    try:
        await peer.setLocalDescription()
        request = read_publish_request(change(peer.localDescription.sdp), None, None)
        session, answer = await registry.create(request)
        if encoder is not None:
            peer.getSenders()[0].__dict__["_RTCRtpSender__encoder"] = encoder
        await peer.setRemoteDescription(RTCSessionDescription(restore(answer.sdp), "answer"))
        await until(lambda: session.metrics.rendered >= 3)
        return answer.sdp
    finally:
        await peer.close()
        await registry.close()


async def test_a_bundle_whose_first_section_is_refused_goes_by_the_other() -> None:
    """As libdatachannel offers it: the candidates stand in the first section alone."""

    def sound_first(sdp: str) -> str:
        session, video = re.split(r"(?m)^(?=m=)", sdp)
        kept = [line for line in video.splitlines() if "candidate" not in line]
        ice = [line for line in video.splitlines() if line.startswith(("a=candidate", "a=end-of", "a=ice-"))]
        sound = [line for line in AAC if not line.startswith("a=ice-")]
        session = session.replace("a=group:BUNDLE 0", "a=group:BUNDLE sound 0")
        return session + "\r\n".join([*sound, *ice, *kept, ""])

    answer = await flows(sound_first, lambda sdp: re.sub(r"(?s)m=audio.*?(?=m=)", "", sdp))
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 97\r\n" in answer
    assert "a=group:BUNDLE 0\r\n" in answer


async def test_h264_main_in_mode_0_of_an_unusual_number_is_decoded() -> None:
    parameters = "packetization-mode=0;profile-level-id=4d001f"

    def as_aiortc_knows_it(sdp: str) -> str:
        return sdp.replace(parameters, "packetization-mode=1;profile-level-id=42e01f")

    encoder = MainProfileEncoder()
    answer = await flows(lambda sdp: only(sdp, "H264", 39, parameters), as_aiortc_knows_it, encoder)
    assert f"a=fmtp:39 {parameters}\r\n" in answer
    assert "SAVPF 39\r\n" in answer


async def test_vp8_without_a_name_and_a_group() -> None:
    def bare(sdp: str) -> str:
        return re.sub(r"a=(mid|group):.*\r\n", "", sdp)

    def named(sdp: str) -> str:
        assert "a=mid" not in sdp
        assert "a=group" not in sdp
        return sdp + "a=mid:0\r\n"

    await flows(bare, named)


def test_what_all_sections_share_may_stand_in_the_first_of_the_bundle() -> None:
    """RFC 9143 section 7.1.3; of ICE, DTLS and the multiplexing aiortc wants all in each section."""
    bare = next(case for case in CASES if case.name == "bundle_only_bare")
    read = read_offer(bare.sdp, ("sendonly",), sends=False, without_video="")
    for line in ("a=ice-ufrag:abcd", "a=setup:actpass", "a=rtcp-mux"):
        assert read.sdp.count(line) == 2


def test_the_order_of_the_m_line_is_the_preference() -> None:
    sdp = offer(section(96, "VP8/90000", more=["a=rtpmap:97 H264/90000"])).replace("SAVPF 96", "SAVPF 97 96")
    read = read_offer(sdp, ("sendonly",), sends=False, without_video="")
    assert re.findall(r"a=rtpmap:(\d+)", read.sdp) == ["97", "96"]


def test_what_is_not_served_is_told() -> None:
    layered = next(case for case in CASES if case.name == "simulcast_rid")
    for sdp, words in (
        (layered.sdp, "3 layers of simulcast are offered; one layer is taken"),
        (offer(section(96, "VP8/90000"), AAC, group=["0", "sound"]), "it is MPEG4-GENERIC; Opus"),
    ):
        (told,) = read_offer(sdp, ("sendonly",), sends=False, without_video="").refused
        assert words in told


@pytest.mark.parametrize("late_s", [0.1, SILENT_STREAM_S + 0.1])
async def test_one_stream_is_taken_at_a_time(late_s: float) -> None:
    """Layers that a client sends all the same are not mixed; a stream that begins anew is taken."""
    receiver = RTCRtpReceiver.__new__(RTCRtpReceiver)
    taken: list[int] = []
    now_s = 0.0

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        taken.append(packet.ssrc)

    receiver.__dict__["_handle_rtp_packet"] = handle
    take_one_stream(receiver, lambda: now_s)
    for now_s, ssrc, payload_type in ((0.0, 11, 96), (0.05, 22, 96), (0.06, 33, 97), (late_s, 22, 96)):  # noqa: B007
        packet = RtpPacket(payload_type=payload_type)
        packet.ssrc = ssrc
        await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
    assert taken == [11, 33, *([22] if late_s > SILENT_STREAM_S else [])]
