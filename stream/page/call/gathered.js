// When an offer may go out: all candidates are known, or those that are known must do.

import { later } from "/common/later.js";

const GATHER_LIMIT_MS = 1500;

export function gathered(peer) {
  const done = new Promise((resolve) => {
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
  return peer.iceGatheringState === "complete" ? null : Promise.race([done, later(GATHER_LIMIT_MS)]);
}
