"""The C runtime, called from Python: the header's structures, and the reference's bits."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import BundleError
from bitexport.evaluate import host_runtime
from bitexport.evaluate.host_runtime import HostLogits
from bitexport.evaluate.windows import Text
from bitexport.evaluate.work import Predictor, Work, open_predictor
from bitexport.runtime.opened import host_library
from bitexport.toolchain.compile import SHARED

CONTEXT = 24


def rows_of(predictor: Predictor, tokens: tuple[int, ...]) -> bytes:
    """Return the logits of a sequence, all rows of it."""
    return np.concatenate(list(predictor.logits(tokens))).tobytes()


def test_both_runtimes_give_the_same_logits(
    text: Text, reference_work: Work, host_work: Work
) -> None:
    with contextlib.ExitStack() as stack:
        reference = open_predictor(reference_work, stack)
        host = open_predictor(host_work, stack)
        for start in (0, 30):
            for length in (1, 15, 16, 17, CONTEXT):
                tokens = text.tokens[start : start + length]
                assert rows_of(host, tokens) == rows_of(reference, tokens)


def test_the_size_of_a_chunk_changes_no_bit(
    text: Text, host_work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = set()
    for most in (1, 7, 128):
        monkeypatch.setattr(host_runtime, "FEWEST_ROWS", 1)
        monkeypatch.setattr(host_runtime, "MOST_ROWS", most)
        with contextlib.ExitStack() as stack:
            predictor = open_predictor(host_work, stack)
            made.add(rows_of(predictor, text.tokens[:CONTEXT]))
            assert len(list(predictor.logits(text.tokens[:CONTEXT]))) == -(-CONTEXT // most)
    assert len(made) == 1


def test_the_bundles_own_library_is_the_one_that_runs(host_bundle: Bundle) -> None:
    with host_library(host_bundle) as library:
        assert library == host_bundle.path / "lib" / "host" / SHARED


def test_a_bundle_for_another_machine_gets_a_library_that_is_gone_afterwards(
    bundles: dict[str, Bundle], text: Text, reference_work: Work
) -> None:
    tiny = bundles["tiny"]
    with host_library(tiny) as library, contextlib.ExitStack() as stack:
        assert not library.is_relative_to(tiny.path)
        tokens = text.tokens[:9]
        expected = rows_of(open_predictor(reference_work, stack), tokens)
        assert rows_of(HostLogits(library, tiny, CONTEXT), tokens) == expected
    assert not library.exists()


def test_a_library_with_another_header_is_not_called(host_bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    with (copy / "include" / "bitexport.h").open("a", encoding="utf-8") as header:
        header.write("/* of another version */\n")
    with host_library(open_bundle(copy)) as library:
        assert not library.is_relative_to(copy)


def test_a_file_that_the_runtime_refuses_is_named_with_rule_and_record(
    host_bundle: Bundle, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    data = bytearray((copy / "model.bitx").read_bytes())
    data[70] ^= 1
    (copy / "model.bitx").write_bytes(data)
    with host_library(host_bundle) as library:
        with pytest.raises(BundleError, match=r"model\.bitx: .* rule 4 of FORMAT\.md"):
            HostLogits(library, open_bundle(copy), CONTEXT)
        (copy / "model.bitx").unlink()
        with pytest.raises(BundleError, match=r"model\.bitx: cannot be mapped"):
            HostLogits(library, open_bundle(copy), CONTEXT)


def test_a_library_for_another_machine_is_refused(host_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / SHARED).write_bytes(b"\x7fELF of another machine")
    with pytest.raises(BundleError, match="cannot be loaded"):
        HostLogits(tmp_path / SHARED, host_bundle, CONTEXT)


def test_a_token_outside_the_vocabulary_is_a_sentence(host_bundle: Bundle) -> None:
    with host_library(host_bundle) as library:
        model = HostLogits(library, host_bundle, CONTEXT)
        with pytest.raises(BundleError, match="at one of the positions 0 to 1"):
            list(model.logits([1, 96]))


def test_another_bundle_at_the_same_path_is_refused(reference_work: Work) -> None:
    other = dataclasses.replace(reference_work, manifest="0" * 64)
    with (
        pytest.raises(BundleError, match="is another bundle than the one to evaluate"),
        contextlib.ExitStack() as stack,
    ):
        open_predictor(other, stack)


def test_another_version_of_bitexport_is_refused(reference_work: Work) -> None:
    other = dataclasses.replace(reference_work, version="0.0.1")
    with (
        pytest.raises(BundleError, match=r"bitexport is version .* here, 0\.0\.1 where"),
        contextlib.ExitStack() as stack,
    ):
        open_predictor(other, stack)
