// The presenter's page: what the buttons do, and in words how it goes. Talks to its own server only.

import { get, keepToken, pictureUrl, takeToken, textOf, token } from "/common/api.js";
import { AccessPanel } from "/common/access.js";
import { Calibration } from "/call/calibration.js";
import { Call } from "/call/call.js";
import { VOICE_WORDS, lipsWords, whoseWords, wireDriver } from "/call/driver.js";
import { wireExpression } from "/call/expression.js";
import { Keeper } from "/call/keeper.js";
import { Recording, credentialed, download, fileName, sidecarName, snapshot } from "/common/capture.js";
import { listDevices, openBoth, openMicrophone } from "/common/devices.js";
import { byId, fill, fromTemplate, onClick, setText } from "/common/dom.js";
import { Latency, showLatency } from "/call/latency.js";
import { othersWords, showMark } from "/call/mark.js";
import { wireOther } from "/call/other.js";
import { remember, remembered } from "/common/remember.js";
import { showFrame, wireSettings } from "/common/settings.js";
import { onWake } from "/common/wake.js";
import { Studio } from "/studio/studio.js";

const STATE_WORDS = {
  "no frames from the camera": "No frames are coming from the camera. Is it covered, or used by another program?",
  "waits for a key frame": "Packets of the camera were lost on the way; a whole picture is asked for.",
  "no face seen": "No face is seen. Look at the camera, with light on your face.",
  calibrating: "Calibrating: look straight ahead with a relaxed face.",
};
const TROUBLES = { "no face seen": "No face", "waits for a key frame": "Waiting for a key frame" };
const INTERRUPTED = "The connection is interrupted; waiting for it to come back.";
const RENEWED =
  "The break was too long to keep what was calibrated: your resting face was taken anew. Calibrate does it again.";
const FOLLOWS_ANOTHER = "Whom the avatar followed has left. It follows the other person now, calibrated anew.";
const NO_VOICE = "The microphone was unplugged, so it goes on without your voice.";
const WHERE_THE_TOKEN_IS = "Open the address that the server printed when it started, or give its token here.";
const HINT_MS = 8000;

const [presenter, avatar] = [byId("presenter"), byId("avatar")];
const wishes = {
  measure: new URLSearchParams(location.search).has("measure"), // stamped pictures, for benchmarks
  mirror: false,
  eyeContact: remembered("eye-contact", false),
  emotion: {}, // strengths by name
  driver: remembered("driver", "camera"),
  onlyOwnVoice: remembered("only-own-voice", false),
  muted: false,
  avatar: null, // the server's first
  name: remembered("view-name", ""),
  background: { kind: "original" },
  frame: remembered("frame", null), // null: the server's
};

let starting = null; // while the camera is asked for
let call = null;
let recording = null;
let config = null;
let stats = null; // the server's last word
let answer = null; // to the last offer
let micTrouble = "";
let firstPictureMs = null;

const latency = new Latency(presenter, avatar);
const camera = new Keeper({
  take: (track) => take("video", track),
  changed: onCamera,
  refused: (text) => stop("trouble", "Stopped", text),
});
const microphone = new Keeper({
  take: (track) => take("audio", track),
  changed: (words, label) => call && hint(words ? NO_VOICE : `${label} is back.`),
  refused: hint,
});
const calibration = new Calibration(showCount, () => call.steer("calibrate", {}));

function say(phase, pill, notice = "") {
  document.body.dataset.phase = phase;
  setText("pill-text", pill);
  setText("notice", notice);
  byId("notice").hidden = !notice;
}

let hintTimer = 0;
function hint(text) {
  setText("hint", text);
  clearTimeout(hintTimer);
  hintTimer = setTimeout(() => setText("hint", micTrouble), HINT_MS);
}

function veil(text) {
  byId("veil").classList.toggle("off", !text);
  if (text) setText("veil", text);
}

const meter = (id, value, digits = 0) => setText(id, Number.isFinite(value) ? value.toFixed(digits) : "–");
const press = (id, on) => byId(id).setAttribute("aria-pressed", String(on));
const avatarName = () => stats?.avatar ?? answer?.avatar ?? config?.avatar ?? "avatar";

function showCount(number, text) {
  byId("count").hidden = !text;
  setText("count-number", String(number));
  setText("count-text", text);
  if (text) hint(number === 3 ? `${text}. 3` : String(number || text)); // the overlay is for eyes, this for ears
}

// Runs what a control asks for; a refusal is told, and what was shown is put back.
async function attempt(what, undo = () => {}) {
  try {
    await what();
  } catch (error) {
    hint(textOf(error));
    undo();
  }
}

// --- a call

