"""The model's own implementation: transformers, in float32 and in float64, nothing compiled.

transformers opens most checkpoints itself.  Two kinds it does not: those of 1bitLLM, which came
with a model file of their own (here transformers' BitNet, with SiLU and their names), and GGUF
files, whose weights are dequantized here, by the `gguf` package where it knows the type; what order
their rows have, transformers says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.checkpoint import GGUF, Checkpoint, open_checkpoint
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.errors import CheckpointError, ToolchainError

Array = NDArray[Any]
Floats = NDArray[np.float32]

RENAMED = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}
"""1bitLLM's names of what transformers' BitNet has under others."""
INT8_TRAINED = {"I2_S"}
"""Block types that only hold models which were trained with int8 activations."""
EXACT = {"F32": np.float32, "F16": np.float16}


class Call(NamedTuple):
    """What a module was given and what it made, (rows, columns)."""

    given: Array
    made: Array
    rounded: Array
    """What a linear layer rounds: what it was given, after the norm that it may have itself."""
    trits: Array | None
    """The trits of a layer that rounds its input to int8 for each token."""


@dataclasses.dataclass(frozen=True)
class Oracle:
    """A transformers model; logits and inner values as arrays."""

    model: Any
    torch: Any
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the checkpoint calls the modules that transformers calls otherwise."""

    def logits(self, tokens: list[int]) -> NDArray[np.float64]:
        """Return logits (rows, vocabulary) of a sequence, whatever precision they were made in."""
        with self.torch.no_grad():
            made = self.model(self.torch.tensor([tokens])).logits[0]
        return np.asarray(made.double().numpy())

    def calls(self, tokens: list[int]) -> dict[str, Call]:
        """Return what every norm, linear layer and the embedding did, by the checkpoint's names."""
        found: dict[str, Call] = {}
        hooks = []
        for name, module in self.model.named_modules():
            if hasattr(module, "weight"):

                def keep(module: Any, given: Any, made: Any, name: str = name) -> None:
                    norm = getattr(module, "rms_norm", None)
                    x = given[0] if norm is None else norm(given[0])
                    layer, dot, last = name.rpartition(".")
                    found[f"{layer}{dot}{self.renamed.get(last, last)}"] = Call(
                        given[0][0].numpy(), made[0].numpy(), x[0].numpy(), _trits(module)
                    )

                hooks.append(module.register_forward_hook(keep))
        try:
            self.logits(tokens)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def open_oracle(path: Path, *, double: bool = False, container: str | None = None) -> Oracle:
    """Load a checkpoint in transformers, upcast as a whole: no arithmetic of ours takes part."""
    try:
        import torch
        import transformers
        from huggingface_hub.errors import StrictDataclassError
        from transformers.utils import logging
    except ImportError as error:
        raise _missing(error) from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.compiler.set_stance("force_eager")
    torch.set_num_threads(1)  # its sums then have one order, and the figures can be repeated
    checkpoint = open_checkpoint(path, container)
    masters = any(name.endswith(f".{next(iter(RENAMED))}.weight") for name in checkpoint.tensors)
    try:
        if checkpoint.container == GGUF:
            model = _from_gguf(checkpoint)
        elif masters:
            model = _from_1bitllm(checkpoint)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, ImportError, StrictDataclassError) as error:
        raise CheckpointError(f"{path}: transformers cannot load it: {error}") from error
    # PreTrainedModel.float refuses quantized models; the module's own method does the work.
    cast = torch.nn.Module.double if double else torch.nn.Module.float
    ready: Any = cast(model)
    renamed = {theirs: ours for ours, theirs in RENAMED.items()} if masters else {}
    return Oracle(ready.eval(), torch, renamed)


def _trits(module: Any) -> Array | None:
    """Return the trits of transformers' BitLinear or AutoBitLinear; None of any other module."""
    from transformers.integrations import bitnet

    if isinstance(module, bitnet.BitLinear):
        weight = bitnet.unpack_weights(module.weight, dtype=module.dtype)
    elif isinstance(module, bitnet.AutoBitLinear):
        weight = module.weight.detach()
        if module.online_quant:
            weight = bitnet.WeightQuant.apply(weight)
    else:
        return None
    return np.asarray(np.sign(weight.numpy()))


def _missing(error: ImportError) -> ToolchainError:
    return ToolchainError(
        f"the oracle is not installed: {error.name} is missing",
        hint="pip install 'bitexport[oracle]'",
    )


def _from_1bitllm(checkpoint: Checkpoint) -> Any:
    """Build transformers' BitNet with SiLU; its masters are rounded anew in each forward."""
    weights = {}
    for name, tensor in checkpoint.tensors.items():
        layer, last = name.removesuffix(".weight").rpartition(".")[::2]
        weights[f"{layer}.{RENAMED.get(last, last)}.weight".lstrip(".")] = _dense(tensor)
    config = {**checkpoint.config, "model_type": "bitnet"}
    return _filled(config, weights, "online")


