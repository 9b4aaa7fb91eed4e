// The camera's own picture, recorded as well as the browser can and sent to the server while it is recorded.

import { Unreachable, ask, post } from "/common/api.js";
import { recordable } from "/common/capture.js";
import { later } from "/common/later.js";

const KINDS = [
  ["video/webm;codecs=vp8", "video/webm"], // of all codecs the one that a slow machine keeps up with
  ["video/mp4;codecs=avc1.4D401F", "video/mp4"],
  ["video/mp4", "video/mp4"],
];
const RECORD_BPS = 8_000_000;
const CLIP_BPS = 2_500_000;
const CLIP_TYPES = { "video/webm": "video/webm;codecs=vp8,opus", "video/mp4": "video/mp4" };
const CHUNK_MS = 1000;
const TRIES = 5;

export class Upload {
  // Consent goes first: the server takes nothing without. consent: {who, statement, agreed}
  static async begin(track, session, consent) {
    const [type, kind] = recordable(KINDS);
    const { id, sentence } = await post("/api/studio/recordings", { session, kind, ...consent });
    return new Upload(track, id, type, kind, sentence);
  }

  constructor(track, id, type, kind, sentence) {
    this.path = `/api/studio/recordings/${id}`;
    this.kind = kind;
    this.track = track;
    this.sentence = sentence; // what the person says in the consent clip
    this.next = 0;
    this.failure = null;
    this.sent = Promise.resolve();
    this.recorder = new MediaRecorder(new MediaStream([track]), { mimeType: type, videoBitsPerSecond: RECORD_BPS });
    this.stopped = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.recorder.addEventListener("dataavailable", ({ data }) => data.size && this.#queue(data));
  }

  start() {
    this.recorder.start(CHUNK_MS);
  }

  // The consent clip: picture and voice while `said` lasts.
  async sendClip(voice, said) {
    const options = { mimeType: CLIP_TYPES[this.kind], videoBitsPerSecond: CLIP_BPS };
    const recorder = new MediaRecorder(new MediaStream([this.track, voice]), options);
    const whole = new Promise((resolve, reject) => {
      recorder.addEventListener("dataavailable", ({ data }) => resolve(data), { once: true });
      recorder.addEventListener("error", () => reject(new Error("the clip could not be recorded")), { once: true });
    });
    recorder.start();
    await said();
    if (recorder.state !== "inactive") recorder.stop();
    await ask("PUT", `${this.path}/clip`, { body: await whole, type: this.kind });
  }

  #queue(data) {
    const number = this.next++;
    this.sent = this.sent.then(() => this.#send(number, data));
    this.sent.catch((error) => (this.failure ??= error));
  }

  async #send(number, data) {
    for (let tries = 1; ; tries++) {
      try {
        return await ask("PUT", `${this.path}/${number}`, { body: data, type: this.kind });
      } catch (error) {
        const passing = error instanceof Unreachable || error.status === 429 || error.status === 408;
        if (!passing || tries === TRIES) throw error;
        await later(500 * 2 ** tries);
      }
    }
  }

  #stop() {
    if (this.recorder.state === "inactive") return undefined;
    this.recorder.stop();
    return this.stopped;
  }

  // Gives {name, path, bytes} once all of it has arrived.
  async finish() {
    await this.#stop();
    await this.sent;
    return post(`${this.path}/finish`, {});
  }

  async cancel() {
    await this.#stop();
    await this.sent.catch(() => {}); // told already
    await ask("DELETE", this.path).catch(() => {}); // gone already, mostly
  }
}
