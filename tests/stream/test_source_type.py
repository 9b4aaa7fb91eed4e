"""Media that say to machines what made them: in RTP's header extension, and in H.264 itself."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from aiortc.codecs.h264 import h264_depayload
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import unpack_header_extensions

from benchmarks.live.peer import AiortcPeer
from engine.media.disclosure import SOURCE_TYPE
from stream.media.encoders import SOFTWARE_H264, SOURCE_TYPE_UUID, RenderedH264Encoder
from stream.sessions.registry import SessionRegistry
from stream.webrtc.aiortc_tuning import SOURCE_TYPE as EXTENSION
from stream.webrtc.aiortc_tuning import TRAINED_ALGORITHMIC_MEDIA
from tests.support.direct_call import WatchingPeer, avatars_of, present
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until


async def test_a_viewer_reads_it_from_the_packets_that_arrive() -> None:
    registry = SessionRegistry(avatars_of())
    peer = AiortcPeer("", grey_camera())
    session = await present(registry, peer)
    viewer, read = WatchingPeer(), set[bytes | None]()
    await viewer.watch(session)
    assert viewer.connection.remoteDescription.sdp.count(EXTENSION) == 1
    (transceiver,) = viewer.connection.getTransceivers()
    (number,) = [one.id for one in transceiver._headerExtensions if one.uri == EXTENSION]
    transport = transceiver.receiver.transport
    handle = transport._handle_rtp_data

    async def reading(data: bytes, arrival_time_ms: int) -> None:
        words = int.from_bytes(data[14:16], "big")
        assert data[0] & 0x10, "a header extension"
        values = unpack_header_extensions(int.from_bytes(data[12:14], "big"), data[16 : 16 + 4 * words])
        read.add(dict(values).get(number))
        await handle(data, arrival_time_ms)

    transport.__dict__["_handle_rtp_data"] = reading
    await until(lambda: read)
    assert read == {TRAINED_ALGORITHMIC_MEDIA}
    await viewer.close()
    await peer.close()
    await registry.close()


def test_ffmpeg_reads_it_from_h264() -> None:
    """Of every key frame, and of those alone."""
    encoder = RenderedH264Encoder(SOFTWARE_H264)
    stream = io.BytesIO()
    for number in range(4):
        frame = av.VideoFrame.from_ndarray(np.full((128, 128, 3), 40 * number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = 3000 * number, VIDEO_TIME_BASE
        payloads, _ = encoder.encode(frame, force_keyframe=number == 2)
        stream.write(b"".join(h264_depayload(payload) for payload in payloads))
    stream.seek(0)
    with av.open(stream, format="h264") as film:
        found = [said(frame) for frame in film.decode(video=0)]
    assert found == [SOURCE_TYPE, None, SOURCE_TYPE, None]


def said(frame: av.VideoFrame) -> str | None:
    """What is said under our UUID."""
    every: Any = frame.side_data
    found = [bytes(data) for data in every if data.type.name == "SEI_UNREGISTERED"]
    own = [data[16:].decode() for data in found if data[:16] == SOURCE_TYPE_UUID.bytes]
    return own[0] if own else None
