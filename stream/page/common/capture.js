// What the person takes home: a picture, a recording, a table. Every file says in its name what it is.

import { UserError } from "/common/api.js";

const CONTAINERS = [
  ["video/webm;codecs=vp8,opus", "webm"],
  ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "mp4"],
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

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export async function snapshot(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export class Recording {
  // done: called with the blob and the file's ending, however the recording ended
  constructor(stream, done) {
    const found = window.MediaRecorder && CONTAINERS.find(([type]) => MediaRecorder.isTypeSupported(type));
    if (!found) throw new UserError("This browser cannot record. Chrome, Edge, Firefox and Safari 14.1 can.");
    const chunks = [];
    this.recorder = new MediaRecorder(stream, { mimeType: found[0], videoBitsPerSecond: RECORD_BPS });
    this.recorder.addEventListener("dataavailable", ({ data }) => data.size && chunks.push(data));
    this.recorder.addEventListener("stop", () => done(new Blob(chunks, { type: found[0].split(";")[0] }), found[1]));
    this.recorder.start(1000);
    this.since = performance.now();
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
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}
