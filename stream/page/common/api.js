// The server's HTTP API: the token, JSON both ways, refusals as errors whose message may be shown.

const TOKEN_KEY = "avatarcast-token";

export class UserError extends Error {} // its message is meant for the person in front of the screen

// What to show of an error; one that was not thought of is for the console too.
export function textOf(error) {
  if (!(error instanceof UserError)) console.error(error);
  return error.message;
}

export class Unreachable extends UserError {
  constructor() {
    super("The server does not answer. Is it still running?");
  }
}

export class Refusal extends UserError {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// The token comes in the address's fragment, which is never sent, and leaves the address bar at once.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  keepToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const keepToken = (token) => sessionStorage.setItem(TOKEN_KEY, token);
export const token = () => sessionStorage.getItem(TOKEN_KEY) ?? "";

export async function ask(method, path, { body, type, keepalive } = {}) {
  const headers = type ? { "Content-Type": type } : {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body, keepalive });
  } catch {
    throw new Unreachable();
  }
  if (response.ok) return response;
  const reply = await response.json().catch(() => ({}));
  throw new Refusal(response.status, reply.error ?? `the server answered with status ${response.status}`);
}

export const get = async (path) => (await ask("GET", path)).json();
export const post = async (path, body) =>
  (await ask("POST", path, { body: JSON.stringify(body), type: "application/json" })).json();

// An <img> cannot send the token, so a picture is fetched and shown from memory.
export async function pictureUrl(path) {
  return URL.createObjectURL(await (await ask("GET", path)).blob());
}
