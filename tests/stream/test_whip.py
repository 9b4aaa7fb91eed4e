"""WHIP in and WHEP out, by real aiortc peers that know nothing of this server but the two standards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import StampedCamera
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import WATCH_PERIOD_S, SessionLimits
from stream.webrtc.ice_servers import IceServers
from tests.support.places import DATA
from tests.support.waiting import WAIT_S, until

FRAGMENT = {"Content_Type": "application/trickle-ice-sdpfrag"}
OTHER_ICE = "a=ice-ufrag:another1\r\na=ice-pwd:0123456789012345678901\r\n"


@dataclass
class Reply:
    """What a request came back with."""

    status: int
    text: str
    headers: Any  # of any case, some more than once


@dataclass
class Client:
    """One HTTP client of one server."""

    http: aiohttp.ClientSession
    url: str
    registry: SessionRegistry

    async def __call__(self, method: str, path: str, data: str = "", **headers: str) -> Reply:
        """headers: with _ for -."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, data=data, headers=fields) as reply:
            return Reply(reply.status, await reply.text(), reply.headers)

    async def offer(self, path: str, sdp: str, **headers: str) -> Reply:
        """POST of an offer."""
        return await self("POST", path, sdp, Content_Type="application/sdp", **headers)


@asynccontextmanager
async def serving(
    access: Access | None = None, config: RegistryConfig | None = None
) -> AsyncIterator[Client]:
    registry = SessionRegistry(Avatars([echo_avatar(), echo_avatar(name="second")]), config)
    server = TestServer(LiveServer(registry, access or Access(burst=1e5)).app())
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as http:
            yield Client(http, f"http://127.0.0.1:{server.port}", registry)
    finally:
        await server.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as made:
        yield made


def camera() -> StampedCamera:
    planes = np.full((360, 320), 128, np.uint8)
    planes[:240] = np.linspace(0, 255, 320).astype(np.uint8)  # a ramp from black to white
    return StampedCamera(lambda _: planes, fps=20.0)


@asynccontextmanager
async def connection(
    *tracks: MediaStreamTrack, receive: tuple[str, ...] = ()
) -> AsyncIterator[RTCPeerConnection]:
    """A peer with its offer made: it sends these tracks, and receives these kinds."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for track in tracks:
        peer.addTransceiver(track, "sendonly")
    for kind in receive:
        peer.addTransceiver(kind, "recvonly")
    await peer.setLocalDescription()
    try:
        yield peer
    finally:
        await peer.close()


async def answered(peer: RTCPeerConnection, reply: Reply) -> None:
    assert reply.status == 201, reply.text
    assert reply.headers["Content-Type"] == "application/sdp"  # clients compare it as it is
    await peer.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))


async def pictures(peer: RTCPeerConnection, count: int) -> list[av.VideoFrame]:
    track = next(one.receiver.track for one in peer.getTransceivers() if one.kind == "video")
    frames = [await asyncio.wait_for(track.recv(), WAIT_S) for _ in range(count)]
    return [frame for frame in frames if isinstance(frame, av.VideoFrame)]


def alternate(reply: Reply) -> str:
    links = [re.match(r'<([^>]+)>; rel="alternate"', link) for link in reply.headers.getall("Link")]
    return next(link[1] for link in links if link is not None)


async def test_a_camera_in_by_whip_and_its_avatar_out_by_whep(client: Client) -> None:
    async with (
        connection(camera(), AudioStreamTrack()) as publisher,
        connection(receive=("video", "audio")) as viewer,
    ):
        published = await client.offer("/whip", publisher.localDescription.sdp)
        await answered(publisher, published)
        assert "a=recvonly" in published.text
        assert "a=sendrecv" not in published.text
        assert re.fullmatch(r"/whip/[\w-]{16,}", published.headers["Location"])
        assert re.fullmatch(r'"[^"]+"', published.headers["ETag"])
        watched = await client.offer(alternate(published), viewer.localDescription.sdp)
        await answered(viewer, watched)
        assert watched.headers["Location"].startswith(alternate(published) + "/")
        frames = await pictures(viewer, 10)
        luma = frames[-1].to_ndarray(format="gray")
        assert luma.shape == (256, 256)
        assert luma[:, :32].mean() < luma[:, -32:].mean() - 100  # the ramp
        sound = next(one.receiver.track for one in viewer.getTransceivers() if one.kind == "audio")
        assert isinstance(await asyncio.wait_for(sound.recv(), WAIT_S), av.AudioFrame)

        assert (await client("DELETE", watched.headers["Location"])).status == 200
        assert (await client("DELETE", watched.headers["Location"])).status == 404
        assert len(client.registry) == 1  # the publisher does not notice
        assert (await client("DELETE", published.headers["Location"])).status == 200
        assert (await client("DELETE", published.headers["Location"])).status == 404
        assert not len(client.registry)


async def test_a_client_that_is_no_browser(client: Client) -> None:
    """GStreamer offers one section and no group, and its DTLS can only be the client's end of ours."""
    offer = (DATA / "offers/gstreamer.sdp").read_text().replace("\n", "\r\n")
    published = await client.offer("/whip", offer)
    assert published.status == 201
    assert "a=setup:passive" in published.text


