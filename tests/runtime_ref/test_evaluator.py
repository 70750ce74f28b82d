"""evaluator: any chunking gives the same bits; what is not finite moves nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bitexport_ref.digests import extend_all
from bitexport_ref.errors import BadOperand, ContextFull, NotFinite, ReferenceFailure, TokenOutside
from bitexport_ref.evaluator import greedy, load

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


@pytest.mark.parametrize("table", ["F32", "Bf16", "Q8"])
@pytest.mark.parametrize("state", [np.float16, np.float32])
def test_any_chunking_gives_the_same_bits(table, state, language_model, same_bits):
    model = load(language_model(table=table, state=np.dtype(state)))
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


def test_weights_that_are_not_kept_unpacked_give_the_same_bits(
    language_model, same_bits, monkeypatch
):
    path = language_model()
    expected = load(path).session().run(TOKENS).logits
    monkeypatch.setattr("bitexport_ref.evaluator.UNPACKED_BYTES", 2000)
    same_bits(load(path).session().run(TOKENS).logits, expected)


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
