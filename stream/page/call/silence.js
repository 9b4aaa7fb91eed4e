// How long a server may not be heard until its connection is given up. It speaks twice a second; when it has not for a
// while, the one that answers HTTP is asked whether the session goes on: that one knows of a machine that is gone.
// A network that falters for a moment, or a busy server, is no reason to begin again.

import { Refusal, get } from "/common/api.js";

const ASK_AFTER_S = 1.2; // two words are missing
const ASK_PERIOD_S = 1;
const LIMIT_S = 6; // whatever is answered
const GONE = [404, 502, 503, 504]; // no such session; or nobody behind the one that answers

// Whether the session goes on; null: nobody says.
export async function goesOn(id) {
  try {
    await get(`/api/sessions/${id}`);
    return true;
  } catch (error) {
    return error instanceof Refusal && GONE.includes(error.status) ? false : null;
  }
}

export class Silence {
  // ask: gives a promise as goesOn does; lose: the connection is given up
  constructor(ask, lose) {
    this.ask = ask;
    this.lose = lose;
    this.end();
  }

  // The server was heard.
  end() {
    this.forS = 0;
    this.askAtS = ASK_AFTER_S;
  }

  // So many seconds more without a word.
  async pass(seconds) {
    this.forS += seconds;
    if (this.forS > LIMIT_S) return this.lose();
    if (this.forS < this.askAtS || this.asking) return;
    this.asking = true;
    this.askAtS = this.forS + ASK_PERIOD_S;
    const gone = (await this.ask()) === false;
    this.asking = false;
    if (gone && this.forS >= ASK_AFTER_S) this.lose();
  }
}
