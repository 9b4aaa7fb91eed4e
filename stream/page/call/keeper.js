// Keeps a call's camera, or its microphone, over its gaps: pulled out, taken by another program, silent. The
// call goes on meanwhile, and the same device is taken up again as soon as it is there.

import { openAgain } from "/common/devices.js";

const LOOK_MS = 1000;
const SILENT_MS = 1500; // a track that gives nothing for so long is told

export class Keeper {
  // on: {take(track), changed(words, label), refused(text)}; changed gets "" when the device is back
  constructor(on) {
    this.on = on;
    this.words = ""; // what is wrong, for the person
    this.track = null;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.look());
  }

  // This track is in use from now on; null: none is.
  watch(track) {
    this.track = track;
    this.lost = null; // {kind, id, label} of a device that is gone
    clearInterval(this.timer);
    this.#say("");
    if (!track) return;
    track.addEventListener("ended", () => track === this.track && this.lose());
    if (track.kind === "audio") return; // it is muted wherever the person likes
    for (const event of ["mute", "unmute"]) track.addEventListener(event, () => this.#hear(track));
  }

  lose() {
    const { kind, label } = this.track;
    this.lost = { kind, label, id: this.track.getSettings().deviceId };
    this.#say(
      `${label || "The device"} was unplugged or taken by another program. The call waits for it; you may choose another one.`,
    );
    clearInterval(this.timer);
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.look();
  }

  // Takes the device up again if it is there.
  async look() {
    const { lost } = this;
    if (!lost || this.looking) return;
    this.looking = true;
    try {
      const track = await openAgain(lost);
      if (track && this.lost === lost) await this.on.take(track);
      else track?.stop();
    } catch (error) {
      this.watch(null);
      this.on.refused(error.message);
    } finally {
      this.looking = false;
    }
  }

  // Resolves once nothing is wrong.
  async ready() {
    while (this.words) await new Promise((resolve) => (this.settled = resolve));
  }

  #hear(track) {
    clearTimeout(this.silence);
    if (track !== this.track || this.lost) return;
    if (!track.muted) return this.#say("");
    const words = `${track.label} sends no picture. Is it shut, or used by another program? The call waits for it.`;
    this.silence = setTimeout(() => track === this.track && !this.lost && this.#say(words), SILENT_MS);
  }

  #say(words) {
    if (words === this.words) return;
    this.words = words;
    if (!words) this.settled?.();
    if (this.track) this.on.changed(words, this.track.label);
  }
}
