"""Qwen3 with ternary or binary layers, Bonsai among them: heads of queries and keys are normalised.

transformers, `models/qwen3/modeling_qwen3.py`.  Bonsai shares scales in groups and has embedding
and head in few bits too.
"""

from __future__ import annotations

from bitexport.checkpoints.decode import Scheme
from bitexport.models.parts.family import Family

FAMILY = Family(
    name="qwen3",
    summary="Bonsai; Qwen3, quantized as `bitnet`",
    model_types=("qwen3",),
    architectures=("Qwen3ForCausalLM",),
    gates={"silu": "silu"},
    head_norms=True,
    bias_keys={"attention_bias": ("q_proj", "k_proj", "v_proj", "o_proj")},
    head_size=128,
    floats=Scheme.UNPACKED,
    windows=True,
)
