// The panel that adds to what the avatar's face does: where it looks.

import { byId } from "/common/dom.js";
import { remember } from "/common/remember.js";

// page: {wishes, theCall(), attempt(what, undo)}
export function wireExpression({ wishes, theCall, attempt }) {
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
