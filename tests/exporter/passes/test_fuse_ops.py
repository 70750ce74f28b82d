"""fuse_ops: exactly the runs of FORMAT.md, section 3.6, and only where nobody else looks."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable

import pytest

from bitexport.passes.fuse_ops import FUSIONS, fuse_ops, fused_away
from bitexport.passes.plan import Plan
from bitexport.paths import targets_root

WritePlan = Callable[..., Plan]

RUNS = {
    1: ("h = RmsNorm x W", "q s = QuantizeRows h"),
    2: ("t = TernaryMatMul q W", "y = Rescale t s F"),
    3: ("t = DenseMatMul q W", "y = Rescale t s F"),
    4: ("r = Relu x", "m = Mul r r", "y = Mul m z"),
    5: ("m = Silu x", "y = Mul m z"),
    6: ("t = TernaryMatMul h W", "u = TernaryMatMul l W", "y = Rescale t s F u"),
    7: ("t = DenseMatMul h W", "u = DenseMatMul l W", "y = Rescale t s F u"),
}


def codes(plan: Plan) -> list[tuple[int, int]]:
    """Return fusion code and count of every op."""
    return [(op.fusion, op.fusion_count) for op in plan.ops]


@pytest.mark.parametrize("code", RUNS)
def test_a_run_is_fused(code: int, plan_of: WritePlan) -> None:
    lines = RUNS[code]
    plan = fuse_ops(plan_of(*lines, outputs=lines[-1].split(" = ")[0]))
    assert codes(plan) == [(code, len(lines)), *[(0, 0)] * (len(lines) - 1)]
    inner = {line.split(" = ")[0] for line in lines[:-1]}
    assert {plan.values[at].name for at in fused_away(plan)} == inner


@pytest.mark.parametrize("code", RUNS)
def test_a_run_whose_inner_value_is_read_elsewhere_is_not_fused(
    code: int, plan_of: WritePlan
) -> None:
    for line in RUNS[code][:-1]:
        inner = line.split(" = ")[0]
        plan = fuse_ops(plan_of(*RUNS[code], f"other = Relu {inner}", outputs="other"))
        assert (code, len(RUNS[code])) not in codes(plan)


@pytest.mark.parametrize("code", RUNS)
def test_a_run_whose_inner_value_is_an_output_is_not_fused(code: int, plan_of: WritePlan) -> None:
    for line in RUNS[code][:-1]:
        plan = fuse_ops(plan_of(*RUNS[code], outputs=line.split(" = ")[0]))
        assert (code, len(RUNS[code])) not in codes(plan)


@pytest.mark.parametrize("code", RUNS)
def test_a_run_that_another_op_interrupts_is_not_fused(code: int, plan_of: WritePlan) -> None:
    first, *rest = RUNS[code]
    plan = fuse_ops(plan_of(first, "other = Relu unrelated", *rest))
    assert (code, len(RUNS[code])) not in codes(plan)


@pytest.mark.parametrize("code", RUNS)
def test_a_run_whose_rows_change_is_not_fused(code: int, plan_of: WritePlan) -> None:
    plan = fuse_ops(plan_of(*RUNS[code], kept=RUNS[code][-1].split(" = ")[0]))
    assert (code, len(RUNS[code])) not in codes(plan)


def test_a_norm_of_several_heads_is_not_fused(plan_of: WritePlan) -> None:
    assert codes(fuse_ops(plan_of(*RUNS[1], heads=4))) == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    "lines",
    [
        ("r = Relu x", "m = Mul r z", "y = Mul m z"),
        ("r = Relu x", "m = Mul z r", "y = Mul m z"),
        ("r = Relu x", "m = Mul r r", "y = Mul z m"),
        ("r = Relu x", "m = Mul r r", "y = Mul m m"),
        ("r = Relu x", "m = Mul r r", "y = Add m z"),
        ("h = RmsNorm x W", "q s = QuantizeRows x"),
        ("t = TernaryMatMul q W", "y = Rescale z s F"),
        ("t = TernaryMatMul q W", "y = Rescale t s F z"),
        ("t = DenseMatMul q W", "y = Rescale t s F z"),
        ("m = Silu x", "y = Mul z m"),
        ("m = Silu x", "y = Mul m m"),
        ("m = Silu x", "y = Add m z"),
        ("t = TernaryMatMul h W", "u = TernaryMatMul l V", "y = Rescale t s F u"),
        ("t = TernaryMatMul h W", "u = TernaryMatMul l W", "y = Rescale u s F t"),
        ("t = TernaryMatMul h W", "u = TernaryMatMul l W", "y = Rescale t s F z"),
        ("t = DenseMatMul h W", "u = TernaryMatMul l W", "y = Rescale t s F u"),
        ("t = TernaryMatMul h W", "u = TernaryMatMul l W", "y = Rescale t s F"),
        ("h l s = QuantizeRowsInt16 x", "t = TernaryMatMul h W", "y = Rescale z s F l"),
    ],
    ids=["relu_times_other", "other_times_relu", "square_second", "square_squared", "add_last",
         "quantize_of_another", "rescale_of_another", "ternary_with_low_sum", "dense_with_low_sum",
         "other_times_silu", "silu_squared", "silu_added", "two_weights", "low_sum_first",
         "low_sum_of_another", "dense_and_ternary", "low_sum_left_out", "no_low_product"],
)  # fmt: skip
def test_what_only_looks_like_a_run_is_not_fused(
    lines: tuple[str, ...], plan_of: WritePlan
) -> None:
    assert codes(fuse_ops(plan_of(*lines))) == [(0, 0)] * len(lines)


def test_two_products_that_are_looked_up_keep_their_sums(plan_of: WritePlan) -> None:
    plan = plan_of(*RUNS[6], outputs="y")
    ops = [dataclasses.replace(op, scratch_bytes=64) for op in plan.ops]
    assert codes(fuse_ops(dataclasses.replace(plan, ops=tuple(ops)))) == [(0, 0)] * 3


def test_fusions_do_not_overlap(lowered: Plan) -> None:
    free_from = 0
    for at, op in enumerate(lowered.ops):
        if op.fusion:
            assert at >= free_from
            names = tuple(covered.op.name for covered in lowered.ops[at : at + op.fusion_count])
            assert names == FUSIONS[op.fusion].names
            free_from = at + op.fusion_count


def test_every_run_of_a_model_is_fused(lowered: Plan) -> None:
    counts = collections.Counter(op.fusion for op in lowered.ops if op.fusion)
    q8 = any(value.name == "head.q" for value in lowered.values)
    assert counts == collections.Counter({1: 8 + q8, 2: 14, 3: int(q8), 4: 2})


def test_every_run_of_a_mixed_network_is_fused(mixed: Plan) -> None:
    counts = collections.Counter(op.fusion for op in mixed.ops if op.fusion)
    # Its norm has two heads and many readers; the head is a table of grouped signs.
    assert counts == collections.Counter({2: 4, 3: 1, 5: 1, 6: 2, 7: 1})


def test_fusion_codes_are_those_of_the_format() -> None:
    text = " ".join((targets_root() / "FORMAT.md").read_text(encoding="utf-8").split())
    listed = re.search(r"Codes: (.*?): the products of high", text)
    assert listed
    found = {
        int(code): tuple(names.strip().split(" + "))
        for code, names in re.findall(r"(\d) ([A-Z][^;:(]*)", listed[1].replace(" and 7", "; 7"))
    }
    assert found == {code: fusion.names for code, fusion in FUSIONS.items()}
