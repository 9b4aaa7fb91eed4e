// What somebody says to the presenter goes to the server too, and nobody hears it there: where the presenter's voice
// drives, the avatar listens to it. Says whose turn it is, as the server tells.

import { UserError } from "/common/api.js";
import { byId, setText } from "/common/dom.js";

const NOBODY = "nobody";
const TAB = "tab"; // all others are devices
const HEARD_AS_IT_IS = { echoCancellation: false }; // or a call's sound would be taken for an echo of it
const WORDS = { speaks: "Speaks", listens: "Listens", idles: "Idle" };
const NO_SOUND = "No sound came with it. Share a tab, with its sound; or choose a device that carries the call's sound.";
const NEEDS_VOICE = "The avatar will listen where your voice drives it: choose Voice, or Both.";

async function openTab() {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new UserError("This browser cannot share a tab. Choose a device.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: HEARD_AS_IT_IS });
  } catch (error) {
    throw new UserError(error.name === "NotAllowedError" ? "Nothing was shared." : `Nothing can be shared (${error.name}).`);
  }
  for (const track of stream.getVideoTracks()) track.stop(); // a browser gives no sound without it
  const [track] = stream.getAudioTracks();
  if (!track) throw new UserError(NO_SOUND);
  return track;
}

async function openDevice(deviceId) {
  try {
    const wanted = { audio: { deviceId: { exact: deviceId }, ...HEARD_AS_IT_IS } };
    return (await navigator.mediaDevices.getUserMedia(wanted)).getAudioTracks()[0];
  } catch (error) {
    throw new UserError(`This device cannot be used (${error.name}). Choose another one.`);
  }
}

// page: {wishes, theCall(), attempt(what, undo), hint(text)}
// Gives {onStats(message or null), onCall(on)}: the server's last word; whether there is a call.
export function wireOther({ wishes, theCall, attempt, hint }) {
  const [select, badge] = [byId("other"), byId("conversation")];
  let chosen = NOBODY;

  async function list() {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const devices = all.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
    const options = devices.map(({ deviceId, label }, index) => new Option(label || `Device ${index + 1}`, deviceId));
    const group = document.createElement("optgroup");
    group.label = "Devices";
    group.append(...options);
    select.replaceChildren(new Option("Nobody", NOBODY), new Option("A tab's sound …", TAB), group);
    show(chosen);
  }

  function show(value) {
    chosen = value;
    select.value = value;
    if (select.selectedIndex < 0) select.value = NOBODY; // a device that is gone
    if (value === NOBODY) badge.hidden = true;
  }

  async function choose(value) {
    const before = chosen;
    await attempt(
      async () => {
        const call = theCall();
        if (!call) return show(NOBODY);
        const track = value === NOBODY ? null : await (value === TAB ? openTab() : openDevice(value));
        if (theCall() !== call) return track?.stop();
        track?.addEventListener("ended", () => call.other === track && end());
        await call.hear(track);
        show(value);
        if (track && wishes.driver === "camera") hint(NEEDS_VOICE);
      },
      () => show(before),
    );
  }

  function end() {
    hint("The other's sound has ended.");
    return choose(NOBODY);
  }

  select.addEventListener("change", () => choose(select.value));
  navigator.mediaDevices?.addEventListener("devicechange", list);
  list();
  return {
    onStats(message) {
      const word = chosen === NOBODY ? undefined : WORDS[message?.conversation];
      badge.hidden = !word;
      if (word) setText("conversation", word);
    },
    onCall(on) {
      select.disabled = !on;
      if (on) list();
      else show(NOBODY);
    },
  };
}
