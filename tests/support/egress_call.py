"""A call and a studio recording, as a presenter makes them, with a server that this starts and stops.

usage: python egress_call.py AVATAR FILM SECONDS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.live.server_link import at, bearer
from benchmarks.live.server_process import Serving, server_process
from tests.support.studio_stage import CONSENT, WEBM

ANSWER_LIMIT_S = 30


async def call(link: str, film: Path, seconds: float) -> None:
    """Until the avatar came back for that long; the film is then kept as a recording."""
    pictures, footage = DriverPictures(film, 320, 240), await asyncio.to_thread(film.read_bytes)
    came = asyncio.Event()
    peer = AiortcPeer(link, StampedCamera(pictures.at, 15), on_picture=lambda _: came.set())
    try:
        await peer.connect()
        await asyncio.wait_for(came.wait(), ANSWER_LIMIT_S)
        await asyncio.sleep(seconds)
        async with aiohttp.ClientSession(headers=bearer(link), raise_for_status=True) as http:
            wanted = {"session": peer.session["id"], "kind": "video/webm", **CONSENT}
            recordings = at(link, "/api/studio/recordings")
            async with http.post(recordings, json=wanted) as reply:
                recording = f"{recordings}/{(await reply.json())['id']}"
            await http.put(f"{recording}/0", data=footage, headers=WEBM)
            await http.post(f"{recording}/finish", json={})
    finally:
        await peer.close()


def main() -> None:
    avatar, film, seconds = sys.argv[1:]
    with server_process(Serving(avatar=avatar)) as (_, facts):
        asyncio.run(call(str(facts["link"]), Path(film), float(seconds)))


if __name__ == "__main__":
    main()
