"""The report of a bundle: its numbers add up to the file, and the page holds nothing foreign."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.tiny_checkpoint import Checkpoint, edit_config

from bitexport.cli import main
from bitexport.emit.manifest import file_digests, open_bundle
from bitexport.errors import OutputError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Built, Wanted, build_bundle
from bitexport.passes.plan_memory import arena_bytes, slot_bytes
from bitexport.paths import runtime_root
from bitexport.report.bundle import BundleReport, contexts, describe
from bitexport.report.html import DATA, PAGE, render_page, report_files
from bitexport.targets import Target, find_target
from bitexport_ref.bitx import open_bitx, self_test

HOSTILE = """<script>alert("1")</script>&amp;'$name ${file_bar} \u202e\x07 --> ]]>"""
VOID = {"meta", "br", "hr", "img", "input", "link"}
# Elements and attributes by which a page asks for something outside it, or runs something.
FOREIGN = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
ASKING = {"src", "href", "action", "data", "xlink:href", "style"}


class Page(html.parser.HTMLParser):
    """Reads a page and refuses one that is not well-formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; most stay open."""
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element that is open."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


def read_page(text: str) -> Page:
    """Return a page that was read to its end."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


@dataclasses.dataclass(frozen=True)
class Described:
    """What a build handed to `describe`, what came of it, and where it lies."""

    built: Built
    report: BundleReport
    folder: Path


Build = Callable[..., Described]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds a checkpoint and keeps what its report was made from."""

    def make(checkpoint: Path, target: str = "arm64", **options: Any) -> Described:
        folder = tmp_path_factory.mktemp("report") / "out"
        seen: list[tuple[Built, BundleReport]] = []

        def describe_it(built: Built) -> dict[str, str]:
            seen.append((built, describe(built)))
            return report_files(seen[-1][1])

        build_bundle(
            checkpoint, find_target(target), Options(**options), folder,
            Wanted(compile_library=False, describe=describe_it),
        )  # fmt: skip
        return Described(*seen[0], folder)

    return make


@pytest.fixture(scope="module", params=[None, "f32", "q8"], ids=["as_trained", "f32", "q8"])
def described(request: pytest.FixtureRequest, each: Checkpoint, build: Build) -> Described:
    """Return a described bundle of each checkpoint, with each embedding."""
    return build(each.path, embedding=request.param)


# ---- the numbers -----------------------------------------------------------------------------


def test_the_parts_are_the_file(described: Described) -> None:
    size = (described.folder / "model.bitx").stat().st_size
    report = described.report
    assert report.file_bytes == size == sum(part.bytes for part in report.parts)
    assert len({part.name for part in report.parts}) == len(report.parts)
    sections = {s.id: s.size for s in open_bitx(described.folder / "model.bitx").sections}
    parts = {part.name: part.bytes for part in report.parts}
    assert parts["plan"] == sections[5] + sections[6] + sections[7]
    assert parts["strings"] == sections[2]
    assert parts["self-test"] == sections[12]


def test_tensors_layers_and_parts_have_the_same_sums(described: Described) -> None:
    report = described.report
    parts = {part.name: part.bytes for part in report.parts if part.weights}
    tensors = sum(tensor.bytes for tensor in report.tensors)
    assert tensors == sum(parts.values()) == sum(layer.bytes for layer in report.layers)
    for kind, size in parts.items():
        assert size == sum(t.bytes for t in report.tensors if t.kind == kind)
        assert size == sum(layer.kinds.get(kind, 0) for layer in report.layers)
    for layer in report.layers:
        assert layer.bytes == sum(t.bytes for t in report.tensors if t.layer == layer.layer)


def test_every_tensor_is_of_its_kind(described: Described, each: Checkpoint) -> None:
    tensors = {tensor.name: tensor for tensor in described.report.tensors}
    for name, trits in each.trits.items():
        found = tensors.pop(f"{name}.weight")
        assert (found.kind, found.shape, found.layout) == ("ternary", trits.shape, "p2r")
        assert found.layer == int(name.split(".")[2])
        assert found.bits_per_weight == 8 * found.bytes / math.prod(trits.shape)
        assert tensors.pop(f"{name}.weight_scale").kind == "scales"
    for name in each.shape.norms():
        assert tensors.pop(f"{name}.weight").kind == "norms"
    assert {tensor.kind for name, tensor in tensors.items() if "rope" in name} == {"tables"}
    rest = {tensor.kind for name, tensor in tensors.items() if "rope" not in name}
    assert rest == {"embedding"} | (
        {"scales"} if described.report.options.embedding == "q8" else set()
    )
    assert {tensor.layer for tensor in tensors.values()} == {None}


