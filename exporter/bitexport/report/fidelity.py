"""The two answers of `verify --against`, as text."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.verify.fidelity import EndToEnd, OpAgreement

LEAST_FLOOR = 1e-9  # nats; below it there is no noise to compare with: nothing is quantized


def render_fidelity(whole: EndToEnd, layers: Sequence[OpAgreement]) -> str:
    """Return the figures, end to end and then op by op."""
    ratio = ""
    if whole.floor_kl > LEAST_FLOOR:
        ratio = f"; ratio {whole.mean_kl / whole.floor_kl:.2f}"
    lines = [
        f"end to end, {whole.tokens} tokens, against transformers in float32",
        f"  loss             {whole.loss:.6f} nats/token, theirs {whole.oracle_loss:.6f} "
        f"({whole.loss_difference:.4%} apart)",
        f"  mean KL          {whole.mean_kl:.3e} nats/token",
        f"  their own noise  {whole.floor_kl:.3e} (KL of their float32 to their float64){ratio}",
        f"  top-1 agreement  {whole.top1_agreement:.4%}",
        f"  largest logit difference {whole.max_difference:.4f}",
        "op by op, fed their own inputs (relative to the largest magnitude of a row)",
    ]
    for op in layers:
        integers = ""
        if op.differing_integers:
            integers = (
                f", {op.differing_integers} of {op.integers} integers differ, "
                f"by {op.largest_step} at most"
            )
        lines.append(
            f"  {op.op_type:18} {op.outputs:3} outputs  worst {op.worst_relative:.1e}{integers}"
        )
    return "\n".join(lines)
