"""Runs a language model with custom ops in the onnxruntime that this Python has.  Stands alone.

    python run_logits.py GRAPH LIBRARY LOGITS TOKEN...

The tokens are read three at a time; LOGITS becomes the float32 logits of every row.
"""

import sys

import numpy as np
import onnxruntime


def main():
    """Load, run, write."""
    graph, library, logits, *tokens = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    dtypes = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}
    states = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), dtypes[value.type])
        for value in session.get_inputs()
        if value.name != "input_ids"
    }
    rows = []
    for first in range(0, len(tokens), 3):
        ids = np.array([list(map(int, tokens[first : first + 3]))])
        made, *presents = session.run(None, {"input_ids": ids, **states})
        states = dict(zip(states, presents, strict=True))
        rows.append(made[0])
    np.concatenate(rows).tofile(logits)
    print(onnxruntime.__version__)


main()
