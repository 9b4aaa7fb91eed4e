// node headaudio.mjs PACKAGE < SAMPLES > LINES: what HeadAudio's own processor says of a sound.
// PACKAGE: the unpacked npm package; SAMPLES: float32 at 16 kHz; LINES: seconds and viseme, -1 where speech ends.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const load = (name) => import(pathToFileURL(`${folder}/modules/${name}.mjs`));
const { Processor } = await load("processor");
const { Training } = await load("training");
globalThis.fetch = async (place) => new Response(readFileSync(place));

const told = [];
const port = {
  postMessage: ({ event, t, viseme }) => {
    if (event === "viseme" && viseme !== null) told.push([t, viseme]);
    if (event === "ended") told.push([t, -1]);
  },
};
const { model } = await new Training().loadModel(`${folder}/dist/model-en-mixed.bin`);
const processor = new Processor({ sampleRate: 16000 }, { port });
processor._onmessage({ data: { event: "model", model, reset: true } });
const heard = readFileSync(0);
const samples = new Float32Array(heard.buffer.slice(heard.byteOffset, heard.byteOffset + heard.byteLength));
for (let at = 0; at < samples.length; at += 128) processor.process(samples.subarray(at, at + 128));
console.log(JSON.stringify(told));
