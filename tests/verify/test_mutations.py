"""The verifier sees what it is there to see: every bug below is planted in a copy of the tool.

Each is one change of a text, with a name; most are a bug that some runtime really had.  The copy
builds a checkpoint and verifies the bundle.  It must fail and name the core, the way it ran, the
first differing op and its position, show the first differing number, and write a file that brings
the difference back.

What no comparison of bits can see is not here: codes clipped to [-127, 127] (the scale
127 / max |x| never makes -128), the eight lanes of a sum turned (the tree stays the same tree), and
a slower kernel that computes the same.

What only some families have is in test_mutations_of_families.py.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.verify.broken_tool import MISMATCH, Edit, Tree, Wrong, assert_named, said
from tokenizers import Tokenizer

from bitexport.verify.expected import compute_expected, load_reference
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.graph import Array

Build = Callable[..., Tree]

BAD_BUNDLE = 1
PROMPT = "w10 upon w0 a w1 time , there was"
EVEN_AT, TIES_AT, LAST = 2, 4, 8
"""Where the prompt has the token of equal numbers, that of ties, and where it ends."""

C = "targets/runtime"
P2R = f"{C}/kernels/gemv_s32_s8_p2r/gemv_s32_s8_p2r"
P2R_PANEL = f"{C}/kernels/gemm_s32_s8_p2r/gemm_s32_s8_p2r"
MIX = f"{C}/kernels/gevm_f32_f32_f16/gevm_f32_f32_f16"
PASSES = "exporter/bitexport/passes"

NO_BOOT_CHECK = Edit(
    f"{C}/src/session.c",
    "    if (!bitx_kernels_agree(&opened.kernels)) return BITX_E_KERNEL;\n",
    "",
)
NO_FLOAT_CHECK = Edit(
    f"{C}/src/session.c", "    if (!bitx_floats_are_sound()) return BITX_E_FLOATS;\n", ""
)

DOTPROD_MASK = Edit(f"{P2R_PANEL}_dotprod.c", "vdupq_n_u8(15)", "vdupq_n_u8(7)")
SCALAR_SIGN = Edit(f"{P2R}_scalar.c", "code < 2 ? code : code - 4", "code < 2 ? code : 4 - code")
NEON_FIELDS = Edit(
    f"{P2R_PANEL}_neon.c",
    "    vst1q_s8(rows[0], vqtbl1q_s8(t.lower, low));\n"
    "    vst1q_s8(rows[1], vqtbl1q_s8(t.upper, low));\n",
    "    vst1q_s8(rows[1], vqtbl1q_s8(t.lower, low));\n"
    "    vst1q_s8(rows[0], vqtbl1q_s8(t.upper, low));\n",
)
NEON_INT16 = Edit(f"{P2R}_neon.c", "enum { BLOCK = 64 };", "enum { BLOCK = 128 };")
NO_DSP = tuple(
    Edit("targets/cortex-m4/target.toml", f'{key} = ["scalar", "dsp"]', f'{key} = ["scalar"]')
    for key in ("isas       ", "mps2-an386")
)
DSP_COLUMN = Edit(
    f"{C}/kernels/gemv_s32_s8_p2r/gemv_s32_s8_p2r_dsp.c",
    "four << 8 & 0xff00ff00u", "four << 8 & 0xff00u",
)  # fmt: skip
MVE_LANE = Edit(
    f"{C}/kernels/gemv_s32_s8_p2r/gemv_s32_s8_p2r_mve.c",
    "words_before(tiles + 4 * lane)", "words_before(tiles + 4 * (lane ^ 1))",
)  # fmt: skip
CONTRACTION = Edit("targets/flags.toml", '"-ffp-contract=off"', '"-ffp-contract=fast"')


WRONG = (
    Wrong(
        name="a mask of the dotprod kernel is too small",
        edits=(DOTPROD_MASK, NO_BOOT_CHECK),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        target="arm64", core="cortex-a76", equal=("cortex-a53",),
    ),
    Wrong(
        name="the scalar kernel has a sign wrong",
        edits=(SCALAR_SIGN, NO_BOOT_CHECK),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        way="op by op, chunks of 9, 1 thread, scalar",
    ),
    Wrong(
        name="the scalar kernel has a sign wrong and there is no other",
        edits=(SCALAR_SIGN, *NO_DSP),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        target="cortex-m4", core="mps2-an386",
    ),
    Wrong(
        name="the dsp kernel leaves a column out",
        edits=(DSP_COLUMN, NO_BOOT_CHECK),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        target="cortex-m4", core="mps2-an386",
    ),
    Wrong(
        name="the mve kernel gathers another lane",
        edits=(MVE_LANE, NO_BOOT_CHECK),  # of nine rows the panel takes eight
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum", position=8,
        target="cortex-m55", core="mps3-an547",
    ),
    Wrong(
        name="neon reads two fields of the layout in another order",
        edits=(NEON_FIELDS, NO_BOOT_CHECK),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        target="arm64", core="cortex-a53",
    ),
    Wrong(
        name="neon sums in int16 for too long",
        edits=(NEON_INT16, NO_BOOT_CHECK),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum", position=EVEN_AT,
        target="armv7", core="cortex-a7",
    ),
    Wrong(
        name="neon puts an index of p2b together one bit too high",
        edits=(
            Edit(
                f"{C}/kernels/gemm_s32_s8_p2b/gemm_s32_s8_p2b_neon.c",
                "vsriq_n_u8(vshrq_n_u8(second, 3), first, 5)",
                "vsriq_n_u8(vshrq_n_u8(second, 2), first, 5)",
            ),
            NO_BOOT_CHECK,
        ),
        op="TernaryMatMulP2B", output="model.layers.0.self_attn.q_proj.sum",
        target="arm64-v8.0", core="cortex-a53",
    ),
    Wrong(
        name="the dotprod kernel multiplies a group of t5x3 by the columns of another",
        edits=(
            Edit(
                f"{C}/kernels/gemv_s32_s8_t5x3/gemv_s32_s8_t5x3_dotprod.c",
                'ADD_LOWER("v8", "v13", "v9", "v14", "v17", 2)',
                'ADD_LOWER("v8", "v13", "v9", "v14", "v17", 1)',
            ),
            NO_BOOT_CHECK,
        ),
        op="TernaryMatMulT5X3", output="model.layers.0.self_attn.q_proj.sum", position=LAST + 1,
        target="arm64", core="cortex-a76", equal=("cortex-a53",), options=("--layout", "t5x3"),
    ),
    Wrong(
        name="rows of t5x3 that were packed again come back in another order",
        edits=(
            Edit(
                f"{C}/kernels/pack_p2r_t5x3/pack_p2r_t5x3.h",
                "q < 11 ? q + 1 : 9", "q < 11 ? 20 - q : 9",
            ),
            NO_BOOT_CHECK,
        ),
        op="TernaryMatMulT5X3", output="model.layers.0.self_attn.q_proj.sum",
        target="arm64", core="cortex-a53", options=("--layout", "t5x3"),
    ),
    Wrong(
        name="the int8 dotprod kernel reads a quarter of the weights twice",
        edits=(
            Edit(
                f"{C}/kernels/gemv_s32_s8_s8/gemv_s32_s8_s8_dotprod.c",
                "row.val[3]", "row.val[2]",
            ),
            NO_BOOT_CHECK,
        ),
        op="DenseMatMulQ8", output="head.sum",
        target="arm64", core="cortex-a76", equal=("cortex-a53",), options=("--embedding", "q8"),
    ),
    Wrong(
        name="two lanes of a float sum change places",
        edits=(
            Edit(
                f"{C}/src/floats.h",
                "((l[0] + l[4]) + (l[2] + l[6]))", "((l[0] + l[2]) + (l[4] + l[6]))",
            ),
            NO_BOOT_CHECK,
        ),
        op="RmsNorm", output="model.layers.0.input_layernorm.output",
        prompt=PROMPT.replace("w10", "w3"),
    ),
    # After a position of zeros, the squares of bf16 are exact; RoPE then has the first that is not.
    Wrong(
        name="the compiler contracts",
        edits=(CONTRACTION, NO_FLOAT_CHECK),
        op="Rope", output="model.layers.0.self_attn.q_rope", position=1,
        target="arm64", core="cortex-a53", prompt=PROMPT.replace("w10", "w2"),
    ),
    Wrong(
        name="no ReLU before the square",
        edits=(
            Edit(f"{C}/ops/row_math.h", "bits & bitx_mask(bits - 1 < BITX_INFINITY_BITS)", "bits"),
        ),
        op="Relu", output="model.layers.0.mlp.relu",
    ),
    Wrong(
        name="the plan has another epsilon than the graph",
        edits=(
            Edit(
                f"{PASSES}/plan.py",
                "op.attribute_words(given)",
                'op.attribute_words({**given, "epsilon": 1e-6})',
            ),
        ),
        op="RmsNorm", output="model.layers.0.input_layernorm.output",
    ),
    Wrong(
        name="RoPE turns the wrong way",
        edits=(Edit(f"{C}/ops/rope.c", "low[i] * c[i] - high[i]", "low[i] * c[i] + high[i]"),),
        op="Rope", output="model.layers.0.self_attn.q_rope", position=1,
    ),
    Wrong(
        name="the plan gives cosines for sines",
        edits=(
            Edit(
                f"{PASSES}/plan.py",
                "        made = tuple(index",
                '        if node.op_type == "Rope":\n'
                "            operands[1], operands[2] = operands[2], operands[1]\n"
                "        made = tuple(index",
            ),
        ),
        op="Rope", output="model.layers.0.self_attn.q_rope",
    ),
    Wrong(
        name="the softmax denominator counts lanes from the start of the chunk",
        edits=(
            Edit(
                f"{C}/ops/attend.c",
                "    mix(call, y, scores, h);\n",
                "    mix(call, y, scores, h);\n"
                "    bitx_lanes lanes = {{0}};\n"
                "    const uint32_t start = call->position;\n"
                "    for (uint32_t j = 0; j < h->positions; j++)\n"
                "        lanes.lane[(j < start ? j : j - start) % 8] += scores[j];\n"
                "    z = bitx_lane_total(&lanes);\n",
            ),
        ),
        op="Attend", output="model.layers.0.self_attn.attend", position=LAST + 1,
    ),
    Wrong(
        name="attention adds values from the last to the first",
        edits=(
            Edit(
                f"{MIX}_scalar.c",
                "sum[i] += x[row] * bitx_from_f16(row_of(w, row, stride)[first + i]);",
                "sum[i] += x[n - 1 - row] *\n"
                "    bitx_from_f16(row_of(w, n - 1 - row, stride)[first + i]);",
            ),
            NO_BOOT_CHECK,
        ),
        op="Attend", output="model.layers.0.self_attn.attend", position=2,
        way="op by op, chunks of 9, 1 thread, scalar",
    ),
    Wrong(
        name="attention leaves what was in the arena",
        edits=(
            Edit(
                f"{MIX}_scalar.c",
                "float sum[BLOCK] = {0};\n",
                "float sum[BLOCK];\n        bitx_copy(sum, y + first, sizeof sum);\n",
            ),
            NO_BOOT_CHECK,
        ),
        op="Attend", output="model.layers.0.self_attn.attend",
        way="op by op, chunks of 9, 1 thread, scalar",
    ),
    Wrong(
        name="the cache cuts to f16 instead of rounding",
        edits=(Edit(f"{C}/src/floats.c", " + 0xfff + (magnitude >> 13 & 1)) >> 13", ") >> 13"),),
        op="AppendCache", output="present.0.key",
    ),
    Wrong(
        name="codes in the cache have the scale of the first head",
        edits=(Edit(f"{C}/ops/attend_int8.c", "row)[h->group]", "row)[0]"),),
        op="AttendInt8", output="model.layers.0.self_attn.attend", options=("--kv-cache", "int8"),
    ),
    Wrong(
        name="the scale of codes is the factor that made them",
        edits=(
            Edit(f"{C}/ops/append_cache_int8.c", "scale[h] = 1.0f / factor", "scale[h] = factor"),
        ),
        op="AppendCacheInt8", output="present.0.key_scale", options=("--kv-cache", "int8"),
    ),
    Wrong(
        name="activations on a tie are rounded away from zero",
        edits=(
            Edit(
                f"{C}/ops/row_math.h",
                "bitx_clip(bitx_nearest(x[i] * scale))",
                "bitx_clip((int32_t)(x[i] * scale + (x[i] < 0.0f ? -0.5f : 0.5f)))",
            ),
        ),
        op="QuantizeRows", output="model.layers.0.input_layernorm.q", position=TIES_AT,
    ),
    Wrong(
        name="activations are rounded down",
        edits=(Edit(f"{C}/src/floats.h", "bits(x + 0x1.8p23f)", "bits((x - 0.5f) + 0x1.8p23f)"),),
        op="QuantizeRows", output="model.layers.0.input_layernorm.q",
    ),
    Wrong(
        name="two threads repeat one tile and leave out the next",
        edits=(
            Edit(
                f"{C}/extras/bitx_threads.c",
                "task(argument, first + i);",
                "task(argument, (first + i) & ~(size_t)1);",
            ),
        ),
        op="TernaryMatMulP2R", output="model.layers.0.self_attn.q_proj.sum",
        way="op by op, chunks of 9, 2 threads",
    ),
    Wrong(
        name="a chunk that is not the first attends to one position less",
        edits=(
            Edit(
                f"{C}/ops/attend.h",
                "h.positions = call->position + t + 1;",
                "h.positions = call->position + t + 1 - (call->position > 0 && t > 0);",
            ),
        ),
        op="Attend", output="model.layers.0.self_attn.attend", position=6,
        way="op by op, chunks of 5, 1 thread",
    ),
    Wrong(
        name="the fused norm multiplies in another order",
        edits=(
            Edit(
                f"{C}/ops/row_math.h",
                "((x[i] * inverse_rms) * weight[i]) * scale",
                "(x[i] * (inverse_rms * weight[i])) * scale",
            ),
            Edit(
                f"{C}/src/floats.c", "((x[i] * by) * weight[i])", "(x[i] * (by * weight[i]))"
            ),
        ),
        op="DenseMatMulBf16", output="logits", position=LAST, way="fused, chunks of 9, 1 thread",
    ),
    Wrong(
        name="kept rows are the first of the chunk, not the last",
        edits=(
            Edit(
                f"{C}/src/execute.c",
                "    if (matrix->data) matrix->data += (matrix->rows - kept) * matrix->stride;\n",
                "",
            ),
        ),
        op="DenseMatMulBf16", output="logits", position=LAST, way="fused, chunks of 9, 1 thread",
    ),
    Wrong(
        name="kept rows believe that they are at the start of the chunk",
        edits=(
            Edit(f"{C}/src/execute.c", "    call->position += rows - call->out[0].rows;\n", ""),
        ),
        op="DenseMatMulBf16", output="logits", position=LAST, way="fused, chunks of 9, 1 thread",
    ),
    Wrong(
        name="the caller gets the logits of another row than was traced",
        edits=(
            Edit(
                f"{C}/src/language.c",
                "rows - kept : 0",
                "(rows - kept) / 2 : 0",
            ),
        ),
        op="DenseMatMulBf16", output="logits", position=LAST,
    ),
    Wrong(
        name="the reference adds epsilon after the root",
        edits=(
            Edit(
                "runtime_ref/bitexport_ref/ops/rms_norm.py",
                "np.sqrt(mean + np.float32(epsilon))", "(np.sqrt(mean) + np.float32(epsilon))",
            ),
        ),
        op="RmsNorm", output="model.layers.0.input_layernorm.output",
    ),
)  # fmt: skip


ORDER = Wrong(
    name="the fused ReLU^2 multiplies in another order",
    edits=(
        Edit(
            f"{C}/fusions/relu_square_mul.c",
            "(bitx_relu(x[i]) * bitx_relu(x[i])) * by[i]",
            "bitx_relu(x[i]) * (bitx_relu(x[i]) * by[i])",
        ),
    ),
    op="DenseMatMulBf16", output="logits", way="fused, chunks of 9, 1 thread",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A bug that is caught without comparing op outputs, and what must be said of it."""

    name: str
    edits: tuple[Edit, ...]
    says: str
    target: str = "arm64"
    core: str = "cortex-a53"
    equal: tuple[str, ...] = ()


