// Addresses that let others do one thing: made, listed and revoked by whoever operates the server.

import { ask, get, post } from "/common/api.js";
import { byId, fill, fromTemplate } from "/common/dom.js";

const WORDS = { present: "present", watch: "watch", studio: "make avatars", operate: "operate" };

function describe({ rights, scope, expires }) {
  const until = new Date(expires * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return `${rights.map((right) => WORDS[right]).join(" and ")}${scope && `, ${scope}`}, until ${until}`;
}

// page: {attempt(what), hint(text)}
export class AccessPanel {
  constructor(page) {
    this.page = page;
    const on = (id, event, what) => byId(id).addEventListener(event, () => page.attempt(what));
    byId("access-form").addEventListener("submit", (event) => {
      event.preventDefault();
      page.attempt(() => this.#make());
    });
    byId("access-right").addEventListener("change", () => this.#ask());
    on("access", "toggle", () => this.#list());
    on("access-copy", "click", async () => {
      await navigator.clipboard.writeText(byId("access-link").value);
      page.hint("Copied. It opens what it says for whoever has it: pass it on with care.");
    });
    on("access-revoke-all", "click", async () => {
      await ask("DELETE", "/api/tokens");
      page.hint("All are revoked, also the addresses of sessions. Whoever came by them is cut off.");
      await this.#list();
    });
    this.#ask();
  }

  show(rights) {
    byId("access").hidden = !rights.includes("operate");
  }

  // What is watched has a name; whoever presents may choose one.
  #ask() {
    byId("access-name").required = byId("access-right").value === "watch";
  }

  async #make() {
    const rights = byId("access-right").value.split(" ");
    const [scope, hours] = [byId("access-name").value, Number(byId("access-hours").value)];
    const made = await post("/api/tokens", { rights, scope, hours });
    const path = rights[0] === "watch" ? `/view/${scope}` : "/";
    byId("access-made").hidden = false;
    byId("access-link").value = `${location.origin}${path}#token=${made.token}`;
    await this.#list();
  }

  async #list() {
    const { tokens } = await get("/api/tokens");
    fill("access-list", tokens, (token) => this.#entry(token));
    byId("access-none").hidden = tokens.length > 0;
  }

  #entry(token) {
    const entry = fromTemplate("access-entry");
    entry.querySelector("span").textContent = describe(token);
    entry.querySelector("button").addEventListener("click", () =>
      this.page.attempt(async () => {
        await ask("DELETE", `/api/tokens/${token.id}`);
        byId("access-made").hidden = true;
        await this.#list();
      }),
    );
    return entry;
  }
}
