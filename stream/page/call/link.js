// One peer connection to the server, from the offer until it is lost.

import { gathered } from "/call/gathered.js";
import { Silence, goesOn } from "/call/silence.js";
import { UserError, post } from "/common/api.js";
import { later } from "/common/later.js";

const UPLINK_BPS = 1_200_000;
const CONNECT_LIMIT_MS = 15_000;
const INTERRUPTED_LIMIT_MS = 4000;
const TICK_S = 0.25;
const WORD_LIMIT_MS = 800; // the same after this machine slept

export class NoPath extends UserError {
  constructor() {
    super(
      "The server answers, but no way for pictures was found: a firewall or NAT is between. Allow UDP to the " +
        "server, or start it with a TURN server (--ice-server turn:HOST).",
    );
  }
}

function connected(peer) {
  const settled = new Promise((resolve, reject) => {
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "connected") resolve();
      if (peer.connectionState === "failed") reject(new NoPath());
    });
  });
  const late = later(CONNECT_LIMIT_MS).then(() => Promise.reject(new NoPath()));
  late.catch(() => {}); // raced, and nobody waits for it afterwards
  return Promise.race([settled, late]);
}

// The server holds the voice back to match the picture. The browser must not do so a second time: it would hold
// back pictures for a voice that is mostly not even listened to. It does so within one stream, so make it two.
function unsynchronised(sdp) {
  const [head, ...sections] = sdp.split(/^(?=m=)/m);
  const apart = (section) => section.replace(/^(a=(?:ssrc:\d+ )?msid:)/gm, "$1voice-");
  return head + sections.map((section) => (section.startsWith("m=audio") ? apart(section) : section)).join("");
}

export class Link {
  // on: {media(MediaStream), stats(message), interrupted()}
  // other: the track of what somebody says to the presenter; null: nobody does
  constructor(stream, other, iceServers, on) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.lost = new Promise((resolve) => (this.lose = resolve)); // resolves to the server's reason, or ""
    this.silence = new Silence(
      () => this.answer && goesOn(this.answer.id),
      () => this.lose(""),
    );
    this.senders = {};
    this.#addTracks(stream, other);
    this.#listen(on);
  }

  #addTracks(stream, other) {
    const camera = stream.getVideoTracks()[0] ?? "video"; // pictures come back also where a voice alone drives
    const video = this.peer.addTransceiver(camera, {
      direction: "sendrecv",
      streams: [stream],
      sendEncodings: [{ maxBitrate: UPLINK_BPS, maxFramerate: 30 }],
    });
    video.receiver.jitterBufferTarget = 0; // newest picture first: a late one is worth less than a smooth one
    // always there, so that a microphone can be plugged in without a new connection
    const audio = this.peer.addTransceiver(stream.getAudioTracks()[0] ?? "audio", {
      direction: "sendrecv",
      streams: [stream],
    });
    const heard = this.peer.addTransceiver(other ?? "audio", { direction: "sendonly" }); // always there, as well
    this.senders = { video: video.sender, audio: audio.sender, other: heard.sender };
  }

  #listen(on) {
    const incoming = new MediaStream();
    this.peer.addEventListener("track", ({ track }) => {
      incoming.addTrack(track);
      on.media(incoming);
    });
    const channel = this.peer.createDataChannel("stats");
    channel.addEventListener("message", ({ data }) => {
      this.silence.end();
      this.heard = true;
      const message = JSON.parse(data);
      if (message.ended) this.lose(message.ended);
      else on.stats(message);
    });
    channel.addEventListener("close", () => this.lose(""));
    this.peer.addEventListener("connectionstatechange", () => {
      const state = this.peer.connectionState;
      if (state === "failed" || state === "closed") this.lose("");
      if (state === "disconnected") {
        on.interrupted();
        setTimeout(() => this.peer.connectionState === "disconnected" && this.lose(""), INTERRUPTED_LIMIT_MS);
      }
    });
    let seenS = performance.now() / 1000;
    this.timer = setInterval(() => {
      const nowS = performance.now() / 1000;
      this.silence.pass(Math.min(nowS - seenS, 1)); // what this page slept through does not count
      seenS = nowS;
    }, 1000 * TICK_S);
  }

  // This machine slept, or changed its network: the connection is lost unless the server is heard in a moment.
  check() {
    if (!this.answer) return;
    this.heard = false;
    setTimeout(() => this.heard || this.lose(""), WORD_LIMIT_MS);
  }

  // Gives the server's answer once media can flow.
  async open(path, wishes) {
    await this.peer.setLocalDescription();
    await gathered(this.peer);
    const { sdp, type } = this.peer.localDescription;
    performance.mark("offered");
    const answer = await post(path, { ...wishes, sdp, type });
    performance.mark("answered");
    this.answer = answer;
    const description = { sdp: unsynchronised(answer.sdp), type: answer.type };
    await Promise.all([connected(this.peer), this.peer.setRemoteDescription(description)]);
    performance.mark("connected");
    this.silence.end();
    return answer;
  }

  close() {
    clearInterval(this.timer);
    this.peer.close();
    this.lose("");
  }
}
