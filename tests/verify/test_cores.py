"""A core is run in every way that must not change a bit, and then asked for its self-test."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bitexport.errors import RunError, TargetError
from bitexport.targets import Target, load_targets
from bitexport.verify import cores
from bitexport.verify.cores import CoreResult, Machine, ways
from bitexport.verify.cores import verify_core as verify
from bitexport.verify.expected import Expected
from bitexport.verify.observed import Observed

EXPECTED = Expected(
    prompt=(5, 6),
    generated=(7,),
    outputs=(("embedding", "EmbedBf16"), ("logits", "DenseMatMulBf16")),
    digests=(("e0", "e1"), ("l0", "l1")),
)
DIGESTS = {(0, 0): "e0", (0, 1): "e1", (1, 0): "l0", (1, 1): "l1"}
SELF_TEST = 18  # positions
CORES = [(target, core) for target in load_targets().values() for core in target.cores]


@dataclasses.dataclass
class Device:
    """Stands for a runner: returns the reference's digests, as an ISA that it was asked for."""

    target: Target
    self_test: str = "ok"
    stopped: str | None = None
    digests: dict[tuple[int, int], str] = dataclasses.field(default_factory=lambda: DIGESTS)
    available: tuple[str, ...] = ("scalar", "neon", "dotprod")
    asked: list[Sequence[str]] = dataclasses.field(default_factory=list)

    programs = MappingProxyType({"static library": Path("a"), "shared library": Path("b")})

    def start(self, core: str, arguments: Sequence[str], program: Path | None = None) -> Observed:
        """Answer at once."""
        self.asked.append(arguments)
        at = arguments.index("--isa") + 1 if "--isa" in arguments else None
        used = self.available[-1]
        if at is not None:
            used = {"1": "scalar", "3": "neon", "65": "dsp"}[arguments[at]]
        answer = Observed(self.available, used, 64, self.digests, {1: "l1"}, (7,))
        if "--self-test" in arguments:
            return dataclasses.replace(answer, self_test=self.self_test, stopped=self.stopped)
        return answer


def verify_core(device: Any) -> CoreResult:
    return verify(device, "cortex-a76", EXPECTED, lambda text: None, self_test=SELF_TEST)


@pytest.fixture
def target() -> Target:
    return load_targets()["arm64"]


@pytest.mark.parametrize(("target", "core"), CORES, ids=[f"{t.name}-{c}" for t, c in CORES])
@pytest.mark.parametrize("prompt", [3, 8, 13, 16])
def test_no_way_to_run_is_left_out(target: Target, core: str, prompt: int) -> None:
    every = ways(target, core, prompt)
    assert len(set(every)) == len(every)
    assert {way.isa for way in every} - {None} == set(target.expected_isas(core)[:-1])
    assert {way.threads for way in every} == ({1, 2} if target.threads else {1})
    for traced in (True, False):
        chunks = {way.chunk for way in every if way.traced is traced}
        assert {1, prompt} < chunks
        assert any(prompt % chunk for chunk in chunks), "no prompt ends in a smaller chunk"


def test_a_quick_check_runs_twice_with_all_threads_and_asks_for_no_self_test(
    target: Target,
) -> None:
    device = Device(target)
    result = verify(
        device, "cortex-a76", EXPECTED, lambda text: None, quick=True, self_test=SELF_TEST
    )
    assert result.passed
    assert (result.runs, result.seen) == (2, ("dotprod",))
    assert [("--trace" in words, "--isa" in words) for words in device.asked] == [
        (True, False), (False, False),
    ]  # fmt: skip
    for words in device.asked:
        assert words[words.index("--threads") + 1] == "2"


@pytest.mark.parametrize("quick", [True, False])
def test_no_session_has_room_for_more_positions_than_are_run(target: Target, quick: bool) -> None:
    device = Device(target)
    verify(device, "cortex-a76", EXPECTED, lambda text: None, quick=quick, self_test=SELF_TEST)
    rooms = {"--self-test" in words: words[words.index("--context") + 1] for words in device.asked}
    assert rooms.pop(False) == str(EXPECTED.positions)
    assert rooms == ({} if quick else {True: str(SELF_TEST)})


def test_a_board_runs_its_self_test_in_the_session_that_the_build_promised() -> None:
    device = Device(load_targets()["cortex-m4"], available=("scalar", "dsp"))
    result = verify(device, "mps2-an386", EXPECTED, lambda text: None, self_test=SELF_TEST)
    assert result.passed
    assert device.asked[-1] == ["--check-hashes", "--self-test"]


def test_a_quick_check_still_misses_an_instruction_set(target: Target) -> None:
    device = Device(target, available=("scalar", "neon"))
    result = verify(device, "cortex-a76", EXPECTED, lambda text: None, quick=True)
    assert result.problem is not None
    assert "expects scalar neon dotprod; available: scalar neon" in result.problem


def test_a_file_without_self_test_is_not_asked_for_one(target: Target) -> None:
    device = Device(target, self_test="never")
    result = verify(device, "cortex-a76", EXPECTED, lambda text: None, self_test=None)
    assert result.passed
    assert not any("--self-test" in words for words in device.asked)


@pytest.mark.parametrize("prompt", [1, 2])
def test_a_short_prompt_is_not_run_twice_in_the_same_way(target: Target, prompt: int) -> None:
    every = ways(target, "cortex-a76", prompt)
    assert len(set(every)) == len(every)


def test_a_core_that_agrees_in_every_way_is_asked_for_its_self_test_last(target: Target) -> None:
    device = Device(target)
    result = verify_core(device)
    assert result.passed
    assert result.seen == ("scalar", "neon", "dotprod")
    asked = ["--self-test" in arguments for arguments in device.asked]
    assert asked == [False] * result.runs + [True, True]  # with either library


def test_a_difference_is_found_before_the_self_test_can_hide_it(target: Target) -> None:
    result = verify_core(Device(target, digests=DIGESTS | {(0, 1): "x"}, self_test="0 0"))
    assert result.problem is None
    assert result.failure is not None
    assert (result.failure.difference.name, result.runs) == ("embedding", 1)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("2 1", "the chain of op output 1, DenseMatMulBf16 `logits`, differs"),
        ("1 4294967295", "another token was chosen at position 1, or the logits differ"),
    ],
)
def test_a_self_test_that_fails_alone_says_what_differs(
    target: Target, said: str, problem: str
) -> None:
    result = verify_core(Device(target, self_test=said, stopped="status -15"))
    assert not result.passed
    assert result.problem is not None
    assert problem in result.problem


def test_an_instruction_set_that_is_not_seen_is_a_failure(target: Target) -> None:
    result = verify_core(Device(target, available=("scalar", "neon")))
    assert result.problem == (
        "the target file expects scalar neon dotprod; available: scalar neon, "
        "seen to run: scalar neon"
    )


def test_a_core_without_the_memory_for_a_trace_is_not_called_different(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "runner 1\nisa available scalar\nstatus -8 arena too small rule 0 record 0\n"
    done = subprocess.CompletedProcess(["runner"], 1, said, "")

    def refuse(*_: object) -> None:
        message = "the runner ended with status 1"
        raise RunError(message, completed=done)

    monkeypatch.setattr(cores, "run_program", refuse)
    device = Machine(target, Path("runner"), Path("model.bitx"))
    with pytest.raises(TargetError, match="the memory of cortex-a76 does not hold"):
        verify_core(device)
