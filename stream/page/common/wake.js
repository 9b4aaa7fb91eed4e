// Tells when this page goes on after the machine slept or the browser was stopped: timers stood still, and the
// clock did not. performance.now() tells nothing, as on some systems it stands still too.

const TICK_MS = 500;
const ASLEEP_MS = 3000; // background tabs have their timers once a second

// what: also called when a network is there again
export function onWake(what) {
  let before = Date.now();
  setInterval(() => {
    const slept = Date.now() - before > ASLEEP_MS;
    before = Date.now();
    if (slept) what();
  }, TICK_MS);
  addEventListener("online", what);
}
