// The panels beside the picture: background, devices, the name of the view. Each holds for the call that is
// on, if one is, and for the next.

import { asJpeg } from "/common/capture.js";
import { NO_MICROPHONE, listDevices, openCamera, openMicrophone } from "/common/devices.js";
import { byId } from "/common/dom.js";
import { remember, remembered } from "/common/remember.js";

const FROM_ELSEWHERE = " If the avatar sits askew, as it sees you from elsewhere: Calibrate.";

function wireBackground({ wishes, theCall, attempt, hint }) {
  let jpeg = null;
  const choices = [...document.getElementsByName("background")];
  const set = async (background) => {
    wishes.background = background;
    await theCall()?.setBackground(background);
  };
  const apply = (kind) => {
    byId("color-row").hidden = kind !== "color";
    byId("picture-row").hidden = kind !== "picture";
    const before = wishes.background;
    const undo = () => {
      wishes.background = before;
      for (const choice of choices) choice.checked = choice.value === before.kind;
    };
    if (kind === "original") attempt(() => set({ kind }), undo);
    else if (kind === "color") attempt(() => set({ kind, color: byId("color").value }), undo);
    else if (jpeg) attempt(() => set({ kind, blob: jpeg }), undo);
    else hint("Choose a picture to put behind the avatar.");
  };
  for (const choice of choices) choice.addEventListener("change", () => apply(choice.value));
  byId("color").addEventListener("change", () => apply("color"));
  byId("picture").addEventListener("change", () =>
    attempt(async () => {
      const [file] = byId("picture").files;
      if (!file) return;
      jpeg = await asJpeg(file);
      apply("picture");
    }),
  );
}

let frameShown = "auto";

export function showFrame(frame) {
  const select = byId("frame");
  frameShown = frame;
  if (![...select.options].some(({ value }) => value === frame)) select.add(new Option(frame, frame)); // the server's own
  select.value = frame;
}

function wireFrame({ wishes, theCall, attempt }) {
  const select = byId("frame");
  select.addEventListener("change", () => {
    const [before, shown] = [wishes.frame, frameShown];
    wishes.frame = frameShown = select.value;
    attempt(
      async () => {
        await theCall()?.steer("frame", { frame: wishes.frame });
        remember("frame", wishes.frame);
      },
      () => {
        wishes.frame = before;
        showFrame(shown);
      },
    );
  });
}

function wireDevices({ theCall, attempt, hint, take }) {
  const [cameras, microphones] = [byId("camera"), byId("microphone")];
  const list = () => listDevices(cameras, microphones, theCall()?.stream);
  const swap = (select, kind, open, advice = "") => {
    const before = remembered(select.id, "");
    remember(select.id, select.value);
    const undo = () => {
      remember(select.id, before);
      list();
    };
    return attempt(async () => {
      const call = theCall();
      if (!call) return;
      const track = open && (await open()).getTracks()[0];
      if (theCall() !== call) return track?.stop();
      await take(kind, track);
      hint(`${select.selectedOptions[0].text} is used now.${advice}`);
    }, undo);
  };
  cameras.addEventListener("change", () => swap(cameras, "video", openCamera, FROM_ELSEWHERE));
  microphones.addEventListener("change", () =>
    swap(microphones, "audio", microphones.value === NO_MICROPHONE ? null : openMicrophone),
  );
  navigator.mediaDevices?.addEventListener("devicechange", list);
  list();
}

function wireViewName({ wishes }) {
  const field = byId("view-name");
  field.value = wishes.name;
  field.addEventListener("change", () => {
    field.value = field.value.replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, 40);
    wishes.name = field.value;
    remember("view-name", field.value);
  });
}

// page: {wishes, theCall(), attempt(what, undo), hint(text), take(kind, track or null)}
export function wireSettings(page) {
  wireBackground(page);
  wireFrame(page);
  wireDevices(page);
  wireViewName(page);
}
