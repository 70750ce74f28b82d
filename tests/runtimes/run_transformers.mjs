// Lets transformers.js generate with a graph of a folder, greedily, and prints what it took.
//
//     node run_transformers.mjs NODE_MODULES FOLDER GRAPH TEXT COUNT

import { createRequire } from "node:module";
import path from "node:path";
import { peakBytes } from "./peak.mjs";

const [modules, folder, graph, text, count] = process.argv.slice(2);
const require = createRequire(path.join(modules, "package.json"));
const { AutoModelForCausalLM, AutoTokenizer, env } = require("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder) + path.sep;
const name = path.basename(folder);
let start = performance.now();
const model = await AutoModelForCausalLM.from_pretrained(name, {
  subfolder: "", model_file_name: graph.replace(/\.onnx$/, ""), dtype: "fp32", device: "cpu",
});
const load = (performance.now() - start) / 1000;
const tokenizer = await AutoTokenizer.from_pretrained(name);
const given = await tokenizer(text);
start = performance.now();
const made = await model.generate({ ...given, max_new_tokens: Number(count), do_sample: false });
const seconds = (performance.now() - start) / 1000;
const tokens = Array.from(made.data, Number);
const prompt = given.input_ids.dims[1];
console.log(JSON.stringify({
  runtime: `transformers.js ${env.version}`, load_seconds: load,
  prompt: tokens.slice(0, prompt), tokens: tokens.slice(prompt),
  text: tokenizer.decode(tokens, { skip_special_tokens: true }),
  tokens_per_second: (tokens.length - prompt) / seconds, peak_bytes: peakBytes(),
}));
