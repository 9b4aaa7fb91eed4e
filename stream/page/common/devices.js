// Cameras and microphones: which there are, which one was chosen, and what to say when one cannot be had.

import { UserError } from "/common/api.js";
import { remembered } from "/common/remember.js";

const PICTURE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 } };
const FILM = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const CALL_LINES = 480; // that a call needs of a film's
export const NO_MICROPHONE = "none";

const CAMERA_WORDS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's address bar, then press Start.",
  SecurityError: "The browser's settings forbid cameras on this page.",
  NotFoundError: "No camera was found. Plug one in, then press Start.",
  NotReadableError: "The camera is in use by another program. Close that one, then press Start.",
  AbortError: "The camera stopped while it was starting. Press Start to try again.",
  OverconstrainedError: "The camera offers no picture size that can be used here.",
};
const MICROPHONE_WORDS = {
  NotAllowedError: "The microphone was refused, so it goes on without your voice.",
  NotFoundError: "No microphone was found, so it goes on without your voice.",
  NotReadableError: "The microphone is in use by another program, so it goes on without your voice.",
};

const chosen = (kind) => {
  const id = remembered(kind, "");
  return id && id !== NO_MICROPHONE ? { deviceId: { exact: id } } : {};
};

// The devices that were chosen, or where one is gone, the browser's choice: the lists show which.
async function take(...kinds) {
  const constraints = (pick) => ({
    ...(kinds.includes("camera") && { video: { ...PICTURE, ...pick("camera") } }),
    ...(kinds.includes("microphone") && { audio: pick("microphone") }),
  });
  try {
    return await navigator.mediaDevices.getUserMedia(constraints(chosen));
  } catch (error) {
    if (error.name !== "OverconstrainedError") throw error;
    return navigator.mediaDevices.getUserMedia(constraints(() => ({})));
  }
}

async function open(kind, words) {
  try {
    return await take(kind);
  } catch (error) {
    throw new UserError(words[error.name] ?? `The ${kind} cannot be used (${error.name}: ${error.message}).`);
  }
}

// The device of a track that has ended, {kind, label, id}, if it is there again; null while it is not. Raises
// UserError where it is refused from now on.
export async function openAgain({ kind, label, id }) {
  const all = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === `${kind}input`);
  const same = all.find(({ deviceId }) => deviceId === id) ?? all.find((one) => label && one.label === label);
  if (!same) return null;
  const pick = { deviceId: { exact: same.deviceId } };
  const wanted = kind === "video" ? { video: { ...PICTURE, ...pick } } : { audio: pick };
  try {
    return (await navigator.mediaDevices.getUserMedia(wanted)).getTracks()[0];
  } catch (error) {
    if (error.name !== "NotAllowedError") return null; // another program has it still
    throw new UserError((kind === "video" ? CAMERA_WORDS : MICROPHONE_WORDS)[error.name]);
  }
}

export const openCamera = () => open("camera", CAMERA_WORDS);
export const openMicrophone = () => open("microphone", MICROPHONE_WORDS);

// Camera and, where wanted, microphone in one question. Gives [stream, why there is no microphone or ""].
export async function openBoth() {
  if (!window.RTCPeerConnection) {
    throw new UserError("This browser has no WebRTC. A current Chrome, Edge, Firefox or Safari has.");
  }
  if (!window.isSecureContext || !navigator.mediaDevices) {
    throw new UserError(
      "Browsers open the camera only on localhost or over https. Open this page as http://localhost, " +
        "or put a TLS proxy in front of the server.",
    );
  }
  if (remembered("microphone", "") === NO_MICROPHONE) return [await openCamera(), ""];
  try {
    return [await take("camera", "microphone"), ""];
  } catch (error) {
    const stream = await openCamera(); // tells what is wrong if it is the camera
    return [stream, MICROPHONE_WORDS[error.name] ?? `The microphone cannot be used (${error.name}).`];
  }
}

// The camera's best for a recording, or back to what a call needs. sender: sends no more than a call either way.
export async function setFilming(track, sender, on) {
  await track.applyConstraints(on ? FILM : PICTURE);
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings ?? []) {
    encoding.scaleResolutionDownBy = on ? Math.max(1, track.getSettings().height / CALL_LINES) : 1;
  }
  await sender.setParameters(parameters);
}

function fillSelect(select, devices, chosen, extra) {
  const options = devices.map(({ deviceId, label }, index) => new Option(label || `Device ${index + 1}`, deviceId));
  if (!options.length || !options[0].value) options.splice(0, options.length, new Option("The browser's choice", ""));
  select.replaceChildren(...options, ...extra);
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

// Labels and ids are known only once a device was granted. stream: what is in use, if anything is.
export async function listDevices(cameras, microphones, stream) {
  const used = (tracks, kind) => tracks?.[0]?.getSettings().deviceId ?? remembered(kind, "");
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind) => all.filter((device) => device.kind === kind);
  fillSelect(cameras, of("videoinput"), used(stream?.getVideoTracks(), "camera"), []);
  const none = new Option("No microphone", NO_MICROPHONE);
  fillSelect(microphones, of("audioinput"), used(stream?.getAudioTracks(), "microphone"), [none]);
}
