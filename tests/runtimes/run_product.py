"""Runs a graph with one input and one output: python run_product.py GRAPH INPUT OUTPUT (.npy)."""

import sys

import numpy as np
import onnxruntime

graph, given, made = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
np.save(made, session.run(None, {session.get_inputs()[0].name: np.load(given)})[0])
