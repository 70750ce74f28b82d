"""Llama with ternary layers: Llama3-8B-1.58, Falcon3-*-1.58bit, Falcon-E, TriLM.

transformers, `models/llama/modeling_llama.py` and `integrations/bitnet.py`.  Floats that already
are {-s, 0, s} (TriLM) need no `quantization_config`.
"""

from __future__ import annotations

from bitexport.checkpoints.decode import Scheme
from bitexport.models.parts.family import Family

FAMILY = Family(
    name="llama",
    summary="Llama3-8B-1.58, Falcon3-*-1.58bit, Falcon-E, TriLM",
    model_types=("llama",),
    architectures=("LlamaForCausalLM",),
    gates={"silu": "silu"},
    bias_keys={
        "attention_bias": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "mlp_bias": ("gate_proj", "up_proj", "down_proj"),
    },
    floats=Scheme.UNPACKED,
)