async function start() {
  say("connecting", "Connecting");
  setText("start", "Stop");
  setText("presenter-veil", "Waiting for the camera …");
  veil("Waiting for the camera …");
  const mine = (starting = {});
  let stream;
  try {
    [stream, micTrouble] = wishes.driver === "voice" ? [await openMicrophone(), ""] : await openBoth();
  } catch (error) {
    const text = textOf(error);
    if (starting === mine) stop("trouble", "Not connected", text);
    return;
  }
  if (starting !== mine) return stream.getTracks().forEach((track) => track.stop());
  starting = null;
  performance.mark("camera-granted");
  firstPictureMs = null;
  latency.reset();
  showCamera(stream);
  hint(micTrouble);
  veil("Waiting for the first picture …");
  listDevices(byId("camera"), byId("microphone"), stream);
  const current = new Call(stream, wishes, {
    media: (incoming) => call === current && showAvatar(incoming),
    stats: (message) => call === current && onStats(message),
    interrupted: () => call === current && say("trouble", "Interrupted", INTERRUPTED),
    connected: (reply, renewed) => call === current && onConnected(reply, renewed),
    waiting: (error, seconds) => call === current && onWaiting(error, seconds),
    tokenNeeded: askForToken,
    ended: (text) => call === current && stop("trouble", "Ended", text),
    camera: () => camera,
  });
  call = current;
  other.onCall(true);
  current.run();
}

avatar.addEventListener("resize", () =>
  byId("stage").style.setProperty("--aspect", avatar.videoWidth / avatar.videoHeight || 1),
);

function showCamera(stream) {
  presenter.srcObject = stream;
  byId("self").classList.toggle("on", stream.getVideoTracks().length > 0);
  for (const track of stream.getTracks()) adopt(track.kind, track);
}

function prepare(track) {
  if (track.kind === "audio") track.enabled = !wishes.muted;
  else track.contentHint = "motion";
}

function adopt(kind, track) {
  if (track) prepare(track);
  (kind === "video" ? camera : microphone).watch(track);
}

// Puts a track in the place of the call's of this kind; null takes that away.
async function take(kind, track) {
  if (!call) return track?.stop();
  if (track) prepare(track);
  await call.exchange(kind, track);
  adopt(kind, track);
  if (kind === "video") byId("self").classList.toggle("on", Boolean(track));
}

function onCamera(words, label) {
  if (!call) return;
  if (words && studio.records) return stop("trouble", "Stopped", words);
  if (words) return say("trouble", "No camera", words);
  say("connecting", "Starting");
  hint(`${label} is back.`);
}

function showAvatar(incoming) {
  if (avatar.srcObject === incoming) return;
  recording?.stop(); // its tracks are those of the connection that was lost
  avatar.srcObject = incoming;
  avatar.requestVideoFrameCallback?.(() => {
    veil("");
    byId("poster").hidden = true;
    for (const id of ["snapshot", "record"]) byId(id).disabled = false;
    if (firstPictureMs !== null) return;
    performance.mark("first-picture");
    firstPictureMs = Math.round(performance.measure("start", "camera-granted", "first-picture").duration);
    console.info(`first picture of the avatar ${firstPictureMs} ms after the camera was granted`);
  });
}

function onConnected(reply, renewed) {
  answer = reply;
  if (renewed) hint(RENEWED);
  setText("runner", `Runner: ${reply.runner_reason.split(";")[0]}`);
  byId("runner").title = reply.runner_reason; // with what was passed over, and why
  const view = `${location.origin}/view/${reply.name ?? reply.view_id}`;
  byId("view-link").value = reply.share ? `${view}#token=${reply.share}` : view;
  for (const id of ["copy-link", "save-latency"]) byId(id).disabled = false;
  if (config) markAvatar(reply.avatar);
  else loadConfig(); // the server was not there when the page was opened
}

function onWaiting(error, seconds) {
  other.onStats((stats = null));
  byId("calibrate").disabled = true;
  calibration.stop();
  recording?.stop();
  if (camera.words) return say("trouble", "No camera", camera.words);
  const again = `Trying again${seconds >= 1.5 ? ` in ${Math.round(seconds)} s` : ""}.`;
  if (!error) return say("connecting", "Reconnecting", "The connection was lost. Connecting again.");
  const reason = error.status === 503 ? `The server has no room: ${error.message}.` : error.message;
  say("trouble", "Waiting", `${reason} ${again}`);
}

