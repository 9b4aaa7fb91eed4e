"""abs-capture-time: negotiated where it is offered, and true."""

from __future__ import annotations

import time

import pytest
from aiortc import RTCRtpSender
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, RtpPacket, is_rtcp, unpack_header_extensions

from benchmarks.live.peer import AiortcPeer
from stream.sessions.registry import SessionRegistry
from stream.webrtc.aiortc_tuning import CAPTURE_TIME, NTP_EPOCH_NS, TellingMap, tell_receivers
from tests.support.direct_call import WatchingPeer, avatars_of, present
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until

NUMBER = 9


def configured(captured_ns: int | None) -> TellingMap:
    extensions = TellingMap(lambda: captured_ns)
    extension = RTCRtpHeaderExtensionParameters(id=NUMBER, uri=CAPTURE_TIME)
    extensions.configure(RTCRtpParameters(headerExtensions=[extension]))
    return extensions


def told_ns(packed: tuple[int, bytes]) -> int | None:
    """Unix time of what is told."""
    values = dict(unpack_header_extensions(*packed))
    if NUMBER not in values:
        return None
    return int.from_bytes(values[NUMBER], "big") * 10**9 // 2**32 - NTP_EPOCH_NS


def test_a_packet_tells_when_its_frame_was_captured() -> None:
    packet = RtpPacket()
    first = told_ns(configured(time.perf_counter_ns() - 3 * 10**9).set(packet.extensions))
    assert first is not None
    assert abs(time.time_ns() - first - 3 * 10**9) < 10**9
    again = told_ns(configured(time.perf_counter_ns()).set(packet.extensions))  # it was lost
    assert again == first


def test_nothing_is_told_of_what_is_not_known_or_not_wanted() -> None:
    assert told_ns(configured(None).set(HeaderExtensions())) is None
    assert told_ns(TellingMap(lambda: 1).set(HeaderExtensions())) is None


async def test_viewers_are_told_of_pictures_and_voice() -> None:
    registry = SessionRegistry(avatars_of())
    camera = grey_camera()
    peer = AiortcPeer("", camera, AudioStreamTrack())
    session = await present(registry, peer)
    viewer, told = WatchingPeer(audio=True), dict[str, int]()
    await viewer.watch(session)
    sdp = viewer.connection.remoteDescription.sdp
    assert sdp.count(CAPTURE_TIME) == 2
    for transceiver in viewer.connection.getTransceivers():
        (number,) = [one.id for one in transceiver._headerExtensions if one.uri == CAPTURE_TIME]
        overhear(session.audience.viewer(viewer.viewer_id).peer._connection.getSenders(), number, told)
    await until(lambda: {"video", "audio"} <= set(told))
    for sent_ns in told.values():
        assert 0 < time.time_ns() - sent_ns < 20 * 10**9
    await viewer.close()
    await peer.close()
    await registry.close()


def overhear(senders: list[RTCRtpSender], number: int, told: dict[str, int]) -> None:
    """Note what each kind's packets tell, in Unix time."""
    transport = senders[0].transport
    if "_send_rtp" in transport.__dict__:
        return
    send, kinds = transport._send_rtp, {sender._ssrc: sender.kind for sender in senders}

    async def noting(data: bytes) -> None:
        if not is_rtcp(data) and data[0] & 0x10:
            profile, words = int.from_bytes(data[12:14], "big"), int.from_bytes(data[14:16], "big")
            values = dict(unpack_header_extensions(profile, data[16 : 16 + 4 * words]))
            if number in values:
                told[kinds[int.from_bytes(data[8:12], "big")]] = (
                    int.from_bytes(values[number], "big") * 10**9 // 2**32 - NTP_EPOCH_NS
                )
        await send(data)

    transport.__dict__["_send_rtp"] = noting


def test_a_sender_keeps_its_map_where_it_is_looked_for() -> None:
    class Other:
        _RTCRtpSender__rtp_header_extensions_map = None

    with pytest.raises(TypeError, match="header extensions"):
        tell_receivers(Other(), lambda: None)  # type: ignore[arg-type]