KERNEL = "status -13 kernel differs from its definition"
REFUSED = (
    Refused(
        name="a mask of the dotprod kernel is too small", edits=(DOTPROD_MASK,), says=KERNEL,
        core="cortex-a76", equal=("cortex-a53",),
    ),
    Refused(
        name="the scalar kernel has a sign wrong", edits=(SCALAR_SIGN,), says=KERNEL,
        target="host", core="native",
    ),
    Refused(
        name="neon reads two fields of the layout in another order", edits=(NEON_FIELDS,),
        says=KERNEL,
    ),
    Refused(
        name="codes in the cache lose their sign",
        edits=(
            Edit(
                f"{C}/kernels/gevm_f32_f32_s8/gevm_f32_f32_s8_avx2.c",
                "_mm256_cvtepi8_epi32", "_mm256_cvtepu8_epi32",
            ),
        ),
        says=KERNEL, target="host", core="native",
    ),
    Refused(
        name="neon sums in int16 for too long", edits=(NEON_INT16,), says=KERNEL,
        target="armv7", core="cortex-a7",
    ),
    Refused(
        name="the compiler contracts", edits=(CONTRACTION,),
        says="status -12 floats are not IEEE-754 here",
    ),
    Refused(
        name="dotprod is never detected",
        edits=(
            Edit(
                f"{C}/src/isa_linux.c",
                "    if (hwcap & HWCAP_DOTPROD) isa |= BITX_ISA_DOTPROD;\n", "",
            ),
        ),
        says="expects scalar neon dotprod; available: scalar neon, seen to run: scalar neon",
        core="cortex-a76",
    ),
    Refused(
        name="dotprod is there and never used",
        edits=(
            Edit(
                f"{C}/src/kernels.c",
                "    if (isa & BITX_ISA_DOTPROD) bitx_use_dotprod(kernels);\n", "",
            ),
        ),
        says="available: scalar neon dotprod, seen to run: scalar neon",
        core="cortex-a76",
    ),
    Refused(
        name="of equal logits the last is chosen",
        edits=(
            Edit(f"{C}/src/language.c", "logits[i] > logits[best]", "logits[i] >= logits[best]"),
        ),
        says=f"position {LAST}: another token was chosen", target="host", core="native",
    ),
    Refused(
        name="the program dies on the way",
        edits=(
            Edit(
                f"{C}/ops/rope.c",
                "    bitx_parallel_rows(",
                "    if (call->position > 9) __builtin_trap();\n    bitx_parallel_rows(",
            ),
        ),
        says="was not computed: the run stopped: `runner` on host, core native, was stopped by SIG",
        target="host", core="native",
    ),
    Refused(
        name="the self-test holds its chains in another order",
        edits=(
            Edit(
                "exporter/bitexport/package/self_test.py",
                "(expected.logits_chain, *expected.chains)",
                "(expected.logits_chain, *expected.chains[::-1])",
            ),
        ),
        says="the self-test in the file failed: the chain of op output 0, EmbedBf16 `embedding`,",
        target="host", core="native",
    ),
)  # fmt: skip