def test_the_arena_is_what_plan_memory_says(described: Described) -> None:
    plan, report = described.built.plan, described.report
    assert [(m.context, m.chunk_rows) for m in report.memory] == [
        (context, rows) for context in contexts(report.model.context) for rows in (1, 16)
    ]
    for found in report.memory:
        assert found.bytes == arena_bytes(plan, found.chunk_rows, found.context, 8)
        without = slot_bytes(plan, found.chunk_rows, 1, 0, fused=True)
        assert found.states == (
            slot_bytes(plan, found.chunk_rows, 1, found.context, fused=True) - without
        )
    promised = open_bundle(described.folder).manifest["memory"]
    for found in report.memory[-2:]:
        assert promised[f"arena_bytes_{found.chunk_rows}_rows"] == found.bytes


def test_contexts_double_up_to_the_model_s_own() -> None:
    assert contexts(512) == (64, 128, 256, 512)
    assert contexts(500) == (64, 128, 256, 500)
    assert contexts(64) == (64,)
    assert contexts(2) == (2,)


def test_a_chunk_is_never_larger_than_the_context(tiny: Checkpoint, build: Build) -> None:
    found = build(tiny.path, context=4)
    assert [m.bytes for m in found.report.memory] == [
        arena_bytes(found.built.plan, rows, 4, 8) for rows in (1, 4)
    ]


def test_the_plan_is_told_in_order(described: Described) -> None:
    plan, report = described.built.plan, described.report
    assert [op.op for op in report.ops] == [op.op.name for op in plan.ops]
    assert [op.step for op in report.ops] == sorted(op.step for op in report.ops)
    fused_away = sum(op.fusion_count - 1 for op in plan.ops if op.fusion)
    assert report.steps == len(plan.ops) - fused_away
    for op, planned in zip(report.ops, plan.ops, strict=True):
        assert op.output == plan.values[planned.outputs[0]].name
        read = [operand.index for operand in planned.inputs if operand.is_tensor]
        assert op.weights == tuple(plan.tensors[at] for at in read)
    for fusion in report.fusions:
        runs = [[op.op for op in report.ops if op.step == step] for step in range(report.steps)]
        assert runs.count(list(fusion.ops)) == fusion.count


def test_the_self_test_is_counted(described: Described) -> None:
    tested, found = (
        self_test(open_bitx(described.folder / "model.bitx")),
        described.report.self_test,
    )
    assert tested is not None
    assert found is not None
    assert found.prompt_tokens == len(tested.prompt)
    assert found.generated_tokens == len(tested.generated)
    assert found.op_outputs == len(tested.chains)


# ---- the kernels -----------------------------------------------------------------------------


def test_matrix_ops_are_counted_with_their_kernels(described: Described) -> None:
    report = described.report
    ternary, dense = report.matrices
    assert (ternary.op, ternary.weights, ternary.count) == ("TernaryMatMul", "p2r", 14)
    assert ternary.kernel == "gemv_s32_s8_p2r"
    assert (dense.op, dense.count) == ("DenseMatMul", 1)
    int8 = report.options.embedding == "q8"
    assert dense.kernel == ("gemv_s32_s8_s8" if int8 else None)
    assert dense.weights == (report.options.embedding or "bf16").replace("q8", "s8")


