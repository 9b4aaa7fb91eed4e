// Make my avatar: consent, the guided recording, the training, and the avatar that comes of it.

import { UserError, ask, get, pictureUrl, post, textOf } from "/common/api.js";
import { setFilming } from "/common/devices.js";
import { byId, element, fill, fromTemplate, onClick, setText } from "/common/dom.js";
import { Guide, handHints, isDone } from "/studio/guide.js";
import { STAGES, leftWords, megabytes, share } from "/studio/job_words.js";
import { Upload } from "/studio/upload.js";

const POLL_MS = 1000;
const PRINT_AGREED = "; a voice print of mine is kept in it, by which another voice is noticed"; // as the server looks for it
const STEPS = ["consent", "record", "taken", "done"]; // those of the list at the top; "job" is the third as well
const READY = "Sit so that your shoulders and your raised hands are in the picture, with light on your face.";

export class Studio {
  // page: {theCall(), start(), stop(), byCamera(), trouble(), reload(), forgotten(name), drive(name)}
  constructor(page) {
    this.page = page;
    this.step = "consent";
    this.status = null; // the server's last word
    this.take = null; // {name, path, bytes}
    this.#forgetCamera();
    this.#wire();
  }

  #wire() {
    const on = (id, what) => onClick(id, () => this.#attempt(what));
    on("make-avatar", () => this.open());
    on("studio-close", () => this.#close());
    byId("studio").addEventListener("cancel", (event) => {
      event.preventDefault(); // Escape: as Close, but it must not throw away what is being recorded
      if (!this.guide) this.#close();
    });
    byId("consent-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(() => this.#openCamera());
    });
    on("guide-back", () => (this.guide ? this.guide.stop() : this.#leaveCamera("consent")));
    on("guide-start", () => this.#record());
    for (const id of ["taken-again", "job-again"]) on(id, () => this.#show("consent"));
    for (const id of ["taken-delete", "job-delete", "done-delete"]) on(id, () => this.#delete(this.take.name));
    on("taken-train", () => this.#train());
    on("job-resume", () => this.#train());
    on("job-cancel", () => ask("DELETE", "/api/studio/job"));
    on("forget-no", () => byId("forget-box").close());
    on("forget-yes", () => this.#forget());
    on("done-drive", async () => {
      byId("studio").close();
      await this.page.drive(this.status.job.avatar);
    });
  }

  // After the page was loaded: a training that runs is shown, and when it is done, its avatar.
  async resume() {
    byId("make-avatar").hidden = false;
    await this.#refresh();
  }

  // For a call beside a training: it has the lower priority, but the same processor.
  words() {
    return this.status?.job?.state === "running" ? "An avatar is being made meanwhile: pictures may come slower." : "";
  }

  async open() {
    await this.#refresh();
    byId("studio").showModal();
    const { job, takes } = this.status;
    const isOpen = job && job.state !== "done" && takes.some(({ name, avatar }) => name === job.take && !avatar);
    this.#show(isOpen ? "job" : "consent");
  }

  async #refresh() {
    clearTimeout(this.timer);
    const before = this.status?.job?.state;
    try {
      this.status = await get("/api/studio");
      if (before === "running") this.#notice(""); // of a server that did not answer
    } finally {
      if (before === "running" || this.status?.job?.state === "running") {
        this.timer = setTimeout(() => this.#refresh().catch((error) => this.#tell(error)), POLL_MS);
      }
    }
    const { job } = this.status;
    setText("make-avatar", job?.state === "running" ? `Making your avatar: ${share(job)}` : "Make my avatar");
    if (before === "running" && job.state !== "running") {
      clearTimeout(this.timer);
      if (job.state === "done") await this.page.reload();
      if (this.step === "job") this.#show(job.state === "done" ? "done" : "job");
    } else if (this.step === "job") this.#showJob();
  }

  async #attempt(what) {
    this.#notice("");
    try {
      await what();
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error) {
    this.#notice(textOf(error));
  }

  #notice(text) {
    setText("studio-notice", text);
    byId("studio-notice").hidden = !text;
  }

  #show(step) {
    this.step = step;
    for (const section of document.querySelectorAll("[data-step]")) section.hidden = section.dataset.step !== step;
    const at = step === "job" ? 2 : STEPS.indexOf(step);
    for (const [index, item] of [...byId("studio-steps").children].entries()) {
      item.toggleAttribute("data-past", index < at);
      if (index === at) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
    if (step === "consent") this.#showConsent();
    if (step === "record") this.#showReady();
    if (step === "taken") this.#showTaken();
    if (step === "job") this.#showJob();
    if (step === "done") this.#showDone();
    const section = document.querySelector(`[data-step="${step}"]`);
    section.querySelector("input:not([type=radio]), button.primary:not([hidden], :disabled)")?.focus();
  }

  async #close() {
    if (this.step === "record") await this.#leaveCamera("consent");
    byId("studio").close();
  }

  // --- consent, and what was recorded before

  #showConsent() {
    const { script, local, folder, missing, takes, avatars } = this.status;
    const all = [...script.asked, ...script.closing];
    setText("script-seconds", String(Math.round(all.reduce((sum, { seconds }) => sum + seconds, script.consent_s))));
    const where = local
      ? `The recording stays on this computer, in ${folder}.`
      : `The recording goes to the server ${location.host} and lies there, in ${folder}: whoever runs that server has it.`;
    setText("studio-where", where);
    byId("to-camera").disabled = Boolean(missing);
    this.#notice(missing ? `${missing}.` : "");
    byId("takes").hidden = !takes.length;
    fill("take-list", takes, (take) => this.#takeLine(take));
    byId("made").hidden = !avatars.length;
    const remove = (name) => ["Delete", () => this.#askToForget(name), "Delete the avatar"];
    fill("made-list", avatars, (name) => this.#line(name, [remove(name)]));
  }

  #takeLine(take) {
    const words = take.avatar ? "its avatar is made" : take.unfinished ? "begun" : "not yet used";
    const remove = ["Delete", () => this.#delete(take.name)];
    const use = [take.unfinished ? "Go on" : "Use", () => this.#take(take)];
    const line = this.#line(take.name, take.avatar ? [remove] : [use, remove]);
    const text = `${take.name}, ${take.date}, ${megabytes(take.bytes)}: ${words}`;
    Object.assign(line.firstChild, { textContent: text, title: take.path });
    return line;
  }

  // buttons: of each its label, what it does, and the label for those who do not see where it stands
  #line(name, buttons) {
    const line = element("li");
    line.append(element("span", { textContent: name }));
    for (const [label, what, spoken = label] of buttons) {
      const button = element("button", { type: "button", textContent: label });
      button.setAttribute("aria-label", `${spoken}: ${name}`);
      button.addEventListener("click", () => this.#attempt(what));
      line.append(button);
    }
    return line;
  }

  #take(take) {
    this.take = take;
    this.missed = [];
    this.#show("taken");
  }

  async #delete(name) {
    await ask("DELETE", `/api/studio/takes/${encodeURIComponent(name)}`);
    await this.#refresh();
    this.#show("consent");
    this.#notice(`The recording ${name} is deleted. An avatar that was made of it stays.`);
  }

  #askToForget(name) {
    this.leaving = name;
    setText("forget-title", `Delete the avatar ${name}?`);
    byId("forget-box").showModal();
  }

  async #forget() {
    byId("forget-box").close();
    const name = this.leaving;
    const { removed } = await (await ask("DELETE", `/api/studio/avatars/${encodeURIComponent(name)}`)).json();
    await this.page.forgotten(name);
    await this.#refresh();
    this.#show("consent");
    const whats = [...new Set(removed.map(({ what }) => what))];
    this.#notice(`${name} is deleted: ${whats.join(", ")}.`);
  }

  // --- the camera and the recording

  #forgetCamera() {
    [this.guide, this.upload, this.seen, this.filming] = [null, null, {}, null];
    this.asking = false;
  }

  async #openCamera() {
    this.#show("record");
    await this.page.byCamera();
    this.startedCall = !this.page.theCall();
    if (this.startedCall) await this.page.start();
    if (!this.page.theCall()) {
      this.#show("consent");
      throw new UserError(this.page.trouble());
    }
  }

  #showReady() {
    setText("prompt-text", this.filming ? READY : "Waiting for the camera …");
    setText("prompt-read", "");
    setText("prompt-left", "");
    byId("prompt-bar").value = 0;
    setText("guide-start", "Start recording");
    setText("guide-back", "Back");
    byId("guide-start").hidden = false;
    byId("guide-rec").hidden = true;
    byId("studio-close").disabled = false;
    fill("guide-hints", []);
    fill("guide-list", this.status.script.asked, ({ title }) => {
      const item = fromTemplate("guide-item");
      item.append(title);
      return item;
    });
  }

  // Of the page's call, twice a second.
  onStats(message) {
    if (!this.records) return;
    if (!message.coach) return this.#askForCoach().catch((error) => this.#tell(error));
    this.seen = message.coach.seen;
    fill("guide-hints", [...message.coach.hints, ...handHints(this.guide && this.current, this.seen)]);
    if (!this.guide && byId("guide-start").disabled) {
      byId("guide-start").disabled = false;
      byId("guide-start").focus();
    }
    this.#mark();
  }

  async #askForCoach() {
    const call = this.page.theCall();
    if (this.asking || !call?.link) return;
    this.asking = true;
    try {
      const track = call.stream.getVideoTracks()[0];
      await setFilming(track, call.link.senders.video, true);
      byId("guide-video").srcObject = new MediaStream([track]);
      await this.#coach(track.getSettings().height);
      this.filming = track;
      if (!this.guide) setText("prompt-text", READY);
    } finally {
      this.asking = false;
    }
  }

  #coach(lines) {
    return this.page.theCall().steer("coach", { lines });
  }