@pytest.mark.parametrize("target", ["host", "arm64"])
def test_the_copy_that_nobody_broke_is_equal(target: str, sound: Callable[[str], Tree]) -> None:
    tree = sound(target)
    cores = {"host": ["native"], "arm64": ["cortex-a53", "cortex-a76"]}[target]
    done = tree.verify(*cores, prompt=PROMPT)
    assert done.code == 0, done.err
    assert [core["passed"] for core in done.report["cores"].values()] == [True] * len(cores)


@pytest.mark.parametrize("bug", WRONG, ids=lambda bug: bug.name.replace(" ", "-"))
def test_the_first_differing_op_is_named(bug: Wrong, build: Build) -> None:
    assert_named(build(bug.edits, bug.target, *bug.options), bug, PROMPT)


def in_another_order(model: ReferenceModel) -> ReferenceModel:
    """Return a reference with the bug ORDER: x (x y) for (x x) y."""

    def product(x: Array, y: Array) -> Array:
        return x * (x * y)

    steps = list(model.graph.steps)
    squares = {
        step.outputs[0]: step.inputs[0]
        for step in steps
        if step.op_type == "Mul" and step.inputs[0] == step.inputs[1]
    }
    for at, step in enumerate(steps):
        if step.op_type == "Mul" and step.inputs[0] in squares:
            inputs = (squares[step.inputs[0]], step.inputs[1])
            steps[at] = dataclasses.replace(step, inputs=inputs, function=product)
    return ReferenceModel(dataclasses.replace(model.graph, steps=tuple(steps)))


