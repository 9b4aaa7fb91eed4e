// One call, over as many connections as it takes: the session is resumed where the server still has it, and
// made anew where not.

import { Refusal, Unreachable, ask, get, post } from "/common/api.js";
import { dropClaim, keepClaim, leftClaim } from "/call/claim.js";
import { Link, NoPath } from "/call/link.js";

const BACK_OFF_MS = [300, 1000, 2000, 4000, 8000, 15_000];
const STOPPING = "the server is stopping"; // the one end that a restart may follow

export class Call {
  // wishes: {mirror, measure, avatar, name, muted, background, frame, eyeContact, emotion, driver, onlyOwnVoice}, kept up to
  // date by whoever steers
  // on: {media, stats, interrupted, connected(answer, renewed), waiting(error or null, seconds),
  //      tokenNeeded(text), ended(text), camera() -> its Keeper}; renewed: the session before is gone, and what it
  //      was calibrated to
  constructor(stream, wishes, on) {
    this.stream = stream;
    this.other = null; // the track of what somebody says to the presenter
    this.wishes = wishes;
    this.on = on;
    this.id = null;
    this.secret = ""; // takes the session, or its name, up again
    this.link = null;
    this.over = false;
    this.last = null; // the id of the session that there was
  }

  async run() {
    const left = await leftClaim();
    if (left) [this.id, this.secret] = [left.id, left.secret];
    this.isNew = true; // to this page, whose choices it does not have yet
    for (let failures = 0; !this.over; failures++) {
      try {
        await this.on.camera().ready(); // without it there is nothing to send
        if (this.over) return;
        await this.#connect();
        failures = 0;
        const reason = await this.link.lost;
        if (reason && reason !== STOPPING) {
          const waits = this.on.camera().words; // longer than the server: the next session is a new one
          if (!waits) return this.#end(`The server ended the session: ${reason}.`);
        }
        if (!this.over) await this.#pause(null, 0);
      } catch (error) {
        if (this.over) return;
        if (!(await this.#forgive(error, failures))) return;
      } finally {
        if (this.link?.answer) this.#claim(this.link.answer); // also of a session that was made and never reached
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
      if ((error.status === 404 || error.status === 403) && this.id) {
        this.id = null; // it did not wait any longer, or is not ours: make a new one
        this.isNew = true;
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
    this.link = new Link(this.stream, this.other, iceServers, this.on);
    const { mirror, measure, avatar, name, driver } = this.wishes;
    const { secret } = this;
    const asked = this.id ? {} : { mirror, avatar, driver, muted: false, background: "original" };
    const answer = this.id
      ? await this.link.open(`/api/sessions/${this.id}/resume`, { secret })
      : await this.link.open("/api/sessions", {
          mirror,
          measure,
          driver,
          secret,
          ...(avatar && { avatar }),
          ...(name && { name }),
        });
    const renewed = this.last !== null && this.last !== answer.id;
    this.last = answer.id;
    this.#claim(answer);
    if (this.over) return this.#leave();
    if (this.isNew) await this.#restore(answer, asked);
    this.isNew = false;
    this.on.connected(answer, renewed);
  }

  #claim({ id, secret }) {
    [this.id, this.secret] = [id, secret];
    keepClaim(this);
  }

  // asked: what the session was begun with; what was chosen since then comes after it.
  async #restore(answer, asked) {
    const { avatar, mirror, muted, background, frame, eyeContact, emotion, driver, onlyOwnVoice } = this.wishes;
    if (avatar && avatar !== (asked.avatar ?? answer.avatar)) {
      await this.steer("avatar", { name: avatar });
      answer.avatar = avatar;
    }
    if (mirror !== asked.mirror) await this.steer("mirror", { on: mirror });
    if (muted !== asked.muted) await this.steer("mute", { on: muted });
    if (Object.keys(emotion).length) await this.steer("emotion", { strengths: emotion });
    if (driver !== asked.driver || onlyOwnVoice) await this.steer("driver", { driver, only_own_voice: onlyOwnVoice });
    if (eyeContact) await this.steer("eye-contact", { on: true });
    if (frame) await this.steer("frame", { frame });
    if (background.kind !== asked.background) await this.setBackground(background);
  }

  async steer(action, body) {
    if (this.id) return post(`/api/sessions/${this.id}/${action}`, body);
  }

  // background: {kind: "original"}, {kind: "color", color} or {kind: "picture", blob}
  async setBackground(background) {
    this.wishes.background = background;
    if (background.kind !== "picture") return this.steer("background", background);
    const { blob } = background;
    if (this.id) await ask("PUT", `/api/sessions/${this.id}/background`, { body: blob, type: blob.type });
  }

  // Puts a track in the place of the one in use; null takes that away.
  async exchange(kind, track) {
    const old = this.stream.getTracks().find((one) => one.kind === kind);
    if (old) this.stream.removeTrack(old);
    if (track) this.stream.addTrack(track);
    const { link } = this;
    try {
      await link?.senders[kind].replaceTrack(track);
    } catch (error) {
      if (link === this.link) throw error; // else the next connection begins with it
    }
    old?.stop();
  }

  // What somebody says to the presenter comes by this track; null: nobody does.
  async hear(track) {
    const [old, { link }] = [this.other, this];
    this.other = track;
    try {
      await link?.senders.other.replaceTrack(track);
    } catch (error) {
      if (link === this.link) throw error; // else the next connection begins with it
    }
    old?.stop();
  }

  get tracks() {
    return [...this.stream.getTracks(), ...(this.other ? [this.other] : [])];
  }

  // This machine may have slept: does the connection still stand?
  check() {
    this.link?.check();
    this.wake?.();
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
    dropClaim();
  }

  stop() {
    this.over = true;
    this.wake?.();
    this.#leave();
  }
}
