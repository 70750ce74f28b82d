"""Lets onnxruntime-genai generate from a folder, greedily, and prints what it took.

python run_genai.py FOLDER TOKENS PROMPT LOGITS [OVERLAY]: as run_onnxruntime.py, but tokens are its
own.  OVERLAY is JSON that is put over the folder's genai_config.json.
"""

import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime_genai as genai
from run_onnxruntime import peak_bytes

folder, tokens_file, prompt, logits_file, *overlay = sys.argv[1:]
tokens = np.fromfile(tokens_file, "<i4")
start = time.perf_counter()
config = genai.Config(folder)
for each in overlay:
    config.overlay(each)
model = genai.Model(config)
load = time.perf_counter() - start
params = genai.GeneratorParams(model)
params.set_search_options(max_length=len(tokens) + 2, do_sample=False)
generator = genai.Generator(model, params)
generator.append_tokens(tokens[: int(prompt)])
rows = []
start = time.perf_counter()
for _ in range(len(tokens) + 1 - int(prompt)):
    generator.generate_next_token()
    rows.append(generator.get_output("logits")[0, -1].copy())
seconds = time.perf_counter() - start
np.concatenate(rows).astype("<f4").tofile(logits_file)
has_text = (pathlib.Path(folder) / "tokenizer_config.json").exists()
text = genai.Tokenizer(model).decode(generator.get_sequence(0)) if has_text else None
print(json.dumps({
    "runtime": f"onnxruntime-genai {genai.__version__}", "load_seconds": load, "text": text,
    "tokens": [int(token) for token in generator.get_sequence(0)[int(prompt):]],
    "peak_bytes": peak_bytes(),
    "tokens_per_second": len(rows) / seconds,
}))  # fmt: skip
