"""The verifier sees bugs in what only some families have: see test_mutations.py.

The models are the trained ones of samples/families: each has the op that is broken.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.families.trained import HELD_OUT, SAMPLES
from tests.verify.broken_tool import MISMATCH, Edit, Tree, Wrong, assert_named, said

Build = Callable[..., Tree]

PROMPT = "Once upon a time, there was a little girl"
STORIES = 3
LAST = 12
"""Where the prompt ends."""

C = "targets/runtime"
B1R, Q4R = (f"{C}/kernels/gemv_s32_s8_{layout}/gemv_s32_s8_{layout}" for layout in ("b1r", "q4r"))
OP_BY_OP = "op by op, chunks of 13, 1 thread"
FUSED = "fused, chunks of 13, 1 thread"

WRONG = (
    Wrong(
        name="the sums of the high half are taken for those of the low",
        edits=(
            Edit(
                f"{C}/ops/rescale.c",
                "int16(y, sum, low_sum, weight_scale", "int16(y, sum, sum, weight_scale",
            ),
        ),
        op="RescaleInt16", output="model.layers.0.self_attn.q_proj.output", way=OP_BY_OP,
        sample="trilm",
    ),
    Wrong(
        name="the fused product takes the sums of the high half for those of the low",
        edits=(
            Edit(
                f"{C}/fusions/matmul_rescale.c",
                "int16(y, sum, low_sum, factor", "int16(y, sum, sum, factor",
            ),
        ),
        op="DenseMatMulF16", output="logits", position=LAST, way=FUSED, sample="trilm",
    ),
    Wrong(
        name="a group takes the scale of its neighbour",
        edits=(
            Edit(
                f"{C}/ops/group_matmul.c",
                "read_scales(b, &call->in[2], g, first,",
                "read_scales(b, &call->in[2], g > 0 ? g - 1 : g, first,",
            ),
        ),
        op="GroupMatMulInt16B1R", output="model.layers.0.self_attn.q_proj.output", way=OP_BY_OP,
        sample="bonsai-binary",
    ),
    Wrong(
        name="every kernel reads the bits of a sign in another order",
        edits=(
            Edit(f"{B1R}_scalar.c", "bit = row / 4 % 8,", "bit = (row / 4 % 8) ^ 4,"),
            Edit(
                f"{B1R}_avx2.c",
                "store(y + row, &low, x_sum);\n        store(y + row + 16, &high,",
                "store(y + row, &high, x_sum);\n        store(y + row + 16, &low,",
            ),
        ),
        op="GroupMatMulInt16B1R", output="model.layers.0.self_attn.q_proj.output", way=OP_BY_OP,
        sample="bonsai-binary",
    ),
    Wrong(
        name="every kernel takes both halves of a q4r byte for the lower",
        edits=(
            Edit(f"{Q4R}_scalar.c", "return code < 8 ? code : code - 16;", "return code - 8;"),
            Edit(f"{Q4R}_avx2.c", "_mm256_set1_epi8(8)); /*", "_mm256_set1_epi8(0)); /*"),
            Edit(f"{Q4R}_vnni.c", "_mm512_set1_epi8(-128)); /*", "_mm512_set1_epi8(0)); /*"),
        ),
        op="GroupMatMulInt16Q4R", output="logits", way=OP_BY_OP,
        sample="trilm", options=("--embedding", "q4"),
    ),
    Wrong(
        name="SiLU forgets the minus",
        edits=(Edit(f"{C}/ops/row_math.h", "bitx_exp(0.0f - x)", "bitx_exp(x)"),),
        op="Silu", output="model.layers.0.mlp.silu", way=OP_BY_OP, sample="trilm",
    ),
    Wrong(
        name="the fused SiLU gates with the first row",
        edits=(
            Edit(f"{C}/fusions/silu_mul.c", "bitx_row(gate, t),", "bitx_row(gate, 0 * t),"),
        ),
        op="DenseMatMulF16", output="logits", position=LAST, way=FUSED, sample="trilm",
    ),
    Wrong(
        name="the heads of a norm are normalised as one",
        edits=(
            Edit(
                f"{C}/ops/rms_norm.c",
                "    for (uint32_t h = 0; h",
                "    const float r = bitx_inverse_rms(x, call->out[0].columns, epsilon);\n"
                "    for (uint32_t h = 0; h",
            ),
            Edit(
                f"{C}/ops/rms_norm.c",
                "bitx_normalize(y, x, bitx_inverse_rms(x, d, epsilon),",
                "bitx_normalize(y, x, r,",
            ),
        ),
        op="RmsNorm", output="model.layers.0.self_attn.q_norm.output", way=OP_BY_OP,
        sample="bonsai-binary",
    ),
)  # fmt: skip


@pytest.mark.parametrize("bug", WRONG, ids=lambda bug: bug.name.replace(" ", "-"))
def test_the_first_differing_op_is_named(bug: Wrong, build: Build) -> None:
    tree = build(bug.edits, bug.target, *bug.options, sample=bug.sample)
    assert_named(tree, bug, PROMPT)


READ_BACK = "the reference reads other numbers in rows"
REFUSED = "the reference refuses the file just written: R"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotBuilt:
    """A bug of the exporter that reference and runtime would both follow."""

    name: str
    edit: Edit
    says: str
    sample: str
    options: tuple[str, ...] = ()


NOT_BUILT = (
    NotBuilt(
        name="the bits of a byte are packed in another order",
        edit=Edit("exporter/bitexport/layouts/b1r.py", "np.uint8(bit)", "np.uint8(_BITS - bit)"),
        says=READ_BACK, sample="bonsai-binary",
    ),
    NotBuilt(
        name="both halves of a byte are packed as the lower",
        edit=Edit(
            "exporter/bitexport/layouts/q4r.py",
            "fields[:, 1] << np.uint8(4)", "(fields[:, 1] + np.uint8(8)) << np.uint8(4)",
        ),
        says=READ_BACK, sample="trilm", options=("--embedding", "q4"),
    ),
    NotBuilt(
        name="the plan says that a norm has one head",
        edit=Edit(
            "exporter/bitexport/passes/plan.py",
            "op.attribute_words(given)",
            'op.attribute_words({**given, "heads": 1})',
        ),
        says=REFUSED, sample="bonsai-binary",
    ),
)  # fmt: skip


@pytest.mark.parametrize("bug", NOT_BUILT, ids=lambda bug: bug.name.replace(" ", "-"))
def test_what_the_exporter_does_wrongly_is_not_built(bug: NotBuilt, build: Build) -> None:
    done = build((bug.edit,), "host", "--no-library", *bug.options, sample=bug.sample).built
    assert done.code == MISMATCH, done.err
    assert bug.says in said(done.err)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misread:
    """A checkpoint that is read as another model: all of the tool agrees on the wrong one."""

    name: str
    edit: Edit
    sample: str


MISREAD = (
    Misread(
        name="a scale that divides is multiplied with",
        edit=Edit(
            "exporter/bitexport/checkpoints/decode.py",
            "if scheme is Scheme.DIVIDED:", "if scheme is Scheme.MULTIPLIED:",
        ),
        sample="falcon",
    ),
    Misread(
        name="rows of q and k stay in the order of llama.cpp",
        edit=Edit(
            "exporter/bitexport/checkpoints/gguf_model.py",
            'PERMUTED = ("llama",)', "PERMUTED = ()",
        ),
        sample="trilm",
    ),
)  # fmt: skip

SOUND_KL, WRONG_KL = 4e-4, 0.05


@pytest.mark.parametrize("bug", MISREAD, ids=lambda bug: bug.name.replace(" ", "-"))
def test_another_reading_is_another_model_to_transformers(
    bug: Misread, build: Build, tmp_path: Path
) -> None:
    """Bits cannot say it, reference and runtime being given the same; the oracle reads anew."""
    text = tmp_path / "text"
    stories = HELD_OUT.read_text(encoding="utf-8").split("\n\n")[:STORIES]
    text.write_text("\n\n".join(stories), encoding="utf-8")

    def divergence(*edits: Edit) -> float:
        tree = build(edits, "host", "--no-library", sample=bug.sample)
        done = tree.command(
            "verify", "bundle", "--against", "transformers",
            "--checkpoint", str(SAMPLES / "families" / bug.sample), "--text", str(text), "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        return float(json.loads(done.out)["logits"]["mean_kl"])

    assert divergence() < SOUND_KL
    assert divergence(bug.edit) > WRONG_KL