  #mark(current) {
    for (const [index, prompt] of this.status.script.asked.entries()) {
      const item = byId("guide-list").children[index];
      const done = Boolean(this.guide) && isDone(prompt, this.seen);
      item.toggleAttribute("data-done", done);
      item.setAttribute("aria-label", `${prompt.title}: ${done ? "seen" : "not seen yet"}`);
      if (current === undefined) continue;
      if (prompt === current) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
  }

  #prompt(prompt, left, again) {
    if (this.upload?.failure) this.guide.stop();
    this.current = prompt;
    setText("prompt-text", again ? `Once more: ${prompt.text}` : prompt.text);
    setText("prompt-read", prompt.read);
    setText("prompt-left", `${Math.ceil(left)} s`);
    byId("prompt-bar").value = 1 - left / prompt.seconds;
    this.#mark(prompt);
  }

  // Without a microphone the consent is words alone, and is shown so.
  async #sayConsent(voice) {
    if (voice?.readyState !== "live") return;
    const text = "Say this aloud, facing the camera: it is kept as your consent.";
    const prompt = { text, read: `“${this.upload.sentence}”`, seconds: this.status.script.consent_s, states: [] };
    await this.upload.sendClip(voice, () => this.guide.say(prompt));
  }

  async #record() {
    const call = this.page.theCall();
    byId("guide-start").hidden = byId("studio-close").disabled = true;
    setText("guide-back", "Stop and delete");
    const guide = (this.guide = new Guide(this.status.script, {
      count: (number) => setText("prompt-text", `Ready? ${number}`),
      prompt: (prompt, left, again) => this.#prompt(prompt, left, again),
      seen: () => this.seen,
    }));
    try {
      await guide.count();
      if (guide.stopped) return;
      const consent = {
        who: byId("consent-who").value,
        statement: byId("consent-statement").value + (byId("consent-print").checked ? PRINT_AGREED : ""),
        agreed: byId("consent-agreed").checked,
      };
      this.upload = await Upload.begin(this.filming, call.id, consent);
      byId("guide-rec").hidden = false;
      await this.#sayConsent(call.stream.getAudioTracks()[0]);
      if (guide.stopped) return;
      await this.#coach(this.filming.getSettings().height); // what was seen before does not count
      this.seen = {};
      this.upload.start();
      this.missed = await guide.run();
      if (!this.missed) return;
      setText("prompt-text", "Saving …");
      this.take = await this.upload.finish();
      this.upload = null;
      await this.#leaveCamera("taken");
    } finally {
      const { upload, ended } = this;
      [this.guide, this.upload, this.ended] = [null, null, ""];
      if (upload) await upload.cancel();
      if (this.step === "record") this.#showReady();
      if (upload?.failure) throw upload.failure;
      if (ended) throw new UserError(ended);
    }
  }

  // The camera is in use for a recording, which a gap would spoil.
  get records() {
    return this.step === "record" && byId("studio").open;
  }

  // The call ended by itself: the camera is gone, or the server.
  onCallEnded(text) {
    if (!this.records) return;
    this.ended = `${text} The recording was deleted.`.trim();
    this.guide?.stop();
    byId("guide-start").disabled = true;
    if (!this.guide) this.#attempt(() => this.#leaveCamera("consent"));
  }

  async #leaveCamera(step) {
    const [track, call] = [this.filming, this.page.theCall()];
    this.#forgetCamera();
    byId("guide-video").srcObject = null;
    byId("guide-start").disabled = true;
    byId("studio-close").disabled = false;
    this.#show(step);
    if (this.startedCall) return this.page.stop();
    if (!track || !call?.link) return;
    await this.page.theCall().steer("coach", { lines: null });
    await setFilming(track, call.link.senders.video, false);
  }

  // --- the training

  #showTaken() {
    const { name, bytes, path } = this.take;
    setText("taken-text", `The recording of ${name} is here: ${megabytes(bytes)}.`);
    const missed = this.missed.map(({ title }) => title.toLowerCase()).join(", ");
    setText("taken-missed", missed && `Not clearly seen: ${missed}. The avatar will be weaker there; record again, or go on.`);
    setText("taken-where", `It lies in ${path}${this.status.local ? "" : ` on the server ${location.host}`}.`);
    fill("minutes", this.status.minutes, (minutes) => {
      const checked = minutes === this.status.usual_minutes;
      const label = element("label");
      label.append(element("input", { type: "radio", name: "minutes", value: minutes, checked }));
      label.append(element("span", { textContent: `${minutes} min` }));
      return label;
    });
  }

  async #train() {
    const chosen = document.querySelector("[name=minutes]:checked");
    const minutes = chosen ? Number(chosen.value) : this.status.usual_minutes;
    await post("/api/studio/job", { take: this.take.name, minutes });
    if (this.page.theCall()) this.page.stop(); // the processor is wanted elsewhere now
    this.step = "job";
    await this.#refresh();
    this.#show("job");
  }

  #showJob() {
    const { job, takes } = this.status;
    const running = job.state === "running";
    this.take = takes.find(({ name }) => name === job.take) ?? this.take;
    const words = { cancelled: "Stopped. What was learnt so far is kept.", failed: "It did not work." };
    setText("job-text", running ? `${STAGES[job.stage] ?? job.stage} …` : (words[job.state] ?? ""));
    if (job.state === "failed") this.#notice(job.error);
    byId("job-bar").value = job.done / job.total;
    setText("job-note", running ? job.note : "");
    setText("job-left", running ? leftWords(job.remaining_s) : "");
    fill("job-warnings", job.warnings);
    byId("job-cancel").hidden = !running;
    for (const id of ["job-delete", "job-again", "job-resume"]) byId(id).hidden = running;
    setText("job-resume", job.state === "failed" ? "Try again" : "Go on");
  }

  #showDone() {
    const { job } = this.status;
    setText("done-text", `${job.avatar} is ready, and in the list of avatars from now on.`);
    fill("done-warnings", job.warnings);
    setText("done-where", `The recording lies in ${this.take?.path ?? this.status.folder}. The avatar does not need it any more.`);
    byId("done-picture").hidden = true;
    pictureUrl(`/api/avatars/${encodeURIComponent(job.avatar)}/preview.jpg`).then(
      (url) => Object.assign(byId("done-picture"), { src: url, hidden: false }),
      () => {}, // it has none
    );
  }
}
