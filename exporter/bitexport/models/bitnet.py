"""BitNet b1.58 2B4T and its kin: ReLU^2, and a norm before output and down projection.

transformers, `models/bitnet/modeling_bitnet.py`; as packed trits, as bf16 masters that are
quantized online, and as GGUF of type I2_S.
"""

from __future__ import annotations

from bitexport.models.parts.family import Family

FAMILY = Family(
    name="bitnet",
    summary="microsoft/bitnet-b1.58-2B-4T",
    model_types=("bitnet",),
    architectures=("BitNetForCausalLM", "BitnetForCausalLM"),
    gates={"relu2": "relu2", "silu": "silu"},
    attention_norm="attn_sub_norm",
    mlp_norm="ffn_sub_norm",
    bias_keys={"attention_bias": ("q_proj", "k_proj", "v_proj", "o_proj")},
    rope_base=500000.0,
    epsilon=1e-5,
    trained_int8=True,
)