async def test_a_view_by_its_name_and_an_avatar_by_its_own(client: Client) -> None:
    async with connection(camera()) as publisher, connection(receive=("video",)) as viewer:
        published = await client.offer("/whip?avatar=second&name=studio-1", publisher.localDescription.sdp)
        await answered(publisher, published)
        assert [session.performer.avatar.name for session in client.registry] == ["second"]
        await answered(viewer, await client.offer("/whep/studio-1", viewer.localDescription.sdp))
        assert await pictures(viewer, 2)


async def test_addresses_as_people_type_them(client: Client) -> None:
    """A slash at the end, capitals and underscores in the name."""
    async with connection(camera()) as publisher, connection(receive=("video",)) as viewer:
        published = await client.offer("/whip/?name=My_Studio", publisher.localDescription.sdp)
        await answered(publisher, published)
        await until(lambda: client.registry.by_view("My_Studio").has_place)
        watched = await client.offer("/whep/My_Studio/", viewer.localDescription.sdp)
        await answered(viewer, watched)
        assert await pictures(viewer, 2)
        assert (await client("OPTIONS", "/whip/")).headers["Accept-Post"] == "application/sdp"
        for where in (watched, published):
            assert (await client("DELETE", where.headers["Location"] + "/")).status == 200


async def test_a_name_is_nobody_elses_view(client: Client) -> None:
    async with connection(camera()) as publisher:
        sdp = publisher.localDescription.sdp
        await answered(publisher, await client.offer("/whip", sdp))
        (session,) = client.registry
        assert (await client.offer(f"/whip?name={session.view_id}", sdp)).status == 409


async def test_a_publisher_that_was_cut_off_comes_back() -> None:
    """OBS connects anew: by the token for its name it takes its session up again, and the viewers stay."""
    operator = {"Authorization": "Bearer the-operators-own-token"}
    async with (
        serving(Access(token="the-operators-own-token", burst=1e5)) as client,
        connection(camera()) as before,
        connection(receive=("video",)) as viewer,
    ):
        wanted = {"rights": ["present"], "scope": "studio"}
        async with client.http.post(f"{client.url}/api/tokens", json=wanted, headers=operator) as made:
            publisher = {"Authorization": f"Bearer {(await made.json())['token']}"}
        first = await client.offer("/whip?name=studio", before.localDescription.sdp, **publisher)
        await answered(before, first)
        watched = await client.offer("/whep/studio", viewer.localDescription.sdp, **operator)
        await answered(viewer, watched)
        assert await pictures(viewer, 2)
        await before.close()
        async with connection(camera()) as after:
            for _ in range(int(WAIT_S / 0.05)):  # until the loss is noticed
                sdp = after.localDescription.sdp
                stranger = await client.offer("/whip?name=studio", sdp, **operator)  # knows the name only
                assert stranger.status == 409
                again = await client.offer("/whip?name=studio", sdp, **publisher)
                if again.status != 409:
                    break
                await asyncio.sleep(0.05)
            await answered(after, again)
            assert again.headers["Location"] == first.headers["Location"]
            assert again.headers["ETag"] != first.headers["ETag"]
            assert len(client.registry) == 1
            assert len(await pictures(viewer, 40)) == 40  # more than were under way


async def test_a_publisher_that_died_comes_back_under_its_name(client: Client) -> None:
    """It was killed and said nothing; it has no secret, and nobody is asked for a token here."""
    async with connection(camera()) as before, connection(camera()) as after:
        first = await client.offer("/whip?name=studio", before.localDescription.sdp)
        await answered(before, first)
        await until(lambda: client.registry.by_view("studio").has_place)
        alive = await client.offer("/whip?name=studio", after.localDescription.sdp)
        assert alive.status == 409
        ice = before.getTransceivers()[0].receiver.transport.transport._connection
        for protocol in ice._protocols:
            protocol.transport.abort()
        again = alive
        for _ in range(int(WAIT_S / 0.05)):
            again = await client.offer("/whip?name=studio", after.localDescription.sdp)
            if again.status != 409:
                break
            await asyncio.sleep(0.05)
        await answered(after, again)
        assert again.headers["Location"] == first.headers["Location"]
        (session,) = client.registry
        received = session.metrics.received
        await until(lambda: session.metrics.received > received + 5)


