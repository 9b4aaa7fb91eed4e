// The live page: webcam out, avatar in, and in words how it goes. Talks to its own server only.

const PICTURE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 } };
const UPLINK_BPS = 1_200_000;
const GATHER_LIMIT_MS = 1500;
const measure = new URLSearchParams(location.search).has("measure"); // stamped pictures, for benchmarks

const CAMERA_WORDS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's address bar, then press Start.",
  SecurityError: "The browser's settings forbid cameras on this page.",
  NotFoundError: "No camera was found. Plug one in, then press Start.",
  NotReadableError: "The camera is in use by another program. Close that one, then press Start.",
  AbortError: "The camera stopped while it was starting. Press Start to try again.",
  OverconstrainedError: "The camera offers no picture size that can be used here.",
};
const STATE_WORDS = {
  "no frames from the camera": "No frames are coming from the camera. Is it covered, or used by another program?",
  "no face seen": "No face is seen. Look at the camera, with light on your face.",
  calibrating: "Calibrating: look straight ahead with a relaxed face.",
};

const byId = (id) => document.getElementById(id);
const presenter = byId("presenter");
const avatar = byId("avatar");

let call = null; // {id, connection, stream, timer, before} while there is one
let mirror = false;
let sound = false;

function say(phase, pill, notice = "") {
  document.body.dataset.phase = phase;
  byId("pill-text").textContent = pill;
  const box = byId("notice");
  if (box.textContent !== notice) box.textContent = notice;
  box.hidden = !notice;
}

function veil(element, text) {
  element.classList.toggle("off", !text);
  if (text) element.textContent = text;
}

function meter(id, value, digits = 0) {
  byId(id).textContent = Number.isFinite(value) ? value.toFixed(digits) : "–";
}

class Told extends Error {} // its message is meant for the person in front of the screen

async function openCamera() {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    throw new Told(
      "Browsers open the camera only on localhost or over https. Open this page as http://localhost, " +
        "or put a TLS proxy in front of the server.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: PICTURE, audio: sound });
  } catch (error) {
    const words = CAMERA_WORDS[error.name] ?? `The camera cannot be used (${error.name}: ${error.message}).`;
    throw new Told(sound ? `${words} (Sound is on: the same goes for the microphone.)` : words);
  }
}

async function post(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Told("The server does not answer. Is it still running?");
  }
  const reply = await response.json().catch(() => ({}));
  if (response.ok) return reply;
  const reason = reply.error ?? `status ${response.status}`;
  throw new Told(response.status === 503 ? `The server has no room: ${reason}.` : `The server refused: ${reason}.`);
}

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_LIMIT_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") resolve();
    });
  });
}

async function connect(stream) {
  const connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
  const current = { id: null, connection, stream, timer: 0, before: {} };
  call = current;

  const camera = stream.getVideoTracks()[0];
  camera.contentHint = "motion";
  const video = connection.addTransceiver(camera, {
    direction: "sendrecv",
    streams: [stream],
    sendEncodings: [{ maxBitrate: UPLINK_BPS, maxFramerate: 30 }],
  });
  video.receiver.jitterBufferTarget = 0; // newest picture first: a late one is worth less than a smooth one
  for (const track of stream.getAudioTracks()) {
    connection.addTransceiver(track, { direction: "sendrecv", streams: [stream] });
  }
  const channel = connection.createDataChannel("stats");
  channel.addEventListener("message", (event) => {
    if (call === current) onServerStats(JSON.parse(event.data));
  });
  channel.addEventListener("close", () => {
    if (call === current) stop("trouble", "Lost", "The server ended the connection. Press Start to connect again.");
  });

  const incoming = new MediaStream();
  connection.addEventListener("track", (event) => {
    incoming.addTrack(event.track);
    avatar.srcObject = incoming;
    avatar.muted = !sound;
  });
  connection.addEventListener("connectionstatechange", () => {
    if (call !== current) return;
    if (connection.connectionState === "failed") {
      stop("trouble", "Lost", "The connection was lost. Press Start to connect again.");
    } else if (connection.connectionState === "disconnected") {
      say("trouble", "Interrupted", "The connection is interrupted; waiting for it to come back.");
    }
  });
  camera.addEventListener("ended", () => {
    if (call === current) stop("trouble", "Stopped", "The camera was unplugged or taken by another program.");
  });

  await connection.setLocalDescription();
  await gathered(connection);
  const { sdp, type } = connection.localDescription;
  const answer = await post("/api/sessions", { sdp, type, mirror, measure });
  current.id = answer.id;
  if (call !== current) return hangUp(current); // stopped meanwhile
  await connection.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
  byId("avatar-name").textContent = answer.avatar;
  byId("runner").textContent = `Runner: ${answer.runner_reason.split(";")[0]}`;
  byId("runner").title = answer.runner_reason; // with what was passed over, and why
  current.timer = setInterval(() => onBrowserStats(current), 1000);
}

