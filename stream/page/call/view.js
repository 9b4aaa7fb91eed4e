// The avatar alone, over the whole window, for as long as the window is open: a WHEP player
// (draft-ietf-wish-whep-03) that connects again whenever it must. How it stands is in the title and the
// console only, as this page may be on air.

import { gathered } from "/call/gathered.js";
import { ask, get, takeToken } from "/common/api.js";
import { byId } from "/common/dom.js";
import { later } from "/common/later.js";
import { onWake } from "/common/wake.js";

const BACK_OFF_MS = [500, 1000, 2000, 5000];
const LOOK_MS = 500;
const STALLED_LOOKS = 16; // a still avatar is sent again every second
const WAKE_LOOKS = 4; // after this machine slept

takeToken();
const view = location.pathname.split("/").pop();
const video = byId("avatar");
const transparent = new URLSearchParams(location.search).has("transparent");
document.documentElement.classList.toggle("transparent", transparent);
let wake = () => {}; // looks sooner whether pictures come
onWake(() => wake());

function tell(text) {
  document.title = `${view}: ${text}`;
  console.info(document.title);
}

async function play(stream) {
  video.srcObject = stream;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return; // replaced by the next connection
    video.muted = true; // a browser that wants a click before sound; OBS does not
    await video.play().catch(() => {});
  }
}

async function decoded(peer) {
  const pictures = [...(await peer.getStats()).values()].map(({ framesDecoded }) => framesDecoded ?? 0);
  return Math.max(0, ...pictures);
}

// Whether the connection has failed, or the server has said that it ends: that closes the transport alone.
function isOver(peer) {
  const ended = peer.getReceivers().some(({ transport }) => transport?.state === "closed");
  return ended || ["failed", "closed"].includes(peer.connectionState);
}

// Resolves once pictures no longer come, to whether any did. Those that nobody looks at count: where the page is
// hidden they are decoded and not shown.
async function stalled(peer) {
  let [before, left] = [0, STALLED_LOOKS];
  wake = () => (left = Math.min(left, WAKE_LOOKS));
  while (left > 0 && !isOver(peer)) {
    await later(LOOK_MS);
    const now = await decoded(peer);
    left = now > before ? STALLED_LOOKS : left - 1;
    before = now;
  }
  return before > 0;
}

// Watches until the connection ends, and gives whether pictures came.
async function watch() {
  const { ice_servers: iceServers } = await get(`/api/views/${view}`);
  const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  let resource = null;
  try {
    peer.addTransceiver("video", { direction: "recvonly" }).receiver.jitterBufferTarget = 0;
    peer.addTransceiver("audio", { direction: "recvonly" });
    const stream = new MediaStream();
    peer.addEventListener("track", ({ track }) => {
      stream.addTrack(track);
      play(stream);
    });
    await peer.setLocalDescription();
    await gathered(peer);
    const offer = { body: peer.localDescription.sdp, type: "application/sdp" };
    const response = await ask("POST", `/whep/${view}`, offer);
    resource = response.headers.get("Location");
    await peer.setRemoteDescription({ sdp: await response.text(), type: "answer" });
    return await stalled(peer);
  } finally {
    peer.close();
    if (resource) ask("DELETE", resource, { keepalive: true }).catch(() => {}); // gone already, mostly
  }
}

function onFrame() {
  if (video.classList.contains("gone")) video.classList.remove("gone");
  if (!document.title.endsWith(": live")) tell("live");
  video.requestVideoFrameCallback(onFrame);
}

video.classList.add("gone");
video.requestVideoFrameCallback(onFrame);
for (let failures = 0; ; failures++) {
  try {
    tell("connecting");
    if (await watch()) failures = 0;
    tell("lost");
  } catch (error) {
    tell(error.message);
  }
  video.classList.add("gone");
  await later(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)]);
}
