// One call, over as many connections as it takes: the session is resumed where the server still has it, and
// made anew where not. Knows nothing of the page.

import { Refusal, Unreachable, ask, get, post } from "/common/api.js";
import { Link, NoPath } from "/call/link.js";

const BACK_OFF_MS = [300, 1000, 2000, 4000, 8000, 15_000];
const STOPPING = "the server is stopping"; // the one end that a restart may follow

export class Call {
  // wishes: {mirror, measure, avatar, name, muted, background}, kept up to date by whoever steers
  // on: {media, stats, interrupted, connected(answer), waiting(error or null, seconds), tokenNeeded(text), ended(text)}
  constructor(stream, wishes, on) {
    this.stream = stream;
    this.wishes = wishes;
    this.on = on;
    this.id = null;
    this.link = null;
    this.over = false;
  }

  async run() {
    for (let failures = 0; !this.over; failures++) {
      try {
        await this.#connect();
        failures = 0;
        const reason = await this.link.lost;
        if (reason && reason !== STOPPING) return this.#end(`The server ended the session: ${reason}.`);
        if (!this.over) await this.#pause(null, 0);
      } catch (error) {
        if (this.over) return;
        if (!(await this.#forgive(error, failures))) return;
      } finally {
        this.id ??= this.link?.answer?.id ?? null; // a session that was made and never reached
        this.link?.close();
        this.link = null;
        if (this.over) this.#leave();
      }
    }
  }

  // Whether to go on after this failure; returns when it is time to.
  async #forgive(error, failures) {
    if (error instanceof Refusal) {
      if (error.status === 401) {
        await this.on.tokenNeeded(error.message);
        return true;
      }
      if (error.status === 404 && this.id) {
        this.id = null; // it did not wait any longer: make a new one
        return true;
      }
      if (error.status === 404 && this.wishes.avatar) {
        this.wishes.avatar = null; // a restarted server may have others
        return true;
      }
      if (error.status !== 503 && error.status !== 429) return this.#end(`The server refused: ${error.message}.`);
    } else if (!(error instanceof Unreachable || error instanceof NoPath)) {
      console.error(error);
      return this.#end(`Something failed: ${error.message}`);
    }
    await this.#pause(error, failures);
    return true;
  }

  async #pause(error, failures) {
    const ms = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)] * (0.8 + 0.4 * Math.random());
    this.on.waiting(error, ms / 1000);
    await new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, ms);
    });
  }

  async #connect() {
    const { ice_servers: iceServers } = await get("/api/config"); // anew: credentials of TURN expire
    if (this.over) return;
    this.link = new Link(this.stream, iceServers, this.on);
    const { mirror, measure, avatar, name } = this.wishes;
    const isNew = !this.id;
    const answer = isNew
      ? await this.link.open("/api/sessions", { mirror, measure, ...(avatar && { avatar }), ...(name && { name }) })
      : await this.link.open(`/api/sessions/${this.id}/resume`, {});
    this.id = answer.id;
    if (this.over) return this.#leave();
    if (isNew) await this.#restore(answer, { mirror, avatar });
    this.on.connected(answer);
  }

  // asked: the wishes that went with the offer; what was chosen since then comes after it.
  async #restore(answer, asked) {
    const { avatar, mirror } = this.wishes;
    if (avatar && avatar !== asked.avatar) {
      await this.steer("avatar", { name: avatar });
      answer.avatar = avatar;
    }
    if (mirror !== asked.mirror) await this.steer("mirror", { on: mirror });
    if (this.wishes.muted) await this.steer("mute", { on: true });
    if (this.wishes.background.kind !== "original") await this.setBackground(this.wishes.background);
  }

  async steer(action, body) {
    if (this.id) await post(`/api/sessions/${this.id}/${action}`, body);
  }

  // background: {kind: "original"}, {kind: "color", color} or {kind: "picture", blob}
  async setBackground(background) {
    this.wishes.background = background;
    if (background.kind !== "picture") return this.steer("background", background);
    const { blob } = background;
    if (this.id) await ask("PUT", `/api/sessions/${this.id}/background`, { body: blob, type: blob.type });
  }

  async replaceTrack(kind, track) {
    await this.link?.senders[kind].replaceTrack(track);
  }

  #end(text) {
    this.over = true;
    this.#leave();
    this.on.ended(text);
    return false;
  }

  #leave() {
    this.link?.close();
    if (this.id) ask("DELETE", `/api/sessions/${this.id}`, { keepalive: true }).catch(() => {});
    this.id = null;
  }

  stop() {
    this.over = true;
    this.wake?.();
    this.#leave();
  }
}