def test_each_core_takes_the_kernel_that_the_runtime_takes(
    target: Target, tiny: Checkpoint, build: Build
) -> None:
    """The cascade of kernels.c, read from its source: the last one that fills the table stays."""
    report = build(tiny.path, target.name, embedding="q8").report
    assert [core.core for core in report.cores] == list(target.cores)
    cascade = re.findall(
        r"bitx_use_(\w+)\(kernels\);", (runtime_root() / "src/kernels.c").read_text("utf-8")
    )
    for core in report.cores:
        assert core.instruction_sets == target.cores[core.core]
        table: dict[str, str] = {}
        for isa in cascade:
            if isa in core.instruction_sets:
                text = (runtime_root() / f"src/use_{isa}.c").read_text("utf-8")
                table |= dict(re.findall(r"kernels->(\w+) = .*bitx_(gemv_\w+)\)?;", text))
        used = {matrix.kernel for matrix in report.matrices}
        assert core.kernels == {family: name for family, name in table.items() if family in used}
        assert len(core.kernels) == 2


# ---- the files -------------------------------------------------------------------------------


def test_the_command_writes_the_report_twice_the_same(tiny: Checkpoint, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny.path, tmp_path / "somewhere" / "else")
    outputs = [tmp_path / "first", tmp_path / "a" / "deeper" / "second"]
    for source, output in zip((tiny.path, moved), outputs, strict=True):
        words = ["build", str(source), "--target", "arm64", "--no-library", "-o", str(output)]
        assert CliRunner().invoke(main, words).exit_code == 0
    first, second = (file_digests(output) for output in outputs)
    assert first == second
    files = open_bundle(outputs[0], check_files=True).manifest["files"]
    assert {PAGE, DATA} <= set(files)
    for name in (PAGE, DATA):
        assert str(tmp_path) not in (outputs[0] / name).read_text("utf-8")


def test_the_json_says_what_the_facts_are(described: Described) -> None:
    said = json.loads((described.folder / DATA).read_text("utf-8"))
    assert said == json.loads(json.dumps(described.report.as_json()))
    assert said["report_version"] == 1
    assert said["model"]["name"] == described.report.model.name
    assert sum(part["bytes"] for part in said["parts"]) == said["file_bytes"]
    assert [arena["bytes"] for arena in said["memory"]] == [
        arena["states"] + arena["rest"] for arena in said["memory"]
    ]


def test_the_page_is_well_formed_and_asks_for_nothing(described: Described) -> None:
    text = (described.folder / PAGE).read_text("utf-8")
    page = read_page(text)
    assert not page.tags & FOREIGN
    assert not page.attributes & ASKING
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    shown = " ".join(page.text)
    for part in described.report.parts:
        assert f"{part.bytes:,}" in shown
    for arena in described.report.memory:
        assert f"{arena.bytes:,}" in shown


def test_hostile_names_are_shown_and_do_nothing(described: Described) -> None:
    report = described.report
    tensors = tuple(dataclasses.replace(tensor, name=HOSTILE) for tensor in report.tensors)
    ops = tuple(dataclasses.replace(op, output=HOSTILE, weights=(HOSTILE,)) for op in report.ops)
    model = dataclasses.replace(report.model, name=HOSTILE, family=HOSTILE)
    hostile = dataclasses.replace(
        report, model=model, tensors=tensors, ops=ops, target=HOSTILE, target_summary=HOSTILE,
        cores=tuple(dataclasses.replace(core, core=HOSTILE) for core in report.cores),
    )  # fmt: skip
    page, usual = read_page(render_page(hostile)), read_page(render_page(report))
    assert page.tags == usual.tags
    assert page.attributes == usual.attributes
    assert page.text.count(HOSTILE) > len(tensors) + 2 * len(ops)


def test_a_hostile_checkpoint_makes_a_harmless_page(broken: Path, build: Build) -> None:
    name = "".join(filter(str.isprintable, HOSTILE))  # others are refused
    edit_config(broken, _name_or_path=name)
    found = build(broken)
    page = read_page((found.folder / PAGE).read_text("utf-8"))
    assert name in page.text
    assert "script" not in page.tags


def test_a_report_that_cannot_be_written_leaves_no_bundle(tiny: Checkpoint, tmp_path: Path) -> None:
    def too_long(_: Built) -> dict[str, str]:
        return {"x" * 300: ""}

    with pytest.raises(OutputError, match="cannot be written"):
        build_bundle(
            tiny.path, find_target("arm64"), Options(), tmp_path / "out",
            Wanted(compile_library=False, describe=too_long),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
