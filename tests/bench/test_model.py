"""`bench model` measures every figure it prints; how large they are is the machine's business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.tiny_checkpoint import write_checkpoint

from bitexport.bench.model import DECODE, PREFILL, weight_bytes
from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.targets import find_target
from bitexport_ref.bitx import open_bitx

FIGURES = (
    "open_seconds", "first_token_seconds", "arena_bytes", "peak_bytes", "read_rate",
    "unfused_token_seconds", "weight_rate",
)  # fmt: skip
RUN = {*FIGURES, "threads", "points", "op_shares"}
PROGRAM_BYTES = 30_000_000  # resident besides file and arena, at most
BENCH = {"name", "file_bytes", "weight_bytes", "prefill_tokens", "decode_tokens", "runs"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bench")
    checkpoint = write_checkpoint(folder / "checkpoint")
    return build_bundle(checkpoint.path, find_target("host"), Options(), folder / "bundle")


@pytest.fixture(scope="module")
def said(bundle: Bundle) -> dict[str, Any]:
    words = ["bench", "model", str(bundle.path), "--threads", "1", "--threads", "2", "--json"]
    result = CliRunner().invoke(main, [*words, "--context", "0", "--context", "4"])
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_every_figure_is_there_and_positive(bundle: Bundle, said: dict[str, Any]) -> None:
    assert set(said) == BENCH
    assert said["file_bytes"] == bundle.data.stat().st_size
    assert 0 < said["prefill_tokens"] <= PREFILL
    assert 0 < said["decode_tokens"] <= DECODE
    assert [run["threads"] for run in said["runs"]] == [1, 2]
    for run in said["runs"]:
        assert set(run) == RUN
        assert all(run[figure] > 0 for figure in FIGURES), run
        assert run["open_seconds"] < run["first_token_seconds"]
        assert run["peak_bytes"] > run["arena_bytes"]
        assert run["peak_bytes"] < said["file_bytes"] + run["arena_bytes"] + PROGRAM_BYTES
        assert [point["context"] for point in run["points"]] == [0, 4]
        first, behind = run["points"]
        assert first["decode"] > 0
        assert first["prefill"] > 0
        assert behind["decode"] > 0
        assert behind["prefill"] is None  # there is no room


def test_the_shares_are_of_the_ops_of_the_plan(bundle: Bundle, said: dict[str, Any]) -> None:
    ops = {op.code.name.lower() for op in open_bitx(bundle.data).ops}
    for run in said["runs"]:
        assert set(run["op_shares"]) == ops
        assert sum(run["op_shares"].values()) == pytest.approx(1)


def test_a_token_reads_all_but_the_other_rows_of_tables(bundle: Bundle) -> None:
    bitx = open_bitx(bundle.data)
    whole = sum(tensor.size for tensor in bitx.tensors)
    assert whole / 4 < weight_bytes(bundle) < whole


def test_the_tables_show_every_thread_and_op(bundle: Bundle) -> None:
    words = ["bench", "model", str(bundle.path), "--threads", "2", "--context", "0"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    for word in ("tokens/s", "GB/s", "peak resident", "ternary_matmul", "a token, unfused"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("context", "says"), [("100000", "has no room behind 100000"), ("-1", "not in the range")]
)
def test_a_context_that_the_model_has_not_is_refused(
    bundle: Bundle, context: str, says: str
) -> None:
    result = CliRunner().invoke(main, ["bench", "model", str(bundle.path), "--context", context])
    assert result.exit_code != 0
    assert says in result.stderr
    assert result.stdout == ""


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "model", str(tmp_path)])
    assert result.exit_code == 1
    assert "not a bundle" in result.stderr
