"""Does our arithmetic match the trained model?  Asked of the model's own implementation.

Two questions.  End to end: how far are the logits, in KL divergence, from transformers in float32,
beside how far its float32 is from its own float64 (the noise floor: int8 codes flip at rounding
ties, in their arithmetic as in ours).  Layer by layer: fed the oracle's own inputs, does each op
give the oracle's outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.manifest import Bundle
from bitexport.errors import CheckpointError
from bitexport.tokenizer.text import encode, load_tokenizer
from bitexport.verify.oracle import Array, Oracle
from bitexport_ref.evaluator import ReferenceModel

Logits = NDArray[np.float64]
PROJECTIONS = "_proj"
OWN_NORM = "rms_norm"
READ_BY = {
    "q_proj": "input_layernorm", "k_proj": "input_layernorm", "v_proj": "input_layernorm",
    "gate_proj": "post_attention_layernorm", "up_proj": "post_attention_layernorm",
}  # fmt: skip
INNER = {
    "o_proj": ("self_attn.attend", ("self_attn.attn_sub_norm", "self_attn.inner_attn_ln")),
    "down_proj": ("mlp.gated", ("mlp.ffn_sub_norm", "mlp.ffn_layernorm")),
}
"""What an output projection reads, and the norms of which a family may have one in between."""


@dataclasses.dataclass(frozen=True)
class EndToEnd:
    """Our logits against the oracle's, over all tokens of a text."""

    tokens: int
    max_difference: float
    mean_kl: float
    floor_kl: float
    top1_agreement: float
    loss: float
    oracle_loss: float

    @property
    def loss_difference(self) -> float:
        """Relative difference of the losses."""
        return abs(self.loss - self.oracle_loss) / self.oracle_loss


@dataclasses.dataclass(frozen=True)
class OpAgreement:
    """One op type, fed the oracle's inputs."""

    op_type: str
    outputs: int
    elements: int
    worst_relative: float
    """Largest difference over the largest magnitude of its row."""
    integers: int
    differing_integers: int
    """Activation codes or sums that differ."""
    largest_step: int
    """By how much an integer differs at most: a code that sits on a tie differs by one."""


def compare_logits(
    model: ReferenceModel, oracle: Oracle, double: Oracle, windows: Sequence[list[int]]
) -> EndToEnd:
    """Run every window in all three and sum up."""
    differences, kls, floors, agreements, ours, theirs = [], [], [], [], [], []
    for tokens in windows:
        made = model.session().run(np.array(tokens, np.int32), trace=False).logits
        a, b, c = oracle.logits(tokens), made.astype(np.float64), double.logits(tokens)
        differences.append(np.abs(a - b).max())
        kls.append(_kl(a, b))
        floors.append(_kl(a, c))
        agreements.append(a.argmax(-1) == b.argmax(-1))
        ours.append(_losses(b, tokens))
        theirs.append(_losses(a, tokens))
    return EndToEnd(
        tokens=sum(map(len, windows)),
        max_difference=float(max(differences)),
        mean_kl=float(np.concatenate(kls).mean()),
        floor_kl=float(np.concatenate(floors).mean()),
        top1_agreement=float(np.concatenate(agreements).mean()),
        loss=float(np.concatenate(ours).mean()),
        oracle_loss=float(np.concatenate(theirs).mean()),
    )


def compare_layers(model: ReferenceModel, oracle: Oracle, tokens: list[int]) -> list[OpAgreement]:
    """Run our graph with every value that the oracle knows replaced by the oracle's."""
    made = {name for step in model.graph.steps for name in step.outputs}
    known = oracle_values(oracle, tokens, made)
    found: dict[str, list[tuple[Array, Array]]] = {}
    values: dict[str, Array] = {"input_ids": np.array([tokens], np.int64)}
    for given in model.graph.inputs[1:]:
        heads, size = given.shape[1], given.shape[3]
        assert heads is not None
        assert size is not None
        values[given.name] = np.zeros((1, heads, 0, size), given.dtype)
    for step in model.graph.steps:
        results = model.compute(step, values)
        for name, mine in zip(step.outputs, results, strict=True):
            theirs = known.get(name)
            if theirs is not None:
                theirs = theirs.reshape(mine.shape).astype(mine.dtype)
                found.setdefault(step.op_type, []).append((mine, theirs))
            values[name] = mine if theirs is None else theirs
    return [_agreement(op_type, pairs) for op_type, pairs in found.items()]


