// Where the time goes between the camera's picture and the avatar's, stage by stage, and how each is known.
// "measured" is a difference on one clock; "estimated" rests on an assumption, which its note names.

import { element, fill } from "/common/dom.js";

const SAMPLES = 3600; // an hour of seconds
const WINDOW = 40; // pictures: the last second or two

const STAGES = [
  ["capture", "measured", "From the camera's time stamp to the page. Without the exposure."],
  ["uplink", "estimated", "Encoding here, as measured, and half the round trip: the same time each way is assumed."],
  ["wait", "measured", "In the server, behind the picture before, and colour conversion."],
  ["track", "measured", "In the server: face, body and hands are found."],
  ["render", "measured", "In the server: from the pose to the finished picture."],
  ["encode", "measured", "In the server."],
  ["downlink", "estimated", "Half the round trip: the same time each way is assumed."],
  ["display", "measured", "From the last packet of a picture to its place on the screen: jitter buffer, decoding, drawing."],
  ["total", "estimated", "The sum. Without exposure, the server's decoding, and the screen's own delay."],
];

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : NaN;
};

function follow(video, read) {
  const window = [];
  const seen = (now, metadata) => {
    const ms = read(now, metadata);
    if (Number.isFinite(ms) && ms >= 0) window.push(ms);
    if (window.length > WINDOW) window.shift();
    video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback?.(seen);
  return window;
}

// Mean since the last look of a growing pair (total seconds, count), in ms.
function meanMs(before, now, total, count) {
  if (!before || !now || !(now[count] > before[count])) return NaN;
  return (1000 * (now[total] - before[total])) / (now[count] - before[count]);
}

export class Latency {
  constructor(presenter, avatar) {
    this.samples = [];
    this.before = {};
    this.capture = follow(presenter, (now, { captureTime }) => now - captureTime);
    this.display = follow(avatar, (_, { expectedDisplayTime, receiveTime }) => expectedDisplayTime - receiveTime);
  }

  reset() {
    this.before = {};
    this.capture.length = this.display.length = 0;
  }

  // One sample: every stage and the total in ms (NaN where unknown), with what the browser says besides.
  async sample(peer, stats) {
    const now = {};
    for (const entry of (await peer.getStats()).values()) {
      if (entry.kind === "video" && /^(in|out)bound-rtp$/.test(entry.type)) now[entry.type] = entry;
      if (entry.type === "candidate-pair" && entry.nominated) now.pair = entry;
      if (entry.type === "remote-inbound-rtp" && entry.kind === "video") now.heard = entry;
    }
    const [inbound, before] = [now["inbound-rtp"], this.before];
    const rtt = 1000 * (now.pair?.currentRoundTripTime ?? now.heard?.roundTripTime ?? NaN); // Firefox has the latter
    const uplinkCoding = meanMs(before["outbound-rtp"], now["outbound-rtp"], "totalEncodeTime", "framesEncoded");
    const { track, render, encode } = stats.latency_ms;
    const known = (ms) => ms ?? NaN;
    const wait = known(stats.server_ms.p50) - (track ?? 0) - (render ?? 0);
    const ms = {
      capture: median(this.capture),
      uplink: uplinkCoding + rtt / 2,
      wait: Math.max(wait, 0),
      track: known(track),
      render: known(render),
      encode: known(encode),
      downlink: rtt / 2,
      display: median(this.display),
    };
    const sum = Object.values(ms).reduce((total, value) => total + (Number.isFinite(value) ? value : 0), 0);
    ms.total = Number.isFinite(ms.uplink) && Number.isFinite(wait) ? sum : NaN;
    const more = {
      rtt_ms: rtt,
      jitter_buffer_ms: meanMs(before["inbound-rtp"], inbound, "jitterBufferDelay", "jitterBufferEmittedCount"),
      decode_ms: meanMs(before["inbound-rtp"], inbound, "totalDecodeTime", "framesDecoded"),
    };
    this.before = now;
    const sample = { at: new Date().toISOString(), ms, ...more, fps_in: stats.fps_in, fps_out: stats.fps_out };
    this.samples.push(sample);
    if (this.samples.length > SAMPLES) this.samples.shift();
    return sample;
  }

  // For a file; what is unknown is null there.
  record(facts) {
    const stages = STAGES.map(([stage, known, note]) => ({ stage, known, note }));
    return JSON.stringify({ ...facts, unit: "ms", stages, samples: this.samples }, null, 1);
  }
}

export function showLatency({ ms }) {
  fill("latency", STAGES, ([stage, known, note]) => {
    const line = element("tr", { title: note });
    line.dataset.known = known;
    line.append(element("th", { scope: "row", textContent: stage }));
    const figure = Number.isFinite(ms[stage]) ? ms[stage].toFixed(1) : "–";
    line.append(...[figure, known].map((textContent) => element("td", { textContent })));
    return line;
  });
}
