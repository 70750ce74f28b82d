"""The model's own implementation: transformers, in float32 and in float64, nothing compiled."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import CheckpointError, ToolchainError

Array = NDArray[Any]


class Call(NamedTuple):
    """What a module was given and what it made, (rows, columns), and its weight."""

    given: Array
    made: Array
    weight: Array


@dataclasses.dataclass(frozen=True)
class Oracle:
    """A transformers model; logits and inner values as arrays."""

    model: Any
    torch: Any

    def logits(self, tokens: list[int]) -> NDArray[np.float64]:
        """Return logits (rows, vocabulary) of a sequence, whatever precision they were made in."""
        with self.torch.no_grad():
            made = self.model(self.torch.tensor([tokens])).logits[0]
        return np.asarray(made.double().numpy())

    def calls(self, tokens: list[int]) -> dict[str, Call]:
        """Return input and output of every norm, linear layer and of the embedding, by name."""
        found: dict[str, Call] = {}
        hooks = []
        for name, module in self.model.named_modules():
            if hasattr(module, "weight"):

                def keep(module: Any, given: Any, made: Any, name: str = name) -> None:
                    weight = module.weight.detach().numpy()
                    found[name] = Call(given[0][0].numpy(), made[0].numpy(), weight)

                hooks.append(module.register_forward_hook(keep))
        try:
            self.logits(tokens)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def open_oracle(checkpoint: Path, *, double: bool = False) -> Oracle:
    """Load a checkpoint in transformers, upcast as a whole: no arithmetic of ours takes part."""
    try:
        import torch
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise ToolchainError(
            f"the oracle is not installed: {error.name} is missing",
            hint="pip install 'bitexport[oracle]'",
        ) from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.compiler.set_stance("force_eager")
    torch.set_num_threads(1)  # its sums then have one order, and the figures can be repeated
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(f"{checkpoint}: transformers cannot load it: {error}") from error
    # PreTrainedModel.float refuses quantized models; the module's own method does the work.
    cast = torch.nn.Module.double if double else torch.nn.Module.float
    ready: Any = cast(model)
    return Oracle(ready.eval(), torch)
