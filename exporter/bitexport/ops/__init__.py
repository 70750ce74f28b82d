"""The ops of the plan: one file each, found by listing this folder.

A file says what its op is called in ONNX (one form for each way its weights can be stored), what
shapes it takes and gives, how stock runtimes compute it (a function body of standard ops), and how
its record in the plan is written.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir

DOMAIN = "ai.bitexport"
DOMAIN_VERSION = 1
ONNX_OPSET = 21
IR_VERSION = 10

Dim = int | str
Attributes = Mapping[str, Any]
Kinds = Mapping[str, type[int | float | tuple[int, ...]]]
"""Attributes by name: numbers, or rows of integers."""


@dataclasses.dataclass(frozen=True)
class Type:
    """Dtype and shape of a value; symbolic dimensions are names."""

    dtype: ir.DataType
    shape: tuple[Dim, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One ONNX operator: an op, with its weights stored in one way."""

    op_type: str
    summary: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    infer: Callable[[Sequence[Type], Attributes], tuple[Type, ...]]
    body: str = ""
    portable: str = ""
    """The same in graphs of standard ops alone, where it differs from the body: matrices lie there
    as they are multiplied, columns first; activations of one byte that multiply them, and int8
    matrices, are uint8, 128 above; what a row sees is an input."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Op:
    """One op of the plan.  NUMERICS.md, section 3, says what it computes."""

    name: str
    code: int
    forms: tuple[Form, ...]
    attributes: Kinds = dataclasses.field(default_factory=dict)
    words: Callable[[Attributes], tuple[int, int, int, int]] | None = None
    """How the plan stores the attributes, where it is not one after the other."""
    bookkeeping: frozenset[str] = frozenset()
    domain: str = DOMAIN

    def attribute_words(self, attributes: Attributes) -> tuple[int, ...]:
        """Return the attributes as the plan stores them: four u32, floats by their bits."""
        if self.words:
            return self.words(attributes)
        words = [0, 0, 0, 0]
        for at, (name, kind) in enumerate(self.plan_attributes.items()):
            number = attributes[name]
            packed = struct.pack("<f" if kind is float else "<i" if number < 0 else "<I", number)
            words[at] = int.from_bytes(packed, "little")
        return tuple(words)

    @property
    def plan_attributes(self) -> Kinds:
        """Attributes that the plan keeps; `n` and `k` are in the tensor's own record."""
        return {n: kind for n, kind in self.attributes.items() if n not in ("n", "k")}


@functools.cache
def all_ops() -> Mapping[str, Op]:
    """Return every op by name, in the order of their plan codes."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    )
    ops: list[Op] = [module.OP for module in modules]
    return {op.name: op for op in sorted(ops, key=lambda op: op.code)}


@functools.cache
def forms() -> Mapping[tuple[str, str], tuple[Op, Form]]:
    """Return op and form by ONNX domain and op type."""
    return {(op.domain, f.op_type): (op, f) for op in all_ops().values() for f in op.forms}


def type_of(value: ir.Value) -> Type:
    """Return the dtype and shape that a graph value carries."""
    assert value.dtype is not None, f"`{value.name}` has no dtype"
    assert value.shape is not None, f"`{value.name}` has no shape"
    dims = tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)
    return Type(value.dtype, dims)


def apply(
    graph: ir.Graph, op_type: str, inputs: Sequence[ir.Value], outputs: Sequence[str],
    **attributes: Any,
) -> tuple[ir.Value, ...]:  # fmt: skip
    """Append a node to the graph and return its outputs, typed."""
    op, form = _form(op_type)
    types = form.infer([type_of(value) for value in inputs], attributes)
    values = [typed_value(name, kind) for name, kind in zip(outputs, types, strict=True)]
    attrs = [_attribute(name, kind, attributes[name]) for name, kind in op.attributes.items()]
    graph.append(
        ir.Node(op.domain, op_type, inputs, attrs, outputs=values, name=f"{outputs[0]}:{op_type}")
    )
    return tuple(values)


def _attribute(name: str, kind: type, value: Any) -> ir.Attr:
    if kind is tuple:
        return ir.AttrInt64s(name, [int(number) for number in value])
    return ir.AttrFloat32(name, float(value)) if kind is float else ir.AttrInt64(name, int(value))


def typed_value(name: str, kind: Type) -> ir.Value:
    """Return a fresh graph value."""
    return ir.Value(name=name, shape=ir.Shape(kind.shape), type=ir.TensorType(kind.dtype))


def attributes_of(node: ir.Node) -> dict[str, Any]:
    """Return a node's attributes as plain numbers, and tuples of such."""
    return {
        name: tuple(attribute.value) if isinstance(attribute.value, Sequence) else attribute.value
        for name, attribute in node.attributes.items()
    }


