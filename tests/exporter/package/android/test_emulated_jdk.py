"""The Java API and the library of arm64-v8a in a JDK for arm64, on emulated cores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.package.android.conftest import Jdk
from tests.generate.conftest import Reference

from bitexport_ref.sampler import Sampler

PROMPT = "Once upon a time"
CORES = {"cortex-a53": "arm64-v8.0", "cortex-a76": "arm64"}


@pytest.mark.parametrize("core", CORES)
def test_a_core_says_what_the_reference_says(
    core: str, arm_jdk: Callable[[str], Jdk], reference: Reference, tmp_path: Path
) -> None:
    tokens, text, _ = reference.answer(reference.encode(PROMPT), Sampler(), 40)
    said = arm_jdk(core).run("story", tmp_path)
    assert json.loads(said[-1]) == tokens
    assert said[-2] == text.replace("\n", "\\n")


@pytest.mark.parametrize(("core", "target"), CORES.items())
def test_a_core_takes_the_file_whose_kernels_it_has(
    core: str, target: str, arm_jdk: Callable[[str], Jdk], tmp_path: Path
) -> None:
    chosen, instruction_sets = arm_jdk(core).run("choose", tmp_path)
    assert re.fullmatch(rf"stories-ternary-3m-{target}-[0-9a-f]{{8}}\.bitx", chosen)
    assert ("dotprod" in instruction_sets) == (core == "cortex-a76")


def test_sessions_are_closed_while_another_thread_decodes(
    arm_jdk: Callable[[str], Jdk], tmp_path: Path
) -> None:
    assert arm_jdk("cortex-a53").run("close-few", tmp_path) == ["10 rounds"]
