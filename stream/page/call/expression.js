// The panel that adds to what the avatar's face does: where it looks, and what it feels.

import { byId, setText } from "/common/dom.js";
import { remember } from "/common/remember.js";

const EMOTIONS = ["happy", "sad", "angry", "afraid", "disgusted", "surprised"]; // keys 2 to 7; 1 is neutral
const ALONE = 0.7; // strength of an emotion that a key asks for

function wireEyeContact({ wishes, theCall, attempt }) {
  const box = byId("eye-contact");
  box.checked = wishes.eyeContact;
  box.addEventListener("change", () => {
    const on = (wishes.eyeContact = box.checked);
    attempt(
      async () => {
        await theCall()?.steer("eye-contact", { on });
        remember("eye-contact", on);
      },
      () => (box.checked = wishes.eyeContact = !on),
    );
  });
}

function wireEmotions({ wishes, theCall, attempt }) {
  const sliders = EMOTIONS.map((emotion) => {
    const label = document.createElement("label");
    const slider = document.createElement("input");
    label.className = "row";
    label.append(emotion[0].toUpperCase() + emotion.slice(1), slider);
    Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: 0, id: `emotion-${emotion}` });
    slider.addEventListener("input", () => feel({ ...wishes.emotion, [emotion]: Number(slider.value) }));
    byId("emotions").append(label);
    return slider;
  });
  let asking = false;
  // One request at a time: a slider moves faster than they are answered.
  async function send() {
    if (asking) return;
    asking = true;
    for (let sent = null; sent !== wishes.emotion; ) {
      sent = wishes.emotion;
      await attempt(() => theCall()?.steer("emotion", { strengths: sent }));
    }
    asking = false;
  }
  function feel(strengths) {
    wishes.emotion = Object.fromEntries(Object.entries(strengths).filter(([, strength]) => strength > 0));
    EMOTIONS.forEach((emotion, number) => (sliders[number].value = wishes.emotion[emotion] ?? 0));
    setText("emotion-understood", "");
    send();
  }
  document.addEventListener("keydown", ({ key, target, ctrlKey, metaKey, altKey }) => {
    const number = Number(key) - 1;
    const writes = target.matches?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea");
    if (writes || ctrlKey || metaKey || altKey || !(number >= 0 && number <= EMOTIONS.length)) return;
    feel(number ? { [EMOTIONS[number - 1]]: ALONE } : {});
  });
  const text = byId("emotion-text");
  text.addEventListener("change", () =>
    attempt(async () => {
      if (!text.value.trim()) return feel({});
      const answer = await theCall()?.steer("emotion", { text: text.value });
      setText("emotion-understood", answer ? answer.understood.join("; ") : "Press Start first.");
    }),
  );
}

// page: {wishes, theCall(), attempt(what, undo)}
export function wireExpression(page) {
  wireEyeContact(page);
  wireEmotions(page);
}
