// What the person takes home: a picture, a recording, a table. Every file says in its name what it is.

import { UserError, ask } from "/common/api.js";
import { element } from "/common/dom.js";

const CONTAINERS = [
  ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "mp4"], // can carry Content Credentials
  ["video/webm;codecs=vp8,opus", "webm"],
  ["video/webm", "webm"],
];
const RECORD_BPS = 2_500_000;

export function fileName(avatar, ending, what = "AI-generated") {
  const plain = avatar.replace(/[^A-Za-z0-9-]+/g, "-") || "avatar";
  const now = new Date();
  const digits = (...parts) => parts.map((part) => String(part).padStart(2, "0")).join("");
  const day = digits(now.getFullYear(), now.getMonth() + 1, now.getDate());
  const time = digits(now.getHours(), now.getMinutes(), now.getSeconds());
  return `avatarcast-${what}-${plain}-${day}-${time}.${ending}`;
}

const SIDECAR = "application/c2pa";
const MOST_SIGNED_BYTES = 16 * 1024 * 1024;

// The file with Content Credentials, where the server can give it any; what to say of that; and what is to lie beside it.
export async function credentialed(blob) {
  if (blob.size > MOST_SIGNED_BYTES) return [blob, " It is too large to get Content Credentials here."];
  try {
    const reply = await ask("POST", "/api/credentials", { body: blob, type: blob.type });
    const made = await reply.blob();
    if (made.type !== SIDECAR) return [made, " It has Content Credentials."];
    return [blob, " WebM carries no Content Credentials: they are in the .c2pa file, to go with it.", made];
  } catch (error) {
    return [blob, ` It has no Content Credentials: ${error.message}.`];
  }
}

// The name of what lies beside a file.
export const sidecarName = (name) => name.replace(/\.[^.]+$/, ".c2pa");

export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function encoded(picture, width, height, ...format) {
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, ...format));
}

// The picture as the server rendered it, sharper than what comes through the codec; and what to say of it.
export async function snapshot(session) {
  const reply = await ask("GET", `/api/sessions/${session}/snapshot`);
  const words = reply.headers.has("Digital-Source-Type") ? " It has Content Credentials." : "";
  return [await reply.blob(), words];
}

// The first of these kinds that the browser records. kinds: [type, ...]
export function recordable(kinds) {
  const found = window.MediaRecorder && kinds.find(([type]) => MediaRecorder.isTypeSupported(type));
  if (!found) throw new UserError("This browser cannot record. Chrome, Edge, Firefox and Safari 14.1 can.");
  return found;
}

export class Recording {
  // done: called with the blob and the file's ending, however the recording ended
  constructor(stream, done) {
    const [type, ending] = recordable(CONTAINERS);
    const chunks = [];
    this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: RECORD_BPS });
    this.recorder.addEventListener("dataavailable", ({ data }) => data.size && chunks.push(data));
    this.recorder.addEventListener("stop", () => done(new Blob(chunks, { type: type.split(";")[0] }), ending));
    this.recorder.start(1000);
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }
}

const PICTURE_PX = 1280;

// A picture of any size and kind as a JPEG that the server takes.
export async function asJpeg(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new UserError("This file is not a picture that the browser can read. Choose a JPEG, PNG or WebP.");
  }
  const scale = Math.min(1, PICTURE_PX / Math.max(bitmap.width, bitmap.height));
  const sides = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  return encoded(bitmap, ...sides, "image/jpeg", 0.9).finally(() => bitmap.close());
}
