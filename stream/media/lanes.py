"""Pictures that are encoded once for many receivers.

A lane encodes each picture once and hands the packets to all who ride in it; receivers of one codec and one
level share a lane. Each also has an encoder of its own, as receivers without lanes do, and uses it

* until the lane's next key frame, so that whoever joins, or has lost packets, sees the next picture at once;
* as long as its link takes less than the lane sends, so that it holds nobody back.

What forces a key frame on all of a lane's riders is therefore bounded, whoever comes and asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError

from engine.arrays import I420
from stream import tasks
from stream.media.encoders import RenderedEncoder, bitrates
from stream.media.stepping import Level
from stream.media.tracks import RESEND_AFTER_S, Picture, PictureTrack

KEY_FRAMES_EVERY_S = 2.0  # of a lane, at most
ALONE_S = 10.0  # a receiver too slow for its lane, or losing packets again, has its own encoder for so long
_MOST_WAITING = 30  # packets that a receiver has not taken: one second
_OVER_LINK = 1.2  # sent over what the link takes: too slow; as in stream.media.stepping
_RATE_OVER_S = 2.0


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded picture, and what Picture says of it."""

    data: bytes
    is_key: bool
    ticks: int
    captured_ns: int | None


class _Feed:
    """The newest picture to encode, or all coded ones in their order. Event loop only."""

    def __init__(self) -> None:
        self._waiting: deque[Picture | Coded] = deque()
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Picture | Coded) -> None:
        """Leave it."""
        self._waiting.append(item)
        self._ready.set()

    def clear(self) -> None:
        """Forget what was not taken."""
        self._waiting.clear()
        self._ready.clear()

    async def get(self) -> Picture | Coded:
        """The next, once there is one."""
        while not self._waiting:  # what woke us may have been cleared before we run
            await self._ready.wait()
        item = self._waiting.popleft()
        if not self._waiting:
            self._ready.clear()
        return item


class SharedTrack(PictureTrack):
    """A PictureTrack whose receiver may ride in a lane: then it gives packets, which need no encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.lane: Lane | None = None  # where it rides
        self.joins: Lane | None = None  # where it will, from the next key frame on
        self.alone_until_s = 0.0  # by the event loop's clock: joins no lane before
        self._lost_s = -ALONE_S  # when it had to start anew
        self._feed = _Feed()
        self._held: Picture | None = None  # the newest, for the encoder of its own

    def push(self, i420: I420, ticks: int, captured_ns: int | None = None) -> None:
        """See PictureTrack.push; while it rides the picture comes to nothing but what may be needed later."""
        self._held = i420, ticks, captured_ns
        if self.lane is None and not self.paused and self._gate.passes(ticks, self.level.fps):
            self._feed.clear()
            self._feed.put(self._held)

    def take(self, coded: Coded, lane: Lane) -> None:
        """A picture of a lane that it rides in, or joins."""
        if self.joins is lane and coded.is_key:
            self._feed.clear()
            self.lane, self.joins = lane, None
        if self.lane is lane:
            if len(self._feed) < _MOST_WAITING:
                self._feed.put(coded)
            else:
                self.start_anew()

    def start_anew(self) -> None:
        """What was sent does not make a picture: the next is a whole one of its own, then the lane's next."""
        if self.lane is None:
            return
        lane, now_s = self.joins or self.lane, asyncio.get_running_loop().time()
        again, self._lost_s = now_s - self._lost_s < ALONE_S, now_s
        self.get_off()
        if again:
            self.alone_until_s = now_s + ALONE_S
        else:
            self.join(lane)

    def join(self, lane: Lane) -> None:
        """Ride there from the next key frame on."""
        self.joins = lane
        lane.ask_key_frame()

    def get_off(self) -> None:
        """Use the encoder of its own."""
        riding, self.lane, self.joins = self.lane, None, None
        if riding is not None:
            self._feed.clear()
            if self._held is not None:
                self._last = self._held[0]  # what is sent again, where nothing comes
                if not self.paused:
                    self._feed.put(self._held)

    async def recv(self) -> Any:
        """The next frame for the encoder of its own, or packet of the lane."""
        while self.readyState == "live":
            item: Picture | Coded | None
            try:
                item = await asyncio.wait_for(self._feed.get(), RESEND_AFTER_S)
            except asyncio.TimeoutError:
                item = self._again() if self.lane is None else None
            if isinstance(item, Coded):
                packet = av.Packet(item.data)
                packet.pts, packet.time_base = self._stamped(item.ticks, item.captured_ns), VIDEO_TIME_BASE
                return packet
            if item is not None:
                return self._framed(*item)
        raise MediaStreamError


