"""Runs the graphs of a folder in the onnxruntime that this Python has.  Stands alone.

python run_parts.py FOLDER LEVEL: NAME.onnx and NAME.npz, its inputs, give NAME.made.npz.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

folder, level = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
options.log_severity_level = 3
for graph in sorted(Path(folder).glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    for given in sorted(Path(folder).glob(f"{graph.stem}-*.npz")):
        made = session.run(names, dict(np.load(given)))
        np.savez(given.with_suffix(".made"), **dict(zip(names, made)))  # noqa: B905
print("{}")