def register_schemas() -> None:
    """Make our operators known to onnx: checker and shape inference then cover them."""
    for op in all_ops().values():
        if op.domain != DOMAIN:
            continue
        for form in op.forms:
            if not onnx.defs.has(form.op_type, DOMAIN):
                onnx.defs.register_schema(_schema(op, form))


def function_of(op_type: str) -> onnx.FunctionProto:
    """Return the body by which a runtime without our kernels computes a form."""
    op, form = forms()[DOMAIN, op_type]
    function = parse_body(op_type, form.inputs, form.outputs, form.body, op.attributes)
    function.doc_string = form.summary
    return function


def parse_body(
    name: str, inputs: Iterable[str], outputs: Iterable[str], body: str, attributes: Iterable[str]
) -> onnx.FunctionProto:
    """Return a text of standard ops as a function."""
    head = f'<domain: "{DOMAIN}", opset_import: ["" : {ONNX_OPSET}]> {name}'
    given = f" <{', '.join(attributes)}>" if attributes else ""
    signature = f"({', '.join(inputs)}) => ({', '.join(outputs)})"
    return onnx.parser.parse_function(f"{head}{given} {signature} {{{body}}}")


def _form(op_type: str) -> tuple[Op, Form]:
    table = forms()
    return table[DOMAIN, op_type] if (DOMAIN, op_type) in table else table["", op_type]


def _schema(op: Op, form: Form) -> onnx.defs.OpSchema:
    schema = onnx.defs.OpSchema
    kinds = {
        float: schema.AttrType.FLOAT, int: schema.AttrType.INT, tuple: schema.AttrType.INTS,
    }  # fmt: skip
    fields = {float: "f", int: "i", tuple: "ints"}
    one = schema.FormalParameterOption.Single
    result = schema(
        form.op_type,
        DOMAIN,
        DOMAIN_VERSION,
        doc=form.summary,
        inputs=[schema.FormalParameter(n, t, param_option=one) for n, t in form.inputs.items()],
        outputs=[schema.FormalParameter(n, t, param_option=one) for n, t in form.outputs.items()],
        type_constraints=[
            (t, ["tensor(float)", "tensor(float16)"], "float32, or float16 widened exactly")
            for t in sorted({*form.inputs.values(), *form.outputs.values()})
            if not t.startswith("tensor(")
        ],
        attributes=[
            schema.Attribute(name, kinds[kind], required=True)
            for name, kind in op.attributes.items()
        ],
    )

    def infer(context: onnx.shape_inference.InferenceContext) -> None:
        inputs = [_read_type(context.get_input_type(i)) for i in range(len(form.inputs))]
        attributes = {
            n: getattr(context.get_attribute(n), fields[kind]) for n, kind in op.attributes.items()
        }
        for at, kind in enumerate(form.infer(inputs, attributes)):
            made = onnx.helper.make_tensor_type_proto(int(kind.dtype), kind.shape)
            context.set_output_type(at, made)

    result.set_type_and_shape_inference_function(infer)
    return result


def _read_type(proto: onnx.TypeProto) -> Type:
    tensor = proto.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    return Type(ir.DataType(tensor.elem_type), dims)
