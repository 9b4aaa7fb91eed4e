// What lets this tab take its session up again: the session's id and secret. They outlive the page where that
// crashes, but not the tab. A tab that is duplicated has a copy, so the one that uses them holds a lock.

const KEY = "avatarcast-session";
let held = null; // {id, release()} of the lock

const lockOf = (id) => `avatarcast-session-${id}`;

// {id, secret} of a session that a crashed page of this tab has left, or null.
export async function leftClaim() {
  const claim = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (!claim || !navigator.locks) return null;
  const { held: locks } = await navigator.locks.query();
  return locks.some(({ name }) => name === lockOf(claim.id)) ? null : claim;
}

export function keepClaim({ id, secret }) {
  sessionStorage.setItem(KEY, JSON.stringify({ id, secret }));
  if (held?.id === id) return;
  held?.release();
  held = { id };
  const done = new Promise((resolve) => (held.release = resolve));
  navigator.locks?.request(lockOf(id), () => done);
}

export function dropClaim() {
  if (!held) return;
  sessionStorage.removeItem(KEY);
  held.release();
  held = null;
}
