"""The forms that the user asks for, matrix by matrix: --precision and --embedding."""

from __future__ import annotations

import fnmatch

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.matrix import FLOAT_NAMES
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts import q4, q8
from bitexport.models.parts.options import Form, Options
from bitexport.models.parts.stored import widened


class Precision:
    """The forms that the user asks for, matrix by matrix."""

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self.checkpoint, self.patterns = checkpoint, options.precision
        self.used: set[str] = set()

    def form(self, name: str) -> Form | None:
        """Return what is asked of a matrix; the last pattern that matches wins.

        `name` is that of its tensor without `.weight`, which a pattern may say or leave out.
        """
        names = (name, f"{name}.weight")
        matching = [
            (pattern, form)
            for pattern, form in self.patterns
            if any(fnmatch.fnmatchcase(each, pattern) for each in names)
        ]
        self.used |= {pattern for pattern, _ in matching}
        return matching[-1][1] if matching else None

    def apply(self, weights: Weights, name: str, form: Form | None) -> Weights:
        """Return float weights in a form; other weights are what the model was trained with."""
        if form is None:
            return weights
        if not weights.is_float:
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}` is {weights.values.kind.value} in this model, "
                f"not floats: it is not made {form}",
                hint="weights of few bits are kept as they were trained; --precision and "
                "--embedding are for floats",
            )
        matrix = weights.values
        if form == "q8":
            return q8.quantized(matrix)
        if form == "q4":
            return q4.quantized(matrix)
        if form == "f32":
            return Weights(values=widened(matrix))
        stored = FLOAT_NAMES[matrix.kind]
        if stored.form != form:
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}.weight` is {stored.dtype}; "
                f"as {form} it would lose bits",
                hint="f32 is exact; q8 and q4 are measured by `verify --against`",
            )
        return weights

    def refuse_unused(self) -> None:
        """Refuse a pattern that names no matrix."""
        for pattern, form in self.patterns:
            if pattern not in self.used:
                raise CheckpointError(
                    f"--precision {pattern}={form}: no matrix of {self.checkpoint.path} has "
                    "such a name",
                    hint="names are those of `bitexport inspect`: model.layers.0.mlp.*, lm_head",
                )
