// Calibration as the person meets it: three, two, one, hold still, and whether it worked.

import { later } from "/common/later.js";

const COUNT_FROM = 3;
const START_LIMIT_MS = 4000; // until the server says that it calibrates
const DONE_LIMIT_MS = 10_000; // until it says that it has

const NO_FACE = "Calibration does not end: no face is seen. Face the camera in good light and try again.";

export class Calibration {
  // show(number or "", text): the overlay; begin(): asks the server
  constructor(show, begin) {
    this.show = show;
    this.begin = begin;
    this.settle = null;
  }

  // Gives the words for how it went; null where the call ended meanwhile.
  async run() {
    this.stopped = false;
    for (let number = COUNT_FROM; number > 0; number--) {
      this.show(number, "Look at the camera, mouth shut");
      await later(1000);
      if (this.stopped) return null;
    }
    this.show("", "Hold still");
    this.began = false;
    const outcome = new Promise((resolve) => (this.settle = resolve));
    await this.begin();
    setTimeout(() => !this.began && this.settle("The server did not start to calibrate. Try again."), START_LIMIT_MS);
    setTimeout(() => this.settle(NO_FACE), DONE_LIMIT_MS);
    return outcome;
  }

  stop() {
    this.stopped = true;
    this.settle?.(null);
  }

  onStats({ calibrating, face_found: faceFound }) {
    if (!this.settle) return;
    if (calibrating) this.began = true;
    else if (this.began && faceFound) this.settle("Calibrated: the avatar takes this for your resting face.");
  }
}