async function start() {
  say("connecting", "Connecting");
  byId("start").textContent = "Stop";
  veil(byId("presenter-veil"), "Waiting for the camera …");
  veil(byId("veil"), "Waiting for the first picture …");
  const attempt = (call = { id: null, connection: null, stream: null, timer: 0, before: {} });
  try {
    const stream = await openCamera();
    if (call !== attempt) return stream.getTracks().forEach((track) => track.stop());
    attempt.stream = stream;
    presenter.srcObject = stream;
    veil(byId("presenter-veil"), "");
    await connect(stream);
  } catch (error) {
    if (!(error instanceof Told)) console.error(error);
    stop("trouble", "Not connected", error instanceof Told ? error.message : `Something failed: ${error.message}`);
  }
}

function hangUp(ended) {
  clearInterval(ended.timer);
  ended.connection?.close();
  ended.stream?.getTracks().forEach((track) => track.stop());
  if (ended.id) fetch(`/api/sessions/${ended.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function stop(phase = "idle", pill = "Ready", notice = "") {
  const ended = call;
  call = null;
  if (ended) hangUp(ended);
  presenter.srcObject = null;
  avatar.srcObject = null;
  byId("start").textContent = "Start";
  byId("calibrate").disabled = true;
  for (const id of ["fps-out", "fps-in", "delay", "server"]) meter(id, NaN);
  veil(byId("presenter-veil"), "Your camera is off.");
  veil(byId("veil"), "Press Start, and the avatar will follow you.");
  say(phase, pill, notice);
}

let serverMs = NaN;

function onServerStats(stats) {
  if (stats.ended) return stop("trouble", "Ended", `The server ended the session: ${stats.ended}.`);
  serverMs = stats.server_ms.p50 ?? NaN;
  meter("fps-out", stats.fps_out, 1);
  meter("fps-in", stats.fps_in, 1);
  meter("server", serverMs);
  byId("calibrate").disabled = stats.calibrating;
  if (stats.rendered > 0) veil(byId("veil"), "");
  const words = STATE_WORDS[stats.state] ?? "";
  if (stats.state === "live") say("live", "Live");
  else if (stats.state === "calibrating") say("live", "Calibrating", words);
  else if (stats.state === "starting") say("connecting", "Starting");
  else say("trouble", stats.state === "no face seen" ? "No face" : "No camera", words);
}

// Mean over the last second of a growing pair (total seconds, count), in ms.
function meanMs(before, now, total, count) {
  if (!before || !now || !(now[count] > before[count])) return 0;
  return (1000 * (now[total] - before[total])) / (now[count] - before[count]);
}

async function onBrowserStats(current) {
  const report = await current.connection.getStats();
  if (call !== current) return;
  const now = {};
  for (const entry of report.values()) {
    if (entry.kind === "video" && (entry.type === "inbound-rtp" || entry.type === "outbound-rtp")) now[entry.type] = entry;
    if (entry.type === "candidate-pair" && entry.nominated) now.pair = entry;
  }
  const sent = ["outbound-rtp", "totalEncodeTime", "framesEncoded"];
  const received = ["inbound-rtp", "totalProcessingDelay", "framesDecoded"];
  const [encodeMs, receiveMs] = [sent, received].map(([type, total, count]) =>
    meanMs(current.before[type], now[type], total, count),
  );
  const roundTripMs = 1000 * (now.pair?.currentRoundTripTime ?? 0);
  if (now["inbound-rtp"]?.framesDecoded) meter("delay", encodeMs + roundTripMs + serverMs + receiveMs);
  current.before = now;
}

async function steer(action, body) {
  if (!call?.id) return;
  try {
    await post(`/api/sessions/${call.id}/${action}`, body);
  } catch (error) {
    say("trouble", "Trouble", error.message);
  }
}

byId("start").addEventListener("click", () => (call ? stop() : start()));
byId("calibrate").addEventListener("click", () => steer("calibrate", {}));
byId("mirror").addEventListener("click", () => {
  mirror = !mirror;
  byId("mirror").setAttribute("aria-pressed", String(mirror));
  document.body.classList.toggle("mirrored", mirror);
  steer("mirror", { on: mirror });
});
byId("sound").addEventListener("click", () => {
  sound = !sound;
  byId("sound").setAttribute("aria-pressed", String(sound));
  if (call) {
    stop();
    start(); // the microphone is part of the offer
  }
});
window.addEventListener("pagehide", () => call && hangUp(call));
