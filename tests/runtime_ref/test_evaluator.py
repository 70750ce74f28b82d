"""evaluator: any chunking gives the same bits; what is not finite moves nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bitexport_ref.digests import extend_all
from bitexport_ref.errors import BadOperand, ContextFull, NotFinite, ReferenceFailure, TokenOutside
from bitexport_ref.evaluator import ReferenceModel, greedy, load
from bitexport_ref.layouts import LAYOUTS, PackedMatrix, unpack

TOKENS = np.random.default_rng(3).integers(0, 19, 23).astype(np.int32)
CHUNKINGS = {"whole": [23], "one by one": [1] * 23, "uneven": [1, 7, 2, 13], "late": [22, 1]}


def chains_of(session, chunks):
    """Run TOKENS in chunks; return the chains of every op output, and all logits."""
    chains, logits, start = [], [], 0
    for size in chunks:
        outputs = session.run(TOKENS[start : start + size])
        chains = extend_all(chains, outputs.trace)
        logits.append(outputs.logits)
        start += size
    assert session.position == start == len(TOKENS)
    return chains, np.concatenate(logits)


MODELS = [
    *({"table": table, "state": np.dtype(state)}
      for table in ("F32", "F16", "Bf16", "Q8") for state in (np.float16, np.float32)),
    {"weights": "TernaryB1R", "gate": "Silu", "norm_heads": True, "table": "GroupB1R"},
    {"activations": "RowsInt4", "table": "GroupQ4R"},
    {"activations": "RowsInt16", "table": "GroupP2R", "gate": "Silu"},
    {"activations": "RowsInt16", "weights": "GroupQ4R", "norm_heads": True},
    {"activations": "Groups", "weights": "GroupP2R"},
    {"weights": "GroupB1R", "group": 32},
]  # fmt: skip


def label(sizes):
    return "-".join(str(value) for value in sizes.values())


@pytest.mark.parametrize("sizes", MODELS, ids=label)
@pytest.mark.parametrize("unpacked_bytes", [0, 1 << 30])
def test_any_chunking_gives_the_same_bits(sizes, unpacked_bytes, language_model, same_bits):
    model = load(language_model(**sizes), unpacked_bytes=unpacked_bytes)
    session = model.session()
    expected_chains, expected_logits = chains_of(session, CHUNKINGS["whole"])
    assert np.isfinite(expected_logits).all()
    assert expected_logits.std() > 0.01
    for name, chunks in CHUNKINGS.items():
        session.reset()
        assert session.position == 0
        chains, logits = chains_of(session, chunks)
        assert chains == expected_chains, name
        same_bits(logits, expected_logits)


def test_the_trace_is_every_op_output_in_plan_order(language_model):
    model = load(language_model())
    trace = model.session().run(TOKENS[:5]).trace
    nodes = onnx.load(model.path, load_external_data=False).graph.node
    expected = [(name, n.op_type) for n in nodes if n.op_type != "Shape" for name in n.output]
    assert [(name, op_type) for name, op_type, _ in trace] == expected
    assert list(model.plan) == expected
    assert all(rows.ndim == 2 and rows.shape[0] == 5 for _, _, rows in trace)


def test_the_cache_contributes_the_appended_rows_as_stored(language_model):
    model = load(language_model())
    session = model.session()
    session.run(TOKENS[:4])
    by_name = {name: rows for name, _, rows in session.run(TOKENS[4:7]).trace}
    stored = by_name["present.0.key"]
    assert stored.dtype == np.float16
    assert stored.shape == (3, 12)
    turned = by_name["layers.0.key.turned"].astype(np.float16)
    np.testing.assert_array_equal(stored, turned)


def test_without_trace_the_logits_are_the_same(language_model, same_bits):
    model = load(language_model())
    untraced = model.session().run(TOKENS, trace=False)
    assert untraced.trace == []
    same_bits(untraced.logits, model.session().run(TOKENS).logits)


@pytest.mark.parametrize("sizes", MODELS, ids=label)
def test_weights_that_are_not_kept_unpacked_give_the_same_bits(sizes, language_model):
    path = language_model(**sizes)
    kept, not_kept = load(path), load(path, unpacked_bytes=2000)
    expected = chains_of(kept.session(), [23])[0]
    assert chains_of(not_kept.session(), [23])[0] == expected
    assert all(matrix.kept is None for matrix in not_kept._packed.values())
    if sizes.get("weights") or sizes.get("activations"):
        assert any(matrix.kept is not None for matrix in kept._packed.values())


@pytest.mark.parametrize("sizes", MODELS, ids=label)
def test_the_last_row_alone_is_that_of_all_rows(sizes, language_model, same_bits):
    model = load(language_model(**sizes))
    session, other = model.session(), model.session()
    for start, stop in ((0, 1), (1, 14), (14, 23)):
        whole = session.run(TOKENS[start:stop], trace=False)
        last = other.run(TOKENS[start:stop], rows="last")
        assert last.trace == []
        same_bits(last.logits, whole.logits[-1:])
    assert other.position == 23


def test_of_the_last_row_only_what_it_needs_is_computed(language_model, monkeypatch):
    model = load(language_model(layers=2))
    rows = {}
    compute = ReferenceModel._compute

    def spy(self, step, values, twin):
        made = compute(self, step, values, twin)
        rows[step.outputs[0]] = made[0][0].shape[1:2]
        return made

    monkeypatch.setattr(ReferenceModel, "_compute", spy)
    model.session().run(TOKENS, rows="last")
    assert rows["layers.0.y"] == rows["layers.1.query.turned"] == rows["layers.1.attend"] == (23,)
    assert rows["layers.1.out.y"] == rows["layers.1.down.sum"] == rows["logits"] == (1,)


def test_a_trace_of_the_last_row_is_refused(language_model):
    with pytest.raises(BadOperand, match="a trace is one of all rows"):
        load(language_model()).session().run(TOKENS, rows="last", visit=print)


def test_a_visitor_sees_the_trace_as_it_is_made(language_model):
    model = load(language_model())
    seen = []
    outputs = model.session().run(TOKENS, visit=seen.append)
    assert outputs.trace == []
    assert extend_all([], seen) == extend_all([], model.session().run(TOKENS).trace)


def test_products_of_high_and_low_codes_read_their_weight_once(language_model, monkeypatch):
    model = load(language_model(activations="RowsInt16", table="F32"), unpacked_bytes=0)
    read = Counter()
    lines = PackedMatrix.lines

    def spy(self, first, last):
        read[id(self)] += 1
        return lines(self, first, last)

    monkeypatch.setattr(PackedMatrix, "lines", spy)
    model.session().run(TOKENS, trace=False)
    assert len(read) == 2 * 7
    assert set(read.values()) == {1}


@pytest.mark.parametrize("table", ["F32", "Q8"])
def test_two_products_in_one_pass_are_the_two_alone(table, language_model):
    model = load(language_model(activations="RowsInt16", table=table))
    trace = {traced.name: traced.rows for traced in model.session().run(TOKENS).trace}
    products = [step for step in model.graph.steps if "MatMul" in step.op_type]
    products = [step for step in products if step.inputs[0] in trace and step.outputs[0] in trace]
    sums = [step for step in products if trace[step.outputs[0]].dtype == np.int32]
    assert len(sums) >= 2 * 2 * 7
    for step in sums:
        codes = trace[step.inputs[0]][None]
        (alone,) = model.compute(step, {step.inputs[0]: codes})
        np.testing.assert_array_equal(trace[step.outputs[0]], alone[0])


MATRICES = {"wide": ("P2R", 32, 16), "long": ("P2R", 16, 32), "signs": ("B1R", 16, 32)}


def save_products(writer, folder, weight, inputs=()):
    """Save products of rows of ones with one weight, read as several matrices."""
    for name, (layout, n, k) in MATRICES.items():
        writer.op(f"TernaryMatMul{layout}", [f"{name}.q", weight], name, n=n, k=k)
    value = helper.make_tensor_value_info
    return writer.save(
        folder,
        [
            *inputs,
            *(value(f"{name}.q", TensorProto.INT8, [1, k]) for name, (_, _, k) in MATRICES.items()),
        ],
        [value(name, TensorProto.INT32, [1, n]) for name, (_, n, _) in MATRICES.items()],
    )


def row_sums(packed, layout, n, k):
    """Return the sums of the rows of a packed matrix."""
    return unpack(packed, LAYOUTS[layout.lower()], n=n, k=k).sum(axis=1).tolist()


def assert_products(model, packed, **inputs):
    """Check every product of ones: the sums of the rows."""
    ones = {f"{name}.q": np.ones((1, k), np.int8) for name, (_, _, k) in MATRICES.items()}
    for name, sums in model.run_network({**ones, **inputs}).items():
        layout, n, k = MATRICES[name]
        assert sums[0].tolist() == row_sums(packed, layout, n, k)


def random_packed(seed):
    return np.random.default_rng(seed).integers(0, 256, 128).astype(np.uint8)


def test_the_same_bytes_may_be_several_matrices(graph_writer, tmp_path):
    packed = random_packed(0)
    model = load(save_products(graph_writer, tmp_path, graph_writer.weight("w", packed)))
    for _ in range(2):
        assert_products(model, packed)


def test_a_packed_weight_that_is_an_input_may_change(graph_writer, tmp_path):
    given = helper.make_tensor_value_info("w", TensorProto.UINT8, [128])
    model = load(save_products(graph_writer, tmp_path, "w", [given]))
    for seed in range(2):
        assert_products(model, random_packed(seed), w=random_packed(seed))


def test_one_node_is_computed_alone(language_model, same_bits):
    model = load(language_model())
    trace = {traced.name: traced.rows for traced in model.session().run(TOKENS).trace}
    step = next(step for step in model.graph.steps if step.outputs == ("layers.0.gate.sum",))
    codes = trace["layers.0.ffn.y.q"][None]
    (sums,) = model.compute(step, {step.inputs[0]: codes})
    np.testing.assert_array_equal(sums[0], trace["layers.0.gate.sum"])


def test_two_sessions_of_one_model_do_not_meet(language_model, same_bits):
    model = load(language_model())
    expected = model.session().run(TOKENS[:6]).logits
    one, other = model.session(), model.session()
    one.run(TOKENS[:3])
    other.run(TOKENS[6:])
    same_bits(one.run(TOKENS[3:6]).logits, expected[3:])


# ---- failures --------------------------------------------------------------------------------


def assert_unmoved(session, same_bits):
    """Check that the session goes on as if the failed call had not been made."""
    fresh = session.model.session()
    fresh.run(TOKENS[:3])
    assert session.position == 3
    same_bits(session.run(TOKENS[3:5]).logits, fresh.run(TOKENS[3:5]).logits)


def test_a_token_outside_the_vocabulary_moves_nothing(language_model, same_bits):
    session = load(language_model()).session()
    session.run(TOKENS[:3])
    with pytest.raises(TokenOutside, match="EmbedBf16 `embed`: token 19 is outside"):
        session.run(np.array([1, 19], np.int32))
    assert_unmoved(session, same_bits)


def test_a_full_context_moves_nothing(language_model, same_bits):
    session = load(language_model()).session()
    session.run(TOKENS[:3])
    with pytest.raises(ContextFull, match="position 40 is not below the context of 40"):
        session.run(np.zeros(38, np.int32))
    assert_unmoved(session, same_bits)
    session.run(np.zeros(35, np.int32))
    with pytest.raises(ContextFull):
        session.run(np.zeros(1, np.int32))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("table", "QuantizeRows `layers.0.norm.y.q`: the input is not finite"),
        ("layers.0.value.scale", "AppendCache `present.0.value`: the input is not finite"),
        ("last.weight", "the output `logits` is not finite"),
    ],
)
def test_what_is_not_finite_is_refused_where_it_shows(tensor, message, language_model):
    path = language_model(table="F32")
    overwrite(path, tensor, np.float32(np.nan).tobytes())
    session = load(path).session()
    with pytest.raises(NotFinite, match=message):
        session.run(np.arange(19, dtype=np.int32))
    assert session.position == 0


def test_a_value_too_large_for_the_cache_is_refused(language_model):
    path = language_model()
    overwrite(path, "layers.1.value.scale", np.float32(1e9).tobytes())
    with pytest.raises(NotFinite, match=r"AppendCache `present\.1\.value`: f16 is not finite"):
        load(path).session().run(TOKENS)


def overwrite(path, tensor, data):
    """Change the first bytes of a weight where it lies."""
    graph = onnx.load(path, load_external_data=False).graph
    (place,) = [t.external_data for t in graph.initializer if t.name == tensor]
    offset = int({entry.key: entry.value for entry in place}["offset"])
    with (path.parent / "model.bitx").open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("tokens", [np.zeros(0, np.int32), np.zeros((1, 2), np.int32), np.ones(2)])
def test_tokens_of_another_shape_or_dtype_are_refused(tokens, language_model):
    with pytest.raises(BadOperand, match="not integers"):
        load(language_model()).session().run(tokens)


# ---- networks --------------------------------------------------------------------------------


def save_network(writer, folder, kind=TensorProto.FLOAT):
    """Save y = relu(x + bias) * x, and its codes."""
    bias = writer.weight("bias", np.array([0.5, -0.5, 0.25], np.float32))
    writer.op("Add", ["x", bias], "sum")
    writer.op("Relu", ["sum"], "relu")
    writer.op("Mul", ["relu", "x"], "y")
    writer.op("QuantizeRows", ["y"], "q scale")
    value = helper.make_tensor_value_info
    return writer.save(
        folder,
        [value("x", kind, ["batch", 3])],
        [
            value("y", TensorProto.FLOAT, ["batch", 3]),
            value("q", TensorProto.INT8, ["batch", 3]),
            value("scale", TensorProto.FLOAT, ["batch", 1]),
        ],
    )


def test_a_network_has_named_inputs_and_outputs(graph_writer, tmp_path, same_bits):
    model = load(save_network(graph_writer, tmp_path))
    x = np.array([[1, 2, -3], [0.5, 0.25, 127]], np.float32)
    outputs, trace = model.trace_network({"x": x})
    same_bits(outputs["y"], [[1.5, 3, -0.0], [0.5, 0, 127 * 127.25]])
    assert list(outputs) == ["y", "q", "scale"]
    assert [(t.name, t.op_type) for t in trace] == list(model.plan)
    assert outputs["scale"].shape == (2, 1)
    for name, array in model.run_network({"x": x}).items():
        np.testing.assert_array_equal(array, outputs[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "missing input `x`"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(1)}, "unknown input `z`"),
        ({"x": np.zeros((1, 4), np.float32)}, r"input `x` is float32 \(1, 4\)"),
        ({"x": np.zeros((1, 3), np.float64)}, "input `x` is float64"),
        ({"x": np.zeros(3, np.float32)}, r"input `x` is float32 \(3,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message, graph_writer, tmp_path):
    model = load(save_network(graph_writer, tmp_path))
    with pytest.raises(BadOperand, match=message):
        model.run_network(inputs)


def test_a_network_has_no_session(graph_writer, tmp_path):
    with pytest.raises(ReferenceFailure, match="not a language model"):
        load(save_network(graph_writer, tmp_path)).session()


def test_an_operand_of_another_dtype_is_refused(graph_writer, tmp_path):
    model = load(save_network(graph_writer, tmp_path, kind=TensorProto.FLOAT16))
    with pytest.raises(BadOperand, match="Add `sum`: operand `x` is float16, not float32"):
        model.run_network({"x": np.zeros((1, 3), np.float16)})


# ---- greedy ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "token"), [([0, 2, 1], 1), ([3, 1, 3], 0), ([-0.0, 0.0], 0), ([0.0, -0.0], 0)]
)
def test_of_equal_logits_the_lowest_id_wins(logits, token):
    assert greedy(np.array(logits, np.float32)) == token