def test_a_fusion_that_rounds_otherwise_is_seen_where_a_reference_that_does_so_differs(
    build: Build, sound: Callable[[str], Tree]
) -> None:
    """The last bits of an op may be lost in int8 codes: it is luck which logits are the first."""
    bundle = sound("host").bundle
    model = load_reference(bundle / "model.onnx")
    prompt = Tokenizer.from_file(str(bundle / "tokenizer.json")).encode(PROMPT).ids
    right, wrong = (compute_expected(each, prompt, 4) for each in (model, in_another_order(model)))
    logits = range(LAST, right.positions)
    position = next(at for at in logits if right.logits(at) != wrong.logits(at))
    bug = dataclasses.replace(ORDER, position=position)
    assert_named(build(bug.edits, bug.target), bug, PROMPT)


@pytest.mark.parametrize("bug", REFUSED, ids=lambda bug: bug.name.replace(" ", "-"))
def test_the_reason_is_said_where_there_are_no_bits_to_compare(bug: Refused, build: Build) -> None:
    tree = build(bug.edits, bug.target)
    assert tree.built.code == 0, tree.built.err
    done = tree.verify(*bug.equal, bug.core, prompt=PROMPT)
    assert done.code == MISMATCH, done.out + done.err
    for core in bug.equal:
        assert done.report["cores"][core]["passed"]
    assert not done.report["cores"][bug.core]["passed"]
    assert bug.core in done.err
    assert bug.says in said(done.err)


