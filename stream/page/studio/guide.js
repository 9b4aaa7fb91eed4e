// Leads through a recording: one prompt after another, those that were missed once more, then the closing ones.

import { later } from "/common/later.js";

const TICK_MS = 100;
const COUNT_FROM = 3;
const AGAIN_LIMIT_S = 25; // what asking again may add in all

export const isDone = ({ states }, seen) => states.every((state) => seen[state] === 1);

// Which hand to show, while hands are asked for.
export const handHints = (prompt, seen) =>
  ["left", "right"]
    .filter((side) => prompt?.states.includes(`${side}_hand`) && seen[`${side}_hand`] === 0)
    .map((side) => `Your ${side} hand is not seen: hold it higher, beside your face.`);

export class Guide {
  // script: {asked, closing}; on: {count(number), prompt(prompt, left_s, isAgain), seen() -> state: 0..1}
  constructor(script, on) {
    this.script = script;
    this.on = on;
    this.stopped = false;
  }

  async count() {
    for (let number = COUNT_FROM; number > 0 && !this.stopped; number--) {
      this.on.count(number);
      await this.#wait(1, () => {});
    }
  }

  // Before all else, and never asked again.
  say(prompt) {
    return this.#show(prompt, false);
  }

  // Gives the prompts that were missed to the end; null where it was stopped.
  async run() {
    const { asked, closing } = this.script;
    for (const prompt of asked) await this.#show(prompt, false);
    const missed = () => asked.filter((prompt) => !isDone(prompt, this.on.seen()));
    let room = AGAIN_LIMIT_S;
    for (const prompt of missed()) {
      room -= prompt.seconds;
      if (room >= 0 && !isDone(prompt, this.on.seen())) await this.#show(prompt, true);
    }
    for (const prompt of closing) await this.#show(prompt, false);
    return this.stopped ? null : missed();
  }

  #show(prompt, isAgain) {
    return this.#wait(prompt.seconds, (left) => this.on.prompt(prompt, left, isAgain));
  }

  async #wait(seconds, tick) {
    const end = performance.now() + 1000 * seconds;
    for (let left; !this.stopped && (left = end - performance.now()) > 0; ) {
      tick(left / 1000);
      await later(Math.min(TICK_MS, left));
    }
  }

  stop() {
    this.stopped = true;
  }
}
