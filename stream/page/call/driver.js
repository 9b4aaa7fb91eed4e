// Who drives the avatar: the camera, the voice, or the camera and, where that shows no face, the voice.

import { openCamera } from "/common/devices.js";
import { remember } from "/common/remember.js";

const SECOND_BEST = "Lips from a voice are second best.";
export const VOICE_WORDS = {
  voice: `Your voice drives the avatar; the camera is off. ${SECOND_BEST}`,
  both: `No face is seen, so your voice drives the avatar until there is one. ${SECOND_BEST}`,
};

// page: {wishes, theCall(), attempt(what, undo), take(kind, track or null)}
export function wireDriver({ wishes, theCall, attempt, take }) {
  const choices = [...document.getElementsByName("driver")];
  const show = () => {
    for (const choice of choices) choice.checked = choice.value === wishes.driver;
  };
  const choose = (driver) => {
    const before = wishes.driver;
    wishes.driver = driver;
    return attempt(
      async () => {
        const call = theCall();
        const has = Boolean(call?.stream.getVideoTracks().length);
        if (call && driver !== "voice" && !has) await take("video", (await openCamera()).getVideoTracks()[0]);
        await call?.steer("driver", { driver });
        if (driver === "voice" && has) await take("video", null);
        remember("driver", driver);
      },
      () => {
        wishes.driver = before;
        show();
      },
    );
  };
  for (const choice of choices) choice.addEventListener("change", () => choose(choice.value));
  show();
  return (driver) => choose(driver).then(show);
}
