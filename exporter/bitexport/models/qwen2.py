"""Qwen2 and Qwen2.5 with ternary layers: queries, keys and values have a bias.

transformers, `models/qwen2/modeling_qwen2.py` and `integrations/bitnet.py`.
"""

from __future__ import annotations

from bitexport.checkpoints.decode import Scheme
from bitexport.models.parts.family import Family

FAMILY = Family(
    name="qwen2",
    summary="Qwen2 and Qwen2.5, quantized as `bitnet`",
    model_types=("qwen2",),
    architectures=("Qwen2ForCausalLM",),
    gates={"silu": "silu"},
    biased=("q_proj", "k_proj", "v_proj"),
    floats=Scheme.UNPACKED,
    windows=True,
)