PACK = "exporter/bitexport/layouts/__init__.py"
WRITTEN = {
    "the lanes of a tile are packed in reverse": Edit(
        PACK, "codes.transpose(0, 2, 1, 3)", "codes[:, ::-1].transpose(0, 2, 1, 3)"
    ),
    "tiles between the first and the last are packed in reverse": Edit(
        PACK,
        "codes.transpose(0, 2, 1, 3)",
        "codes[[0, *range(len(codes) - 2, 0, -1), -1][: len(codes)]].transpose(0, 2, 1, 3)",
    ),
    "rows of plain matrices are written in reverse": Edit(
        "exporter/bitexport/models/parts/stored.py",
        "np.ascontiguousarray(rows).tobytes()",
        "np.ascontiguousarray(rows[::-1]).tobytes()",
    ),
}


@pytest.mark.parametrize("bug", WRITTEN)
def test_weights_that_are_written_wrongly_are_not_built(bug: str, build: Build) -> None:
    """Reference and runtime read the same wrong bytes, so `build` itself reads them back."""
    done = build((WRITTEN[bug],), "host", "--no-library").built
    assert done.code == MISMATCH, done.err
    assert "the reference reads other numbers in rows" in said(done.err)


PLANNED = {
    "a value moves into a slot that the same op reads": Edit(
        f"{PASSES}/plan_memory.py", "ends[slot] < first", "ends[slot] <= first"
    ),
    "a fusion overwrites what it still reads": Edit(
        f"{PASSES}/plan_memory.py",
        "fused = _assign(plan, _fused_steps(plan), fused_away(plan))",
        "fused = _assign(plan, {at: at for at in range(len(plan.ops))}, fused_away(plan))",
    ),
}


