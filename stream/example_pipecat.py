"""A face for a Pipecat pipeline: put `AvatarFace` where an output transport would stand.

    python -m pip install pipecat-ai          # not part of any extra of avatarcast
    Pipeline([..., speech_to_text, aggregator.user(), language_model, text_to_speech, AvatarFace(url, token)])

Whatever audio the pipeline makes is said by the avatar, which people watch by WHEP; it listens to audio that
comes in. Its events come back upstream as Pipecat's own frames: when the other one begins and has spoken (as
proposals, for the external turn strategies), when the avatar begins and has said all, and interruptions.
Tried with Pipecat 1.14.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    AudioRawFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

OWN, OTHER = b"\x00", b"\x01"
RATE_HZ = 16_000


class AvatarFace(FrameProcessor):  # type: ignore[misc]
    """One session, from the pipeline's start to its end."""

    def __init__(self, url: str, token: str = "", name: str | None = None, avatar: str | None = None) -> None:
        """url: of the server; name: under which people watch."""
        super().__init__()
        self.session: dict[str, Any] = {}  # as the server tells of it first
        self._url = f"{url}/api/agent"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._wanted = {key: value for key, value in (("name", name), ("avatar", avatar)) if value}
        self._resamplers = {whose: create_stream_resampler() for whose in (OWN, OTHER)}
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._said = asyncio.Event()  # nothing is left to say
        self._said.set()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Audio goes to the avatar; everything else goes on as well."""
        await super().process_frame(frame, direction)
        match frame:
            case StartFrame():
                await self._connect()
            case InputAudioRawFrame():
                await self._send(OTHER, frame)
            case OutputAudioRawFrame():
                self._said.clear()
                await self._send(OWN, frame)
                return
            case InterruptionFrame():
                await self._tell(type="interrupt")
            case TranscriptionFrame():
                await self._tell(type="turn", who="other", text=frame.text)
            case EndFrame():
                await self._said.wait()
                await self._leave()
            case CancelFrame():
                await self._leave()
        await self.push_frame(frame, direction)

    async def _connect(self) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._url, headers=self._headers, params=self._wanted)
        self.session = json.loads((await self._socket.receive()).data)
        self._hearing = asyncio.create_task(self._hear(self._socket))

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        up = FrameDirection.UPSTREAM
        async for message in socket:
            match json.loads(message.data):
                case {"type": "state", "state": "listens"}:
                    await self.push_frame(ProposedUserStartedSpeakingFrame(), up)
                case {"type": "state", "state": "speaks"}:
                    await self.push_frame(BotStartedSpeakingFrame(), up)
                case {"type": "other_spoke"}:
                    await self.push_frame(ProposedUserStoppedSpeakingFrame(), up)
                case {"type": "said"}:
                    self._said.set()
                    await self.push_frame(BotStoppedSpeakingFrame(), up)
                case {"type": "interrupted", "by": "other"}:
                    await self.broadcast_interruption()
                case {"type": "refused", "error": str(error)}:
                    await self.push_error(error)
        self._said.set()

    async def _send(self, whose: bytes, frame: AudioRawFrame) -> None:
        sound = await self._resamplers[whose].resample(frame.audio, frame.sample_rate, RATE_HZ)
        if self._socket is not None and sound:
            await self._socket.send_bytes(whose + sound)

    async def _tell(self, **message: Any) -> None:
        if self._socket is not None:
            await self._socket.send_str(json.dumps(message))

    async def _leave(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._hearing is not None:
            await asyncio.gather(self._hearing, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        self._socket = self._hearing = self._http = None
