"""A whole call in one process: one peer plays a clip, the other sends back the avatar that follows it.

    python -m stream.example_call --driver clip.mp4 --out avatar.mp4

What a bot in somebody else's aiortc application does is in `answer`. The clip starts with the call, while the
models still load: the recording begins with the avatar's first picture. No packet leaves this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from fractions import Fraction
from pathlib import Path

import av
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.commands.options import add_avatar, add_runner
from engine.errors import AvatarcastError, VideoError
from engine.media.disclosure import COMMENT, SOURCE_TYPE
from engine.media.video import VideoWriter, probe
from engine.pipeline import PipelineConfig
from stream.avatar_track import AvatarTrack
from stream.media.played_film import play_film
from stream.media.tracks import rgb_from_frame
from stream.webrtc.aiortc_tuning import gather_on_loopback


def answer(connection: RTCPeerConnection, avatar: Avatar, config: PipelineConfig) -> list[AvatarTrack]:
    """Makes the peer send the avatar back for the video that it receives; the list fills as tracks come."""
    tracks: list[AvatarTrack] = []

    @connection.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        if track.kind == "video":
            tracks.append(AvatarTrack(track, avatar, config))
            connection.addTrack(tracks[-1])

    return tracks


class FilmTrack(MediaStreamTrack):
    """A film at its own pace, its pictures as a player shows them."""

    kind = "video"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._frames = play_film(path)

    async def recv(self) -> av.VideoFrame:
        """The next frame, when it is due. Raises MediaStreamError at the end."""
        frame = await asyncio.to_thread(next, self._frames, None)
        if frame is None:
            self.stop()
            raise MediaStreamError
        return frame


async def call(driver: Path, out: Path, avatar: Avatar, config: PipelineConfig) -> int:
    """Plays `driver` to the end of the call and records the avatar to `out`; the number of its frames."""
    gather_on_loopback()
    local = RTCConfiguration(iceServers=[])
    presenter, bot = RTCPeerConnection(local), RTCPeerConnection(local)
    clip = FilmTrack(driver)
    ended = asyncio.Event()
    clip.on("ended", ended.set)
    played = asyncio.create_task(ended.wait())
    tracks = answer(bot, avatar, config)
    try:
        receiver = presenter.addTransceiver(clip, "sendrecv").receiver
        await presenter.setLocalDescription(await presenter.createOffer())
        await bot.setRemoteDescription(presenter.localDescription)
        await bot.setLocalDescription(await bot.createAnswer())
        await presenter.setRemoteDescription(bot.localDescription)
        recording = asyncio.create_task(record(receiver.track, out, avatar.size))
        await asyncio.wait({recording, played}, return_when="FIRST_COMPLETED")
    finally:
        clip.stop()
        played.cancel()
        for track in tracks:
            await track.close()
        await presenter.close()  # ends what it receives, and with it the recording
        await bot.close()
    return await recording


async def record(track: MediaStreamTrack, out: Path, size: int) -> int:
    """Writes what comes until the track ends; the number of frames. Raises VideoError when none came."""
    begun_s: float | None = None
    count = 0
    with VideoWriter(
        out, size, size, Fraction(30), variable=True, comment=COMMENT, source_type=SOURCE_TYPE
    ) as writer:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                if count == 0:
                    raise VideoError(
                        f"{out}: the clip was over before the avatar's first picture; give a longer one"
                    ) from None
                return count
            assert isinstance(frame, av.VideoFrame)
            begun_s = frame.time if begun_s is None else begun_s
            since_s = (frame.time or 0.0) - (begun_s or 0.0)
            await asyncio.to_thread(writer.write, rgb_from_frame(frame), since_s)
            count += 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--driver", required=True, type=Path, help="the video that the avatar follows")
    parser.add_argument("--out", required=True, type=Path, help="the video to write")
    add_avatar(parser)
    add_runner(parser)
    args = parser.parse_args()
    try:
        probe(args.driver)
        avatar = load_avatar(args.avatar)
        frames = asyncio.run(call(args.driver, args.out, avatar, PipelineConfig(runner=args.runner)))
    except AvatarcastError as error:
        print(f"stream.example_call: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {frames} frames of {avatar.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