def oracle_values(oracle: Oracle, tokens: list[int], ours: AbstractSet[str]) -> dict[str, Array]:
    """Name the oracle's values as our graph does (exporter, models/parts/decoder.py).

    `ours` are the names of our graph: what its layers read says which norms there are.
    """
    values: dict[str, Array] = {"logits": oracle.logits(tokens)}
    for name, call in oracle.calls(tokens).items():
        last = name.rpartition(".")[2]
        if last.endswith(PROJECTIONS):
            values[f"{name}.output"] = call.made
            inner = INNER.get(last, ("",))[0]
            layer = ".".join(name.split(".")[:3])
            if inner and _source(name, ours) == f"{layer}.{inner}":
                values[f"{layer}.{inner}"] = call.given
            if call.trits is not None and f"{_source(name, ours)}.q" in ours:
                source = _source(name, ours)
                codes, scale = _oracle_codes(call.rounded)
                values[f"{source}.q"], values[f"{source}.q_scale"] = codes, scale
                values[f"{name}.sum"] = codes.astype(np.float64) @ call.trits.T.astype(np.float64)
        elif last == "embed_tokens":
            values["embedding"] = call.made
        elif f"{name}.output" in ours:
            values[f"{name}.output"] = call.made
            if before := _made_before(name):
                values[before] = call.given
    return values


def read_windows(text: Path, bundle: Bundle) -> list[list[int]]:
    """Return the documents of a text file as tokens, each cut to the context of the bundle."""
    try:
        documents = text.read_text(encoding="utf-8").split("\n\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{text}: not readable as text: {error}") from error
    tokenizer = load_tokenizer(bundle.path)
    context = int(bundle.manifest["model"]["context"])
    windows = [encode(tokenizer, document.strip("\n"))[:context] for document in documents]
    windows = [window for window in windows if len(window) > 1]
    if not windows:
        raise CheckpointError(f"{text}: holds no text to compare on")
    return windows


def _source(projection: str, ours: AbstractSet[str]) -> str:
    """Return the name of what a projection reads in our graph: a norm, or what it mixes."""
    if f"{projection}.{OWN_NORM}.output" in ours:
        return f"{projection}.{OWN_NORM}"
    layer, last = ".".join(projection.split(".")[:3]), projection.rpartition(".")[2]
    if last in READ_BY:
        return f"{layer}.{READ_BY[last]}"
    inner, norms = INNER[last]
    there = [norm for norm in norms if f"{layer}.{norm}.output" in ours]
    return f"{layer}.{there[0] if there else inner}"


def _made_before(norm: str) -> str | None:
    """Return the value of our graph that a norm of the oracle takes in."""
    layer, place = ".".join(norm.split(".")[:3]), ".".join(norm.split(".")[3:])
    if place == "input_layernorm":
        index = int(norm.split(".")[2])
        return f"model.layers.{index - 1}.mlp.residual" if index else None
    if place == "post_attention_layernorm":
        return f"{layer}.self_attn.residual"
    made = {norm: inner for inner, norms in INNER.values() for norm in norms}
    return f"{layer}.{made[place]}" if place in made else None


def _oracle_codes(x: Array) -> tuple[Array, Array]:
    """Return codes and scale as transformers computes them (integrations/bitnet.py, ActQuant).

    torch divides a number by a tensor as reciprocal, then product: two roundings to our one.
    """
    largest = np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
    scale = (np.float32(1) / largest) * np.float32(127)
    return np.clip(np.rint(x * scale), -128, 127).astype(np.int8), scale


def _agreement(op_type: str, pairs: Sequence[tuple[Array, Array]]) -> OpAgreement:
    worst, differing, step = 0.0, 0, 0
    for mine, theirs in pairs:
        if mine.dtype.kind == "i":
            apart = np.abs(mine.astype(np.int64) - theirs)
            differing, step = differing + int((apart > 0).sum()), max(step, int(apart.max()))
            continue
        size = np.maximum(np.abs(theirs).max(-1, keepdims=True), np.float32(1e-30))
        worst = max(worst, float((np.abs(mine - theirs) / size).max()))
    elements = sum(mine.size for mine, _ in pairs)
    integers = sum(mine.size for mine, _ in pairs if mine.dtype.kind == "i")
    return OpAgreement(op_type, len(pairs), elements, worst, integers, differing, step)


def _log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _kl(of: Logits, to: Logits) -> Logits:
    """Return KL(of || to) per row, in nats."""
    p, q = _log_softmax(of), _log_softmax(to)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


def _losses(logits: Logits, tokens: Sequence[int]) -> Logits:
    """Return nats per predicted token."""
    rows = _log_softmax(logits[:-1])
    return np.asarray(-rows[np.arange(len(tokens) - 1), tokens[1:]])