@pytest.mark.parametrize("bug", PLANNED)
def test_a_plan_that_breaks_a_rule_is_not_built(bug: str, build: Build) -> None:
    """The C loader holds the same rule (tests/formats); here the second reader comes first."""
    done = build((PLANNED[bug],), "host", "--no-library").built
    assert done.code == MISMATCH, done.err
    assert "the reference refuses the file just written: R23" in said(done.err)


def test_a_wrap_that_no_activation_reaches_is_left_to_the_boot_check(build: Build) -> None:
    tree = build((NEON_INT16, NO_BOOT_CHECK), "armv7")
    assert tree.verify("cortex-a7", prompt="Once upon a time").code == 0
    assert tree.verify("cortex-a7", prompt="Once upon w0 time").code == MISMATCH


def test_a_replaced_library_is_not_what_was_built(
    sound: Callable[[str], Tree], tmp_path: Path
) -> None:
    bundle = shutil.copytree(sound("host").bundle, tmp_path / "bundle")
    library = bundle / "lib" / "host" / "libbitexport.a"
    library.write_bytes(library.read_bytes() + b"\n")
    done = sound("host").command("verify", str(bundle))
    assert done.code == BAD_BUNDLE
    assert f"{library}: is not the file that was built" in done.err


def test_a_case_that_was_repaired_is_equal(build: Build, sound: Callable[[str], Tree]) -> None:
    bug = WRONG[-1]
    broken = build(bug.edits, bug.target)
    found = broken.verify(bug.core, prompt=PROMPT).report["cores"][bug.core]
    case = ("verify", "bundle", "--replay", found["explanation"]["replay"])
    assert broken.command(*case).code == MISMATCH
    done = sound(bug.target).command(*case)
    assert done.code == 0, done.err
    assert "equal" in done.out


def test_a_mutation_that_changes_nothing_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file.c").write_text("y = a + a;")
    for old in ("b", "a"):
        with pytest.raises(AssertionError, match="not once"):
            Edit("file.c", old, "c").apply(tmp_path)