function onStats(message) {
  if (message.avatar === stats?.avatar && message.person > stats.person) hint(FOLLOWS_ANOTHER);
  stats = message;
  for (const one of [calibration, studio, other]) one.onStats(message);
  meter("fps-out", message.fps_out, 1);
  meter("fps-in", message.fps_in, 1);
  byId("calibrate").disabled = message.calibrating || !byId("count").hidden;
  showMark(presenter, camera.words ? {} : message);
  if (message.driven_by === "voice" && message.state === "live") {
    const words = whoseWords(message) || [VOICE_WORDS[message.driver], camera.words, message.message].filter(Boolean).join(" ");
    return say("live", "Voice", words);
  }
  if (camera.words) return say("trouble", "No camera", camera.words);
  const others = othersWords(message);
  const words = message.message ?? STATE_WORDS[message.state] ?? (others || whoseWords(message) || lipsWords(message) || studio.words());
  if (message.state === "live") say("live", "Live", words);
  else if (message.state === "calibrating") say("live", "Calibrating", words);
  else if (message.state === "starting") say("connecting", "Starting", words);
  else say("trouble", TROUBLES[message.state] ?? "No camera", others || (STATE_WORDS[message.state] ?? words));
}

function stop(phase = "idle", pill = "Ready", notice = "") {
  starting = null;
  recording?.stop();
  calibration.stop();
  const ended = call;
  call = stats = null;
  other.onCall(false);
  other.onStats(null);
  for (const kind of ["video", "audio"]) adopt(kind, null);
  showMark(presenter, {});
  micTrouble = "";
  ended?.stop();
  ended?.tracks.forEach((track) => track.stop());
  presenter.srcObject = avatar.srcObject = null;
  byId("self").classList.remove("on");
  setText("start", "Start");
  setText("hint", "");
  for (const id of ["calibrate", "snapshot", "record", "copy-link"]) byId(id).disabled = true;
  for (const id of ["fps-out", "fps-in", "delay"]) meter(id, NaN);
  setText("presenter-veil", "Camera off");
  byId("poster").hidden = !byId("poster").src;
  veil("Press Start, and the avatar will follow you.");
  say(phase, pill, notice);
  if (ended && notice) studio.onCallEnded(notice);
}

