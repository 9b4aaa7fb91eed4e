// Who drives the avatar: the camera, the voice, or the camera and, where that shows no face, the voice.

import { openCamera } from "/common/devices.js";
import { remember } from "/common/remember.js";

const SECOND_BEST = "Lips from a voice are second best.";
export const VOICE_WORDS = {
  voice: `Your voice drives the avatar; the camera is off. ${SECOND_BEST}`,
  both: `No face is seen, so your voice drives the avatar until there is one. ${SECOND_BEST}`,
};

const WHOSE_WORDS = {
  refused: "This is not the voice of the avatar's person, so it does not move the mouth.",
  unknown: "The mouth waits until the voice is known to be the avatar's person's: speak for some seconds.",
  other: "This does not sound like the voice of the avatar's person.",
};

const HELPED = 0.3; // share of the voice in the lips from which it is said

// What the server says of lips that the camera sees badly.
export const lipsWords = ({ lips_by_voice: share }) =>
  share >= HELPED ? "Your lips are badly seen, so your voice helps them: more light on the face, or nothing before it." : "";

// What the server says of whose voice it is, in a line.
export function whoseWords({ voice_is: whose, voice_refused: refused }) {
  if (whose === "other") return refused ? WHOSE_WORDS.refused : WHOSE_WORDS.other;
  return refused ? WHOSE_WORDS.unknown : "";
}

// page: {wishes, theCall(), attempt(what, undo), take(kind, track or null)}
export function wireDriver({ wishes, theCall, attempt, take }) {
  const choices = [...document.getElementsByName("driver")];
  const onlyOwn = document.getElementById("only-own-voice");
  const show = () => {
    for (const choice of choices) choice.checked = choice.value === wishes.driver;
    onlyOwn.checked = wishes.onlyOwnVoice;
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
  onlyOwn.addEventListener("change", () => {
    wishes.onlyOwnVoice = onlyOwn.checked;
    attempt(
      async () => {
        await theCall()?.steer("driver", { driver: wishes.driver, only_own_voice: wishes.onlyOwnVoice });
        remember("only-own-voice", wishes.onlyOwnVoice);
      },
      () => {
        wishes.onlyOwnVoice = !wishes.onlyOwnVoice;
        show();
      },
    );
  });
  show();
  return (driver) => choose(driver).then(show);
}
