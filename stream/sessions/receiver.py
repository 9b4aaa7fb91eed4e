"""Whoever receives a session's pictures and voice: viewers over WHEP, and the presenter's own page.

Each has its own connection, encoder and place on the ladder of rates and sizes, so that none is held up by
another; viewers use the encoder only while they share none (stream.media.lanes). One that no longer answers
is fed nothing, and is let go after a while.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.media.stepping import Load, Rendering, Stepper
from stream.media.tracks import PictureTrack
from stream.media.voice import Voice, VoiceTrack
from stream.sessions.tokens import OPERATOR, Grant
from stream.webrtc.peer import Link, Peer

QUIET_S = 5.0  # without a packet from the receiver, which reports every second or so: it has stopped reading
_RATE_OVER_S = 2.0
_S = 1_000_000_000  # in ns


@dataclass
class Receiver:
    """One receiver. Event loop only."""

    peer: Peer
    pictures: PictureTrack
    since_ns: int  # when it was made
    grant: Grant = OPERATOR  # by which it came
    voice: VoiceTrack | None = None
    link: Link = field(default_factory=Link)
    unsent: bool = False  # aiortc has given up sending pictures though the connection is up
    _stepper: Stepper = field(init=False)
    _ended: bool = False  # at the last look the pictures' track had
    _heard_ns: int | None = None  # when the last packet of the receiver was seen
    _sent: tuple[int, int] = (0, 0)  # (time ns, bytes) at the start of the rate's window
    _sent_bps: float = 0.0

    def __post_init__(self) -> None:
        self._stepper = Stepper(self.since_ns)

    def take_voice(self, voice: Voice) -> None:
        """Send the voice too, where it was asked for. Between the peer's accept() and answer()."""
        if self.peer.has_audio:
            self.voice = voice.track()
            self.peer.add_voice(self.voice)

    async def hang_up(self, voice: Voice) -> None:
        """Release everything of this receiver."""
        if self.voice is not None:
            voice.drop(self.voice)
            self.voice = None
        await self.peer.close()

    def waits_s(self, now_ns: int) -> float:
        """Since the start, where its connection does not stand yet; 0 where it does."""
        return 0.0 if self.peer.connected or self._heard_ns is not None else (now_ns - self.since_ns) / _S

    def silent_s(self, now_ns: int) -> float:
        """Since the receiver's last packet, or since the start where none has come."""
        return (now_ns - (self.since_ns if self._heard_ns is None else self._heard_ns)) / _S

    async def tend(self, rendering: Rendering, now_ns: int) -> None:
        """Look at the link: step rate and size, and stop feeding a receiver that has stopped reading."""
        link = await self.peer.link()
        ended = self.pictures.readyState != "live" and self.peer.connected
        self.unsent, self._ended = ended and self._ended, ended  # at two looks: a hang-up has its own reason
        if link.packets_in != self.link.packets_in:
            self._heard_ns = now_ns
        self.link = link
        self.pictures.paused = self.silent_s(now_ns) > QUIET_S
        if now_ns - self._sent[0] > _RATE_OVER_S * _S:
            elapsed_s = (now_ns - self._sent[0]) / _S
            self._sent_bps = 8 * (link.sent_bytes - self._sent[1]) / elapsed_s
            self._sent = (now_ns, link.sent_bytes)
        if not self.pictures.paused:
            self.pictures.level = self._stepper.update(self._load(rendering, link), now_ns)

    def _load(self, rendering: Rendering, link: Link) -> Load:
        return Load(
            rendering=rendering,
            encode_ms=link.encode_ms or 0.0,
            sent_bps=self._sent_bps,
            link_bps=link.estimate_bps,
            lost=link.lost,
        )
