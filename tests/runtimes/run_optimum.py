"""Lets optimum-onnx generate with a graph of a folder, greedily, and prints what it took.

python run_optimum.py FOLDER GRAPH TOKENS PROMPT LOGITS: as run_onnxruntime.py, but tokens are its
own; then the prompt once more in a batch of two, the second without its last two tokens.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForCausalLM
from run_onnxruntime import peak_bytes

folder, graph, tokens_file, prompt_count, logits_file = sys.argv[1:]
tokens = np.fromfile(tokens_file, "<i4").astype(np.int64)
prompt, count = tokens[: int(prompt_count)], len(tokens) - int(prompt_count)
start = time.perf_counter()
model = ORTModelForCausalLM.from_pretrained(folder, file_name=graph)
load = time.perf_counter() - start
ids = torch.from_numpy(prompt)[None]
start = time.perf_counter()
made = model.generate(
    ids, attention_mask=torch.ones_like(ids), max_new_tokens=count + 1, do_sample=False,
    output_logits=True, return_dict_in_generate=True,
)  # fmt: skip
seconds = time.perf_counter() - start
np.concatenate([row[0].numpy() for row in made.logits]).astype("<f4").tofile(logits_file)
shorter = np.concatenate([[0, 0], prompt[:-2]])
both = torch.from_numpy(np.stack([prompt, shorter]))
mask = torch.ones_like(both)
mask[1, :2] = 0
batch = model.generate(both, attention_mask=mask, max_new_tokens=16, do_sample=False)
print(json.dumps({
    "runtime": f"optimum-onnx {version('optimum-onnx')}", "load_seconds": load,
    "tokens": made.sequences[0, len(prompt):].tolist(),
    "batch": batch[:, len(prompt):].tolist(),
    "peak_bytes": peak_bytes(),
    "tokens_per_second": (count + 1) / seconds,
}))  # fmt: skip
