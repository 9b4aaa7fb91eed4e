// Sends a file to the server and shows by which layers it says what made it.

import { ask, takeToken, textOf } from "/common/api.js";
import { byId, element, fill, setText } from "/common/dom.js";

takeToken();

function layerLine({ name, state, words, certainty }) {
  const line = element("li", { textContent: `${name}: ${state}. ${words}` });
  if (certainty) line.append(element("div", { className: "certainty", textContent: certainty }));
  return line;
}

function show(verdict, layers = [], caveat = "") {
  setText("verdict", verdict);
  fill("layers", layers, layerLine);
  setText("caveat", caveat);
}

byId("file").addEventListener("change", async () => {
  const [file] = byId("file").files;
  if (!file) return;
  show("Looking…");
  try {
    const type = file.type || "application/octet-stream";
    const found = await (await ask("POST", "/api/verify", { body: file, type })).json();
    show(`${file.name}: ${found.kind}, ${found.verdict}`, found.layers, found.caveat);
  } catch (error) {
    show(textOf(error));
  }
});
