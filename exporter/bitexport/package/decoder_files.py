"""What decoder runtimes read beside a graph: genai_config.json, and config.json of transformers.

Both describe the graph's inputs, outputs and sizes, whatever family its weights are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.models.parts.facts import Facts

GENAI, CONFIG = "genai_config.json", "config.json"
GENAI_TYPE = "decoder"
"""onnxruntime-genai knows a list of models, and by this name every decoder."""


def write_decoder_files(
    folder: Path, facts: Facts, graph: str, *, has_positions: bool, custom_ops: str | None = None
) -> None:
    """Write both files; `graph` is the file that onnxruntime-genai is to open.

    `custom_ops` is a library with kernels of our domain, by its path in the folder: what it is not
    in, onnxruntime-genai does not open.
    """
    for name, said in (
        (GENAI, genai_config(facts, graph, has_positions, custom_ops)),
        (CONFIG, transformers_config(facts)),
    ):
        text = json.dumps(said, indent=2) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def genai_config(
    facts: Facts, graph: str, has_positions: bool, custom_ops: str | None
) -> Mapping[str, Any]:
    """Return what onnxruntime-genai reads, for greedy search."""
    inputs = {
        "input_ids": "input_ids",
        "past_key_names": "past_key_values.%d.key",
        "past_value_names": "past_key_values.%d.value",
    }
    if has_positions:
        inputs |= {"attention_mask": "attention_mask", "position_ids": "position_ids"}
    library = {"custom_ops_library": custom_ops} if custom_ops else {}
    return {
        "model": {
            "type": GENAI_TYPE,
            "vocab_size": facts.vocabulary,
            "context_length": facts.context,
            "bos_token_id": _first(facts),
            "eos_token_id": list(facts.eos) or [_first(facts)],
            "pad_token_id": _padding(facts),
            "decoder": {
                "filename": graph,
                "session_options": {"log_id": "bitexport", "provider_options": [], **library},
                "head_size": facts.head_size,
                "hidden_size": facts.hidden,
                "num_attention_heads": facts.heads,
                "num_key_value_heads": facts.kv_heads,
                "num_hidden_layers": facts.layers,
                "inputs": inputs,
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "do_sample": False, "num_beams": 1, "max_length": facts.context,
            "past_present_share_buffer": False,
        },
    }  # fmt: skip


def transformers_config(facts: Facts) -> Mapping[str, Any]:
    """Return the config.json by which optimum and transformers.js find cache and sizes.

    They know the shapes of caches by `model_type`: `llama` where heads share the hidden columns,
    else `gemma`, whose heads have a size of their own.  The family stands under `bitexport`.
    """
    own_size = facts.head_size * facts.heads != facts.hidden
    return {
        "model_type": "gemma" if own_size else "llama",
        "architectures": ["GemmaForCausalLM" if own_size else "LlamaForCausalLM"],
        "hidden_size": facts.hidden,
        "num_attention_heads": facts.heads,
        "num_key_value_heads": facts.kv_heads,
        "head_dim": facts.head_size,
        "num_hidden_layers": facts.layers,
        "vocab_size": facts.vocabulary,
        "max_position_embeddings": facts.context,
        "bos_token_id": facts.bos,
        "eos_token_id": list(facts.eos) or None,
        "pad_token_id": _padding(facts),
        "use_cache": True,
        "transformers.js_config": {"use_external_data_format": True},
        "bitexport": {"family": facts.family, "name": facts.name},
    }


def _first(facts: Facts) -> int:
    return facts.bos if facts.bos is not None else _padding(facts)


def _padding(facts: Facts) -> int:
    """Return a token for places that the mask hides: which one does not matter."""
    return facts.eos[0] if facts.eos else 0