async def test_the_place_of_a_publisher_that_died_is_free_again() -> None:
    config = RegistryConfig(max_sessions=1, limits=SessionLimits(silent_presenter_s=1.0))
    assert SessionLimits().silent_presenter_s + 2 * WATCH_PERIOD_S < 10
    async with serving(config=config) as client, connection(camera()) as dead, connection(camera()) as other:
        await answered(dead, await client.offer("/whip?name=one", dead.localDescription.sdp))
        await until(lambda: client.registry.by_view("one").has_place)
        assert (await client.offer("/whip?name=two", other.localDescription.sdp)).status == 503
        for protocol in dead.getTransceivers()[0].receiver.transport.transport._connection._protocols:
            protocol.transport.abort()
        await until(lambda: client.registry.by_view("one").presenter.lost_ns)
        await answered(other, await client.offer("/whip?name=two", other.localDescription.sdp))
        await until(lambda: client.registry.by_view("two").has_place)


async def test_candidates_may_come_later(client: Client) -> None:
    """RFC 9725 section 4.3.2: an offer without candidates; they follow, for this ICE session only."""
    async with connection(camera()) as publisher:
        sdp = publisher.localDescription.sdp
        lines = sdp.splitlines()
        bare = "\r\n".join(line for line in lines if "candidate" not in line) + "\r\n"
        published = await client.offer("/whip", bare)
        await answered(publisher, published)
        where, tag = published.headers["Location"], published.headers["ETag"]
        wanted = ("a=group", "m=", "a=mid", "a=ice-ufrag", "a=ice-pwd", "a=candidate", "a=end-of")
        fragment = "\r\n".join(line for line in lines if line.startswith(wanted)) + "\r\n"
        for status, condition in ((428, {}), (412, {"If_Match": '"other"'}), (412, {"If_Match": f"W/{tag}"})):
            assert (await client("PATCH", where, fragment, **FRAGMENT, **condition)).status == status
        late = await client("PATCH", where, fragment, If_Match=f'"other", {tag}', **FRAGMENT)
        assert late.status == 204
        assert "ETag" not in late.headers
        await connected(publisher)


async def connected(peer: RTCPeerConnection) -> None:
    changed = asyncio.Event()
    peer.on("connectionstatechange", changed.set)
    while peer.connectionState != "connected":
        await asyncio.wait_for(changed.wait(), WAIT_S)
        changed.clear()


async def test_other_credentials_ask_for_an_ice_restart(client: Client) -> None:
    """RFC 9725 section 4.3.3: a new entity tag and new credentials of ours; the old tag is done with."""
    async with connection(camera()) as publisher:
        published = await client.offer("/whip", publisher.localDescription.sdp)
        where, tag = published.headers["Location"], published.headers["ETag"]
        early = await client("PATCH", where, OTHER_ICE, If_Match="*", **FRAGMENT)
        assert early.status == 422  # nothing to restart yet; and the session goes on
        await answered(publisher, published)
        await connected(publisher)
        restarted = await client("PATCH", where, OTHER_ICE, If_Match='"*"', **FRAGMENT)
        assert restarted.status == 200, restarted.text
        assert restarted.headers["Content-Type"] == FRAGMENT["Content_Type"]
        assert restarted.headers["ETag"] not in (tag, "")
        ours = re.search(r"a=ice-ufrag:(\S+)", restarted.text)
        assert ours is not None
        assert f"a=ice-ufrag:{ours[1]}" not in published.text
        assert "a=candidate:" in restarted.text
        assert (await client("PATCH", where, OTHER_ICE, If_Match=tag, **FRAGMENT)).status == 412
        assert publisher.connectionState == "connected"  # the old path carries on until a new one does


async def test_patches_that_are_none(client: Client) -> None:
    async with connection(camera()) as publisher:
        published = await client.offer("/whip", publisher.localDescription.sdp)
        where, tag = published.headers["Location"], published.headers["ETag"]
        cases = {
            415: ("v=0", {"Content_Type": "application/sdp"}),
            400: ("a=ice-ufrag:?\r\na=ice-pwd:x\r\n", FRAGMENT),
            413: ("a=x\r\n" * 50_000, FRAGMENT),
        }
        for status, (body, headers) in cases.items():
            assert (await client("PATCH", where, body, If_Match=tag, **headers)).status == status
        bad = "a=mid:0\r\na=candidate:1 1 udp\r\n"
        assert (await client("PATCH", where, bad, If_Match=tag, **FRAGMENT)).status == 400
        assert (await client("PATCH", "/whip/none", "", If_Match=tag, **FRAGMENT)).status == 404
        assert (await client("PATCH", "/whep/none/none", "", If_Match=tag, **FRAGMENT)).status == 404
        assert len(client.registry) == 1  # RFC 9725: the session is not ended by them


