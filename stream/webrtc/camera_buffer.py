"""Whole pictures of a camera from its packets, as soon as they are there, and none that cannot be understood.

Stands for aiortc's buffer, which waits for the next picture's first packet, after a loss for up to 512
packets, and then hands on pictures whose references are missing. Written against aiortc 1.16.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

from stream.webrtc.key_frames import is_key_frame
from stream.webrtc.picture_size import Size, announced_size, is_too_large

CAPACITY_PACKETS = 512  # as in aiortc
GIVE_UP_S = 0.25  # a lost packet comes again after a NACK, or a late one by itself
ASK_EVERY_S = 0.5  # for a key frame, until it comes
TELL_AFTER_S = 1.0  # that one is waited for


class DecodingFailed:
    """Stands for the event by which aiortc's decoding thread tells of a picture that it could not decode.

    aiortc asks for one key frame then, and goes on decoding; here it never hears of it.
    """

    def __init__(self) -> None:
        self.happened = False

    def set(self) -> None:
        """Any thread."""
        self.happened = True

    def is_set(self) -> bool:
        """Not for aiortc."""
        return False


class PromptJitterBuffer(JitterBuffer):
    """Gives a video frame out with its own last packet (RTP marker bit, RFC 7741 section 4.1).

    At the start, and once a picture was lost, nothing goes to the decoder until a key frame comes, which is
    asked for again and again. From a picture that is too large on, nothing does until one comes that is not.
    """

    def __init__(self, capacity: int = CAPACITY_PACKETS, clock: Callable[[], float] = monotonic) -> None:
        """clock: in seconds."""
        super().__init__(capacity, is_video=True)
        self.too_large: Size | None = None  # what the camera sends now, where that is not taken
        self.asked = 0  # key frames
        self.failed = DecodingFailed()
        self._clock = clock
        self._newest: int | None = None  # sequence number
        self._hole: tuple[int, float] | None = None  # a packet that others overtook, and since when
        self._waits_since_s: float | None = None  # for a key frame; None: it does not
        self._wants = False  # one that will not come by itself
        self._asked_s: float | None = None

    @property
    def waits_for_key_frame(self) -> bool:
        """For so long that it should be told."""
        since_s = self._waits_since_s
        return self.too_large is None and since_s is not None and self._clock() - since_s > TELL_AFTER_S

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Whether a key frame is to be asked for now; a whole frame for the decoder, if there is one."""
        now_s, number = self._clock(), packet.sequence_number
        if self._newest is None:
            self._waits_since_s = now_s
        lost, frame = super().add(packet)
        if self._newest is None or lost or uint16_gt(number, self._newest):
            self._newest = number
        if self.failed.happened:
            self.failed.happened = False
            lost = True
        if frame is None and self._is_stuck(now_s):
            self._skip_hole()
            lost, frame = True, self._remove_frame(number)
        if lost:
            self._lose(now_s)
        judged = None if frame is None else self._judge(frame, now_s)
        return self._asks(now_s), judged

    def _judge(self, frame: JitterFrame, now_s: float) -> JitterFrame | None:
        """The frame, where the decoder can make something of it."""
        try:
            size = announced_size(frame.data)
        except ValueError:  # no decoder could read it either
            self._lose(now_s)
            return None
        if size is not None:
            self.too_large = size if is_too_large(size) else None
        is_key = is_key_frame(frame.data)
        if self.too_large is not None:
            self._waits_since_s, self._wants = now_s, False
            return None
        if is_key:
            self._waits_since_s, self._wants = None, False
        elif self._waits_since_s is not None and is_key is not None:
            self._wants = True
            return None
        return frame if frame.data else None

    def _lose(self, now_s: float) -> None:
        """A picture is missing to which later ones refer."""
        self._wants = True
        if self._waits_since_s is None:
            self._waits_since_s = now_s

    def _asks(self, now_s: float) -> bool:
        """Whether a key frame is to be asked for now."""
        since_s = self._waits_since_s
        if since_s is None or self.too_large is not None:
            return False
        if not self._wants and now_s - since_s <= ASK_EVERY_S:  # at the start one is under way
            return False
        if self._asked_s is not None and now_s - self._asked_s < ASK_EVERY_S:
            return False
        self._asked_s = now_s
        self.asked += 1
        return True

    def _is_stuck(self, now_s: float) -> bool:
        """A packet has been missing for too long."""
        hole = self._first_missing()
        if self._newest is None or not uint16_gt(self._newest, hole):
            self._hole = None
            return False
        if self._hole is None or self._hole[0] != hole:
            self._hole = hole, now_s
        return now_s - self._hole[1] > GIVE_UP_S

    def _first_missing(self) -> int:
        assert self._origin is not None
        for count in range(self.capacity):
            number = uint16_add(self._origin, count)
            if self._packets[number % self.capacity] is None:
                return number
        return uint16_add(self._origin, self.capacity)

    def _skip_hole(self) -> None:
        """Go on with the first frame behind it whose first packet is known as such."""
        assert self._origin is not None
        assert self._newest is not None
        end = uint16_add(self._newest, 1)
        number, before = self._first_missing(), None
        while number != end:
            packet = self._packets[number % self.capacity]
            if (
                packet is not None
                and before is not None
                and (before.marker or before.timestamp != packet.timestamp)
            ):
                break
            number, before = uint16_add(number, 1), packet
        self.remove(uint16_add(number, -self._origin))

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        assert self._origin is not None
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                return None
            if packets and packet.timestamp != packets[0].timestamp:
                break  # the marker was missing: the next frame's packet ends this one
            packets.append(packet)
            if packet.marker:
                break
        else:
            return None
        self.remove(len(packets))
        data = b"".join(getattr(packet, "_data") for packet in packets)  # noqa: B009  set by the receiver
        return JitterFrame(data=data, timestamp=packets[0].timestamp)
