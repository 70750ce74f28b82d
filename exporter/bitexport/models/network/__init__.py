"""A user's own network, an ONNX file, as a graph of the plan's ops.

Read in this order: `importing` walks over the nodes; `flows` says what flows between them and what
is still to be computed of it; `operators` has what each node means, `layers` those with weights,
`folding` what is known before anything runs.
"""
