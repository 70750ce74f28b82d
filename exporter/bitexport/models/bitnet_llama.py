"""1bitLLM/bitnet_b1_58-large, -xl and -3B: SiLU, sub-norms by other names, float masters.

Their own `modeling_bitnet.py` quantizes the masters by absmean in each forward; config.json says
`llama` and has no `quantization_config`.
"""

from __future__ import annotations

from bitexport.checkpoints.decode import Scheme
from bitexport.models.parts.family import Family

FAMILY = Family(
    name="bitnet_llama",
    summary="1bitLLM/bitnet_b1_58-large, -xl and -3B",
    model_types=("llama", "bitnet"),
    architectures=("BitnetForCausalLM", "BitNetForCausalLM"),
    gates={"silu": "silu"},
    attention_norm="inner_attn_ln",
    mlp_norm="ffn_layernorm",
    bias_keys={"attention_bias": ("q_proj", "k_proj", "v_proj", "o_proj")},
    floats=Scheme.ABSMEAN,
    trained_int8=True,
)