class Lane:
    """One encoder and all who take its packets. Event loop only; ends with close()."""

    def __init__(self, encoder: RenderedEncoder, level: Level, tell: tasks.Tell) -> None:
        """tell: hears where it cannot go on."""
        self.encoder = encoder
        self.source = PictureTrack()
        self.source.level = level
        self.members: set[SharedTrack] = set()  # who rides in it, or joins
        self.sent_bps = 0.0  # in the last seconds
        self._key_frame_wanted = False
        self._key_frame_s = -KEY_FRAMES_EVERY_S
        self._since = (asyncio.get_running_loop().time(), 0)  # when the rate's window began, bytes until then
        self._encoding = tasks.start(self._encode(), "lane", tell)

    def ask_key_frame(self) -> None:
        """As soon as one may be sent."""
        self._key_frame_wanted = True

    def set_rate(self, estimates_bps: list[int]) -> None:
        """Aim at what three quarters of the riders take, by their links' estimates.

        Never at less than a receiver gets whose link is not known: slower ones have encoders of their own.
        """
        now_s, sent_bytes = asyncio.get_running_loop().time(), self.encoder.effort.sent_bytes
        if now_s - self._since[0] >= _RATE_OVER_S:
            self.sent_bps = 8 * (sent_bytes - self._since[1]) / (now_s - self._since[0])
            self._since = now_s, sent_bytes
        if estimates_bps and sent_bytes:
            usual_bps = sorted(estimates_bps)[len(estimates_bps) // 4]
            self.encoder.target_bitrate = max(usual_bps, bitrates(*self.encoder.effort.size_px).start)

    @property
    def needs_bps(self) -> float:
        """What a link must take. Of an easy picture less is sent than is aimed at; a key frame is a burst."""
        return min(self.sent_bps, self.encoder.target_bitrate)

    async def close(self) -> None:
        """Let go of everybody."""
        self._encoding.cancel()
        self.source.stop()
        for member in self.members:
            if self in (member.lane, member.joins):
                member.get_off()
        self.members.clear()
        await asyncio.gather(self._encoding, return_exceptions=True)

    async def _encode(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await self.source.recv()
            captured_ns, ticks = self.source.captured_ns, frame.pts
            assert ticks is not None
            due = self._key_frame_wanted and loop.time() - self._key_frame_s >= KEY_FRAMES_EVERY_S
            data, is_key = await loop.run_in_executor(None, self.encoder.code, frame, due)
            if is_key:
                self._key_frame_wanted, self._key_frame_s = False, loop.time()
            if not data:  # the encoder left it out
                continue
            coded = Coded(data, is_key, ticks, captured_ns)
            for member in self.members:
                member.take(coded, self)


@dataclass
class Seat:
    """What decides where a receiver sits."""

    track: SharedTrack
    encoder: RenderedEncoder  # its own
    estimate_bps: int | None  # what its link takes, None: not known
    ready: bool  # connected, and reading


_Kind = tuple[type[RenderedEncoder], Level]


class Lanes:
    """The lanes of one audience. Event loop only."""

    def __init__(self) -> None:
        self._lanes: dict[_Kind, Lane] = {}
        self._broken: set[_Kind] = set()  # whose encoder failed: not tried again

    def push(self, picture: Picture) -> None:
        """The newest picture, for all lanes."""
        for lane in self._lanes.values():
            lane.source.push(*picture)

    async def seat(self, seats: list[Seat]) -> None:
        """Who rides where from now on; to be called twice a second, with everybody."""
        now_s = asyncio.get_running_loop().time()
        members: dict[_Kind, list[Seat]] = {}
        for seat in seats:
            kind = type(seat.encoder), seat.track.level
            if seat.ready and kind not in self._broken and self._fits(seat, self._lanes.get(kind), now_s):
                members.setdefault(kind, []).append(seat)
            else:
                seat.track.get_off()
        for kind, seated in members.items():
            if kind not in self._lanes:
                self._lanes[kind] = Lane(seated[0].encoder.another(), kind[1], self._given_up(kind))
            lane = self._lanes[kind]
            for seat in seated:
                if lane not in (seat.track.lane, seat.track.joins):
                    seat.track.join(lane)
            lane.set_rate([seat.estimate_bps for seat in seated if seat.estimate_bps is not None])
        for kind, lane in list(self._lanes.items()):
            lane.members = {seat.track for seat in seats if lane in (seat.track.lane, seat.track.joins)}
            if not lane.members or kind in self._broken:
                del self._lanes[kind]
                await lane.close()

    async def close(self) -> None:
        """Everybody has an encoder of their own again."""
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close() for lane in lanes))

    def _fits(self, seat: Seat, lane: Lane | None, now_s: float) -> bool:
        track = seat.track
        if now_s < track.alone_until_s:
            return False
        if lane is None or seat.estimate_bps is None:
            return True
        if track.lane is not lane:
            return seat.estimate_bps >= lane.needs_bps
        if too_slow := lane.needs_bps > _OVER_LINK * seat.estimate_bps:
            track.alone_until_s = now_s + ALONE_S
        return not too_slow

    def _given_up(self, kind: _Kind) -> Callable[[str], None]:
        def give_up(_: str) -> None:
            self._broken.add(kind)

        return give_up