async def test_offers_that_are_refused(client: Client) -> None:
    async with connection(camera()) as publisher, connection(receive=("video",)) as viewer:
        sends, takes = publisher.localDescription.sdp, viewer.localDescription.sdp
        for path, sdp, status, words in (
            ("/whip", "", 400, "no video to send"),
            ("/whip", "nonsense", 400, ""),
            ("/whip", takes, 400, "no video to send"),
            ("/whip?avatar=none", sends, 404, "there are: echo, second"),
            ("/whip?avatar=../../etc/passwd", sends, 404, "no avatar"),
            ("/whip?name=my%20studio", sends, 400, "letters A-Z"),
            ("/whip?name=" + 41 * "x", sends, 400, "letters A-Z"),
            ("/whep/none", takes, 404, "nothing to watch"),
        ):
            reply = await client.offer(path, sdp)
            assert (reply.status, words in reply.text) == (status, True), (path, reply.text)
        published = await client.offer("/whip?name=studio", sends)
        assert published.status == 201
        assert (await client.offer("/whip?name=studio", sends)).status == 201  # nobody has it yet
        await publisher.setRemoteDescription(RTCSessionDescription(published.text, "answer"))
        await until(lambda: client.registry.by_view("studio").has_place)
        assert (await client.offer("/whip?name=studio", sends)).status == 409
        for sdp in (sends, "", "nonsense"):
            assert (await client.offer("/whep/studio", sdp)).status == 400
        for path in ("/whip", "/whep/studio"):
            assert (await client("POST", path, sends, Content_Type="application/json")).status == 415
            put = await client("PUT", path, sends, Content_Type="application/sdp")
            assert put.status == 405
            assert "POST" in put.headers["Allow"]
        async with connection(camera()) as other:
            second = await client.offer("/whip", other.localDescription.sdp)
            await other.setRemoteDescription(RTCSessionDescription(second.text, "answer"))
            await until(lambda: sum(session.has_place for session in client.registry) == 2)
            full = await client.offer("/whip", sends)
            assert full.status == 503
            assert int(full.headers["Retry-After"]) > 0


async def test_nothing_to_see_and_what_is_taken(client: Client) -> None:
    for path in ("/whip", "/whip/none", "/whep/none", "/whep/none/none"):
        assert (await client("GET", path)).status == 204
    for path in ("/whip", "/whep/none"):
        options = await client("OPTIONS", path)
        assert (options.status, options.headers["Accept-Post"]) == (200, "application/sdp")
        assert "Access-Control-Allow-Origin" not in options.headers  # no token, so no other sites
    assert (await client("OPTIONS", "/whip/none")).headers["Accept-Patch"] == FRAGMENT["Content_Type"]
    assert (await client.offer("/whip", "", Origin="https://studio.example")).status == 403
    assert (await client("OPTIONS", "/whip", Origin="https://studio.example")).status == 403


async def test_other_sites_with_the_token() -> None:
    token, origin = "a-token-of-a-test", "https://studio.example"
    async with serving(Access(token=token)) as client, connection(camera()) as publisher:
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
        preflight = await client("OPTIONS", "/whip", Origin=origin, **asked)
        assert preflight.status == 200
        assert preflight.headers["Access-Control-Allow-Origin"] in (origin, "*")
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        sdp = publisher.localDescription.sdp
        refused = await client.offer("/whip", sdp, Origin=origin)
        assert refused.status == 401
        published = await client.offer("/whip", sdp, Origin=origin, Authorization=f"Bearer {token}")
        assert published.status == 201
        assert {"Location", "ETag", "Link", "Digital-Source-Type"} <= set(
            re.split(", ?", published.headers["Access-Control-Expose-Headers"])
        )
        for method in ("PATCH", "DELETE"):
            assert (await client(method, published.headers["Location"])).status == 401
        config = await client("GET", "/api/config", Origin=origin, Authorization=f"Bearer {token}")
        assert "Access-Control-Allow-Origin" not in config.headers  # the page's own API is for the page


async def test_turn_credentials_for_clients() -> None:
    ice = IceServers(("stun:127.0.0.1:9", "turn:127.0.0.1:9?transport=udp"), secret="north")
    config = RegistryConfig(ice_servers=ice)
    async with serving(config=config) as client, connection(camera()) as publisher:
        published = await client.offer("/whip", publisher.localDescription.sdp)
        links = [link for link in published.headers.getall("Link") if 'rel="ice-server"' in link]
        assert links[0] == '<stun:127.0.0.1:9>; rel="ice-server"'
        assert re.fullmatch(
            r'<turn:127.0.0.1:9\?transport=udp>; rel="ice-server"; username="\d+"; credential="\S{28}"; '
            r'credential-type="password"',
            links[1],
        )