setInterval(async () => {
  if (!call?.link || !stats) return;
  const sample = await latency.sample(call.link.peer, stats);
  meter("delay", sample.ms.total);
  showLatency(sample);
  const { rtt_ms: rtt, jitter_buffer_ms: buffer, decode_ms: decode } = sample;
  const known = Object.entries({ "round trip": rtt, "jitter buffer": buffer, decoding: decode });
  const parts = known.filter(([, ms]) => Number.isFinite(ms)).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`);
  if (firstPictureMs !== null) parts.push(`first picture ${firstPictureMs} ms after the camera was granted`);
  setText("latency-more", parts.join(", "));
}, 1000);

// --- the server's avatars, and its token

function askForToken(text) {
  const box = byId("token-box");
  setText("token-text", token() ? `The token was not accepted: ${text}.` : WHERE_THE_TOKEN_IS);
  if (!box.open) box.showModal();
  return new Promise((resolve) => box.addEventListener("close", resolve, { once: true }));
}

async function loadConfig() {
  try {
    config = await get("/api/config");
  } catch (error) {
    if (error.status !== 401) return say("trouble", error.status === 403 ? "Not allowed" : "No server", error.message);
    await askForToken(error.message);
    return loadConfig();
  }
  fill("avatar-list", config.avatars, avatarChoice);
  access.show(config.rights);
  const wished = wishes.avatar ?? remembered("avatar", config.avatar);
  markAvatar(config.avatar); // what is wished for may be gone
  markAvatar(wished);
  showFrame(wishes.frame ?? config.frame);
  if (config.studio) attempt(() => studio.resume());
}

// An avatar that was deleted is not asked for again.
async function forgotten(name) {
  if (wishes.avatar === name) wishes.avatar = null;
  if (remembered("avatar", null) === name) remember("avatar", null);
  await loadConfig();
}

async function drive(name) {
  markAvatar(name);
  const chosen = document.querySelector("[name=avatar]:checked + img");
  await switchAvatar(name, chosen?.src);
  if (!call && !starting) await start();
}

function avatarChoice({ name, title, person, preview, size_px: size, signed, signature, consent, marked }) {
  const choice = fromTemplate("avatar-choice");
  const [radio, picture] = [choice.querySelector("input"), choice.querySelector("img")];
  radio.value = name;
  choice.querySelector(".name").textContent = title;
  const shown = person === "synthetic" ? "No living person, it says" : "A real person";
  choice.title = `${signed === "presenters" ? "No living person" : shown}, ${size} px, ${signature}${marked ? ", marked" : ""}`;
  if (signed !== "presenters") choice.title += `; consent ${consent}`;
  choice.querySelector(".signature").textContent = signed === "presenters" ? "" : signature;
  pictureUrl(preview).then(
    (url) => {
      picture.src = url;
      if (radio.checked) showPoster(url);
    },
    () => picture.remove(), // an avatar without a preview has its name
  );
  radio.addEventListener("change", () => switchAvatar(name, picture.src));
  return choice;
}

const titleOf = (name) => config?.avatars.find((avatar) => avatar.name === name)?.title ?? name;

function showPoster(url) {
  byId("poster").src = url;
  byId("poster").hidden = Boolean(call);
}

function markAvatar(name) {
  const radio = [...document.getElementsByName("avatar")].find(({ value }) => value === name);
  if (!radio) return;
  radio.checked = true;
  wishes.avatar = name;
}

async function switchAvatar(name, preview) {
  const before = wishes.avatar;
  wishes.avatar = name;
  if (preview) showPoster(preview);
  await attempt(
    async () => {
      await call?.steer("avatar", { name });
      remember("avatar", name);
      if (call) hint(`The avatar is now ${titleOf(name)}.`);
    },
    () => markAvatar(before),
  );
}

// --- controls

async function toggle(id, wish, action) {
  wishes[wish] = !wishes[wish];
  press(id, wishes[wish]);
  await attempt(() => call?.steer(action, { on: wishes[wish] }));
}

onClick("start", () => (call || starting ? stop() : start()));
onClick("calibrate", () =>
  attempt(async () => {
    byId("calibrate").disabled = true;
    const outcome = await calibration.run().finally(() => showCount("", ""));
    if (outcome) hint(outcome);
  }),
);
onClick("mute", () => {
  call?.stream.getAudioTracks().forEach((track) => (track.enabled = wishes.muted)); // before anything is asked
  toggle("mute", "muted", "mute");
});
onClick("mirror", () => {
  toggle("mirror", "mirror", "mirror");
  document.body.classList.toggle("mirrored", wishes.mirror);
});
onClick("listen", () => {
  avatar.muted = !avatar.muted;
  press("listen", !avatar.muted);
});

function showSelf(on) {
  press("self-view", on);
  byId("self").classList.toggle("hidden", !on);
  remember("self-view", on);
}
onClick("self-view", () => showSelf(byId("self").classList.contains("hidden")));

function setFull(on) {
  document.body.classList.toggle("full", on);
  byId(on ? "leave-full" : "full").focus();
}
onClick("full", () => setFull(true));
onClick("leave-full", () => setFull(false));
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && document.body.classList.contains("full")) setFull(false);
});

onClick("snapshot", () =>
  attempt(async () => {
    const name = fileName(avatarName(), "png");
    const [picture, words] = await snapshot(call.id);
    download(picture, name);
    hint(`Saved ${name}.${words}`);
  }),
);
onClick("record", () =>
  attempt(() => {
    if (recording) return recording.stop();
    const shown = avatarName();
    recording = new Recording(avatar.srcObject, async (blob, ending) => {
      const name = fileName(shown, ending);
      recording = null;
      press("record", false);
      setText("record-text", "Record");
      const [film, words, beside] = await credentialed(blob);
      download(film, name);
      if (beside) download(beside, sidecarName(name));
      hint(`Saved ${name}.${words}`);
    });
    press("record", true);
    setText("record-text", "Stop recording");
  }),
);
onClick("save-latency", () => {
  const facts = { avatar: avatarName(), runner: answer.runner_reason, first_picture_ms: firstPictureMs };
  download(new Blob([latency.record(facts)], { type: "application/json" }), fileName(avatarName(), "json", "latency"));
});
onClick("copy-link", () =>
  attempt(async () => {
    await navigator.clipboard.writeText(byId("view-link").value);
    hint("Copied. Whoever has the address can watch this session, and nothing else.");
  }),
);

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault(); // nothing is sent from here: the token goes with the next request
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  byId("token-box").close();
});
byId("token-box").addEventListener("cancel", (event) => event.preventDefault()); // without it nothing works
window.addEventListener("pagehide", () => call?.stop());

const byCamera = () => wishes.driver === "voice" && driveBy("camera"); // who films themselves needs one
const studio = new Studio({ theCall: () => call, start, stop, byCamera, trouble: () => byId("notice").textContent, reload: loadConfig, forgotten, drive });

const access = new AccessPanel({ attempt, hint });

takeToken();
showSelf(remembered("self-view", true));
showLatency({ ms: {} });
wireSettings({ wishes, theCall: () => call, attempt, hint, take });
wireExpression({ wishes, theCall: () => call, attempt });
const other = wireOther({ wishes, theCall: () => call, attempt, hint });
const driveBy = wireDriver({ wishes, theCall: () => call, attempt, take });
onWake(() => {
  call?.check();
  for (const keeper of [camera, microphone]) keeper.look();
});
loadConfig();
