// Runs a graph in onnxruntime-web (wasm, one thread) and prints what it took.
//
//     node run_web.mjs NODE_MODULES FOLDER GRAPH TOKENS PROMPT LOGITS
//
// as run_onnxruntime.py.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { decode } from "./decode.mjs";
import { peakBytes } from "./peak.mjs";

const [modules, folder, graph, tokensFile, prompt, logitsFile] = process.argv.slice(2);
const ort = createRequire(path.join(modules, "package.json"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const read = (name) => fs.readFileSync(path.join(folder, name));
const raw = fs.readFileSync(tokensFile);
const tokens = Array.from(new Int32Array(raw.buffer, raw.byteOffset, raw.length / 4));
const data = fs.existsSync(path.join(folder, `${graph}_data`)) ? `${graph}_data` : "model.bitx";
const said = await decode(ort, read(graph), data, read(data), tokens, Number(prompt));
fs.writeFileSync(logitsFile, Buffer.from(said.logits.buffer));
delete said.logits;
const { version } = JSON.parse(fs.readFileSync(path.join(modules, "onnxruntime-web/package.json")));
const runtime = `onnxruntime-web ${version}`;
console.log(JSON.stringify({ runtime, ...said, peak_bytes: peakBytes() }));
