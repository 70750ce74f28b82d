"""Computes logits in stock onnxruntime, in a process of its own; prints its version.

    python -P stock_run.py GRAPH TOKENS LOGITS        files of little-endian int32 and float32

It stands alone: a graph that is too large, or a runtime that breaks, ends this and not a build.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}


def main(graph: str, tokens_file: str, logits_file: str) -> None:
    """Read all tokens in one call; write the logits (tokens, vocabulary)."""
    tokens = np.fromfile(tokens_file, "<i4").astype(np.int64)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised too
    options.intra_op_num_threads = 1  # float products of more are not always the same
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feeds = {"input_ids": tokens[None]}
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            _, heads, _, size = value.shape
            feeds[value.name] = np.zeros((1, heads, 0, size), DTYPES[value.type])
        elif value.name == "attention_mask":
            feeds[value.name] = np.ones((1, len(tokens)), np.int64)
        elif value.name == "position_ids":
            feeds[value.name] = np.arange(len(tokens), dtype=np.int64)[None]
    session.run(["logits"], feeds)[0][0].astype("<f4").tofile(logits_file)
    print(onnxruntime.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
