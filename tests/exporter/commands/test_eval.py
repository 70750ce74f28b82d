"""`bitexport eval` prints one number whoever computes it, or says why not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from distributed import LocalCluster
from tests.tiny_checkpoint import WORDS

from bitexport.emit.manifest import Bundle

Say = Callable[..., Result]
Refuse = Callable[..., Result]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 100 words that the tiny tokenizer knows."""
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(random.Random(7).choices(WORDS, k=100)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Return the address of a scheduler with a worker."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local:
        yield local.scheduler_address


def test_every_way_prints_the_same(
    host_bundle: Bundle, text: Path, cluster: str, said: Say
) -> None:
    ways = [("--jobs", 1), ("--jobs", 2), ("--dask", cluster)]
    for runtime in ("reference", "host"):
        printed, as_json = set(), set()
        for way in ways:
            words = ["eval", host_bundle.path, text, "--runtime", runtime, "--context", 16, *way]
            for more, kept in (((), printed), (("--json",), as_json)):
                result = said(*words, *more)
                assert result.exit_code == 0, result.output
                kept.add(result.stdout)
        assert len(printed) == len(as_json) == 1
        found = json.loads(as_json.pop())
        assert (found["runtime"], found["context"], found["windows"]) == (runtime, 16, 7)
        lines = [line.split(maxsplit=1) for line in printed.pop().splitlines()]
        assert lines[0] == ["perplexity", f"{found['perplexity']:.6f}"]
        assert lines[-1] == ["windows", "7 of at most 16 tokens"]


def test_both_runtimes_print_the_same(host_bundle: Bundle, text: Path, said: Say) -> None:
    printed = {
        said("eval", host_bundle.path, text, "--runtime", runtime, "--jobs", 1).stdout
        for runtime in ("reference", "host")
    }
    assert len(printed) == 1
    assert printed.pop().startswith("perplexity")


def test_stderr_says_who_works_and_how_fast(host_bundle: Bundle, text: Path, said: Say) -> None:
    result = said("eval", host_bundle.path, text, "--jobs", 1)
    assert "tiny, reference runtime, 1 process: 2 windows of at most 64 tokens" in result.stderr
    assert "scoring        98 tokens in" in result.stderr
    assert "tokens/s" in result.stderr


def test_several_texts_have_a_figure_each_and_one_for_all(
    host_bundle: Bundle, text: Path, said: Say, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Once upon a time", encoding="utf-8")
    words = [host_bundle.path, text, other, "--jobs", 1]
    result = said("eval", *words)
    blocks = [block.splitlines() for block in result.stdout.split("\n\n")]
    assert [block[0] for block in blocks] == [str(text), str(other), "all"]
    found = json.loads(said("eval", *words, "--json").stdout)
    first, second = found["texts"]
    assert found["predicted"] == first["predicted"] + second["predicted"] == 98 + 3
    sums = [each["nats_per_token"] * each["predicted"] for each in (first, second, found)]
    assert sums[0] + sums[1] == pytest.approx(sums[2], rel=1e-12)


def test_tokens_takes_the_beginning_of_a_text(host_bundle: Bundle, text: Path, said: Say) -> None:
    words = ["--tokens", 10, "--jobs", 1, "--json"]
    found = json.loads(said("eval", host_bundle.path, text, *words).stdout)
    assert (found["tokens"], found["predicted"], found["windows"]) == (10, 9, 1)


def test_options_that_do_not_fit_are_exit_64(host_bundle: Bundle, text: Path, said: Say) -> None:
    for words, names in (
        (["--context", 65], "the bundle was built for 64 tokens"),
        (["--jobs", 2, "--dask", "tcp://127.0.0.1:1"], "give one"),
    ):
        result = said("eval", host_bundle.path, text, *words)
        assert result.exit_code == 64
        assert result.stdout == ""
        assert names in result.stderr


def test_a_damaged_bundle_is_refused_and_the_file_named(
    host_bundle: Bundle, text: Path, refused: Refuse, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    library = copy / "lib" / "host" / "libbitexport.so"
    library.write_bytes(library.read_bytes()[:-1])
    refused(
        1, f"{library}: is not the file that was built", "eval", copy, text, "--runtime", "host"
    )


def test_a_bundle_without_tokenizer_understands_no_text(
    host_bundle: Bundle, text: Path, refused: Refuse, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    (copy / "tokenizer.json").unlink()
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"]["tokenizer.json"]
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    refused(1, "holds no tokenizer.json", "eval", copy, text)


def test_a_text_that_is_none_is_refused(
    host_bundle: Bundle, refused: Refuse, tmp_path: Path
) -> None:
    refused(3, "none.txt: cannot be read", "eval", host_bundle.path, tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    refused(3, "holds 0 tokens", "eval", host_bundle.path, tmp_path / "empty.txt")


@pytest.mark.usefixtures("no_tools")
def test_for_another_machine_the_host_runtime_needs_a_compiler(
    bundles: dict[str, Bundle], text: Path, refused: Refuse
) -> None:
    words = ["--runtime", "host", "--jobs", 1]
    result = refused(5, "`gcc` is not installed", "eval", bundles["tiny"].path, text, *words)
    assert "apt-get install" in result.stderr