def _from_gguf(checkpoint: Checkpoint) -> Any:
    """Build the model with dequantized weights; BitNet's rounding of activations is kept."""
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    # Without the order of rows that our own reading gives: a mistake there must be seen here.
    processor = TENSOR_PROCESSORS.get(checkpoint.config["model_type"], TensorProcessor)
    process = processor(config=dict(checkpoint.config)).process
    factors, weights = {}, {}
    for name, tensor in checkpoint.tensors.items():
        values = _dense(dataclasses.replace(tensor, heads=0))
        if name.endswith(".weight_scale"):
            factors[name] = values
        else:
            weights[name] = process(weights=values, name=tensor.stored_as).weights
    types = {tensor.dtype for tensor in checkpoint.tensors.values()}
    trained = checkpoint.config["model_type"] == "bitnet" or types & INT8_TRAINED
    return _filled(checkpoint.config, weights | factors, "offline" if trained else None)


def _filled(config: Mapping[str, Any], weights: Mapping[str, Floats], mode: str | None) -> Any:
    """Return a model of a configuration with these weights, float32.

    `mode`: None for plain linear layers, else the `quantization_mode` of AutoBitLinear, which is
    transformers' own rounding of activations (and, online, of weights).
    """
    import torch
    import transformers
    from transformers.integrations.bitnet import replace_with_bitnet_linear

    keys = {k: v for k, v in config.items() if k not in {"model_type", "quantization_config"}}
    keys = {k: v for k, v in keys.items() if not (k == "rope_scaling" and v is None)}
    said = transformers.AutoConfig.for_model(config["model_type"], **keys)
    model = transformers.AutoModelForCausalLM.from_config(said, dtype=torch.float32)
    if mode:
        quantization = transformers.BitNetQuantConfig(
            linear_class="autobitlinear", quantization_mode=mode
        )
        replace_with_bitnet_linear(model, ["lm_head"], quantization)
    state = {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}
    found = model.load_state_dict(state, strict=False)
    missing = {name for name in found.missing_keys if not name.endswith(".weight_scale")}
    if config["tie_word_embeddings"]:
        missing -= {"lm_head.weight"}
    if missing or found.unexpected_keys:
        wrong = min([*missing, *found.unexpected_keys])
        raise ValueError(f"`{wrong}` is not in the file, or not in the model")
    model.tie_weights()
    return model


def _dense(tensor: StoredTensor) -> Floats:
    """Return a tensor as float32, by the `gguf` package or by the formats' own definitions."""
    shape = tensor.shape
    if tensor.dtype in EXACT:
        return np.asarray(tensor.read(), np.float32)
    if tensor.dtype == "BF16":
        bits = tensor.read().astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32)
    raw = tensor.read_bytes(0, shape[0])
    if tensor.dtype in DEQUANTIZED:
        return DEQUANTIZED[tensor.dtype](raw, tensor).reshape(shape)
    try:
        import gguf
        from gguf.quants import dequantize
    except ImportError as error:
        raise _missing(error) from error
    made = dequantize(raw, gguf.GGMLQuantizationType[tensor.dtype])
    return np.asarray(made, np.float32).reshape(shape)


def _i2_s(raw: NDArray[np.uint8], tensor: StoredTensor) -> Floats:
    """microsoft/BitNet, `dequantize_row_i2_s`: 32 bytes hold weights p, p + 32, p + 64, p + 96."""
    scale = np.frombuffer(tensor.read_tail(), "<f4", 1)[0]
    lanes = [raw.reshape(-1, 32) >> shift & 3 for shift in (6, 4, 2, 0)]
    return np.asarray((np.stack(lanes, 1).astype(np.float32) - 1) * scale)


def _q1_0(raw: NDArray[np.uint8], _: StoredTensor) -> Floats:
    """llama.cpp, `dequantize_row_q1_0`: a bit that is set is +d, else -d."""
    blocks = raw.reshape(-1, 18)
    d = blocks[:, :2].copy().view("<f2").astype(np.float32)
    bits = blocks[:, 2:, None] >> np.arange(8, dtype=np.uint8) & 1
    return np.where(bits.reshape(len(blocks), -1) == 1, d, -d)


def _q2_0(raw: NDArray[np.uint8], size: int) -> Floats:
    """llama.cpp, `dequantize_row_q2_0`: (code - 1) d, four neighbours in a byte."""
    blocks = raw.reshape(-1, size)
    d = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = blocks[:, 2:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return (codes.reshape(len(blocks), -1).astype(np.float32) - 1) * d


DEQUANTIZED: Mapping[str, Callable[[NDArray[np.uint8], StoredTensor], Floats]] = {
    "I2_S": _i2_s,
    "Q1_0": _q1_0,
    "Q2_0": lambda raw, _: _q2_0(raw, 18),
    "Q2_0_G128": lambda raw, _: _q2_0(raw, 34),
    "PQ2_0": lambda raw, _: _q2_0(raw, 34),
}
"""Types that the `gguf` package cannot dequantize, or does not know."""
