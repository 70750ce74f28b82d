"""pytest --bitexport: what somebody's own tests see of a bundle, and how they are told.

The tests below run tests: pytester writes them down and starts pytest on them.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.testing.broken_library import make_it_subtract
from tests.our_plugin import PLUGIN, plugin_words

from bitexport.emit.manifest import Bundle
from bitexport.runtime.library import ALL
from bitexport.runtime.transcript import Transcript, arithmetic_of
from bitexport.targets import find_target
from bitexport.verify.expected import Expected, compute_expected, load_reference

pytest_plugins = ["pytester"]

PROMPT, COUNT = (1, 5, 9, 7), 4
CORES = ("--bitexport-core", "cortex-a53", "--bitexport-core", "cortex-a76")
GREEDY = {
    "temperature": 0.0, "top_k": ALL, "top_p": 1.0, "min_p": 0.0, "repetition": 1.0,
    "presence": 0.0, "frequency": 0.0, "window": ALL, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(bundle_for: Callable[[str], Bundle]) -> Bundle:
    """Return a bundle for arm64; only to be read."""
    return bundle_for("arm64")


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Expected:
    """Return what the reference computes of the prompt."""
    return compute_expected(load_reference(bundle.graph), PROMPT, COUNT)


@pytest.fixture(scope="module")
def golden(bundle: Bundle, expected: Expected) -> Transcript:
    """Return the answer of the reference, as `run --record` writes one."""
    return Transcript(arithmetic_of(bundle), PROMPT, expected.generated, GREEDY)


@pytest.fixture(scope="module")
def subtracting(bundle: Bundle) -> Path:
    """Return the bundle with a library that subtracts where it should add."""
    return make_it_subtract(bundle, bundle.path.with_name("subtracting"))


@dataclasses.dataclass(frozen=True)
class Suite:
    """A folder of tests, and pytest with the plugin: installed, or named."""

    pytester: pytest.Pytester

    def run(self, *words: object) -> pytest.RunResult:
        """Run them as a user does."""
        words = (*plugin_words(), "-p", "no:cacheprovider", *words)
        return self.pytester.runpytest_subprocess(*map(str, words), timeout=300)


@pytest.fixture
def tests(pytester: pytest.Pytester, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return an empty folder of tests."""
    paths = [str(repository / "exporter"), str(repository / "runtime_ref")]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))
    pytester.makeini("[pytest]\n")
    return Suite(pytester)


def python(code: str, repository: Path) -> str:
    """Return what a Python with the packages of this tree prints."""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{repository / 'exporter'}:{repository / 'runtime_ref'}"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_without_the_option_it_loads_nothing_of_bitexport(
    pytester: pytest.Pytester, repository: Path
) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    words = ["-q", *plugin_words(), "-p", "no:cacheprovider", str(pytester.path)]
    run = f"pytest.main({words})"
    show = "print(*sorted(name for name in sys.modules if name.startswith('bitexport')))"
    said = python(f"import sys, pytest; assert {run} == 0; {show}; print('onnx' in sys.modules)",
                  repository)  # fmt: skip
    *_, loaded, has_onnx = said.splitlines()
    assert loaded.split() == ["bitexport", "bitexport.testing", PLUGIN]
    assert has_onnx == "False"


def test_without_pytest_every_command_is_there(repository: Path) -> None:
    said = python(
        "import sys; sys.modules['pytest'] = sys.modules['_pytest'] = None\n"
        "import importlib, bitexport\n"
        "from bitexport.cli import main\n"
        "for name in main.list_commands(None): assert main.get_command(None, name)\n"
        "import bitexport.testing.device\n"
        "print(len(main.list_commands(None)))",
        repository,
    )
    assert int(said) >= 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bitexport", "nowhere"], "ERROR: */nowhere: not a bundle: there is no manifest.json"),
        (["--bitexport-core", "cortex-a53"], "ERROR: --bitexport-core says where to run: give *"),
        (["--bitexport", "{bundle}", "--bitexport-on", "ssh:board"],
         "ERROR: --bitexport-on needs one --bitexport-core: that of the device"),
        (["--bitexport", "{bundle}", "--bitexport-core", "cortex-z80"],
         "ERROR: --bitexport-core cortex-z80: the bundles run on cortex-a53, cortex-a76, max*"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_on_is_refused_before_any_test(
    words: list[str], says: str, tests: Suite, bundle: Bundle
) -> None:
    result = tests.run(*(word.format(bundle=bundle.path) for word in words))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


def test_without_a_bundle_a_test_that_needs_one_fails_and_can_be_left_out(tests: Suite) -> None:
    tests.pytester.makepyfile("def test_device(bitexport_device): pass\ndef test_other(): pass\n")
    result = tests.run("--strict-markers")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["this test runs on a bundle: give pytest --bitexport BUNDLE; *"])
    tests.run("--strict-markers", "-m", "not bitexport").assert_outcomes(passed=1, deselected=1)


def test_each_core_of_each_bundle_is_a_test(
    tests: Suite, bundle: Bundle, subtracting: Path
) -> None:
    tests.pytester.makepyfile(
        test_it="def test_device(bitexport_device): pass\n"
        "def test_bundle(bitexport_bundle): pass\n"
        "def test_other(): pass\n"
    )
    given = (f"--bitexport={bundle.path}", f"--bitexport={subtracting}")
    said = tests.run("--collect-only", "-q", *given).stdout.str()
    every = [f"{b}-{c}" for b in ("out", "subtracting") for c in find_target("arm64").cores]
    assert re.findall(r"^test_it\.py::test_device\[(.*)\]$", said, re.MULTILINE) == every
    found = re.findall(r"^test_it\.py::test_bundle\[(.*)\]$", said, re.MULTILINE)
    assert found == ["out", "subtracting"]
    assert "test_it.py::test_other\n" in said


def test_a_mark_on_a_test_without_device_is_refused(tests: Suite) -> None:
    tests.pytester.makepyfile(
        "import pytest\n@pytest.mark.bitexport_budget(arena=1)\ndef test_it(): pass\n"
    )
    result = tests.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*::test_it: bitexport_budget is for tests that take *"])


ON_DEVICE = """
import pytest
from bitexport.errors import TextError

PROMPT, TOKENS, LOGITS = {prompt}, {tokens}, {logits}

def test_tokens(bitexport_device):
    assert bitexport_device.tokens(PROMPT, 4) == TOKENS
    assert bitexport_device.say(PROMPT, 4).tokens == TOKENS

def test_prefill_and_steps(bitexport_device):
    first = bitexport_device.prefill(PROMPT, chunk=3, threads=2, isa="scalar")
    steps = [first, *(bitexport_device.step() for _ in range(3))]
    assert tuple(step.token for step in steps) == TOKENS
    assert [step.logits for step in steps] == LOGITS
    assert [step.position for step in steps] == [3, 4, 5, 6]

def test_another_token(bitexport_device):
    bitexport_device.prefill(PROMPT[:2])
    assert bitexport_device.step(PROMPT[2]).position == 2
    assert bitexport_device.step(PROMPT[3]).logits == LOGITS[0]

def test_nothing_is_left_behind(bitexport_device):
    with pytest.raises(TextError, match="a step goes on from a prompt"):
        bitexport_device.step()

def test_digests(bitexport_device):
    digests = bitexport_device.op_digests(PROMPT, 4)
    assert digests == {digests}
    bitexport_device.check(PROMPT, 4, chunk=2, threads=2)
    bitexport_device.check(PROMPT, 4, fused=True)
    bitexport_device.self_test()

def test_refusals(bitexport_device):
    for prompt, count, why in [([], 1, "0 prompt tokens"), ([9999], 1, "token 9999 is outside"),
                               (PROMPT, 90, "do not fit a context of 64")]:
        with pytest.raises(TextError, match=why):
            bitexport_device.tokens(prompt, count)
    with pytest.raises(TextError, match="has no `sse`"):
        bitexport_device.prefill(PROMPT, isa="sse")
    for way in ({"chunk": 0}, {"threads": 0}):
        with pytest.raises(TextError, match="chunks of "):
            bitexport_device.prefill(PROMPT, **way)
    with pytest.raises(TextError, match="a budget says arena or "):
        bitexport_device.check_budget(behind=6)

@pytest.mark.bitexport_golden("golden/four.json")
@pytest.mark.bitexport_budget(instructions_per_token="1 M", behind=6, arena="1 MB", context=64)
def test_marks(bitexport_device, bitexport_core, bitexport_bundle):
    assert bitexport_device.core == bitexport_core
    count = bitexport_device.instructions(behind=6)
    assert sum(count.steps.values()) == count.instructions < 1_000_000
    few, many = (bitexport_device.arena_bytes(context=n) for n in (16, 64))
    assert 0 < few < many
    assert bitexport_bundle.target_name == bitexport_device.target.name == "arm64"
"""


def test_a_device_gives_the_bits_of_the_reference_with_xdist_too(
    tests: Suite, bundle: Bundle, expected: Expected, golden: Transcript
) -> None:
    digests = {name: row for (name, _), row in zip(expected.outputs, expected.digests, strict=True)}
    code = ON_DEVICE
    for name, value in {
        "prompt": PROMPT, "tokens": expected.generated, "digests": digests,
        "logits": [expected.logits(position) for position in range(3, 7)],
    }.items():  # fmt: skip
        code = code.replace("{" + name + "}", repr(value))
    tests.pytester.makepyfile(test_device=code)
    (tests.pytester.mkdir("golden") / "four.json").write_text(golden.to_json(), encoding="utf-8")
    result = tests.run("--strict-markers", "-n", 2, f"--bitexport={bundle.path}", *CORES)
    result.assert_outcomes(passed=14)


FAILING = """
import pytest

@pytest.mark.bitexport_budget(instructions_per_token=1000, behind=2)
def test_instructions(bitexport_device): pass

@pytest.mark.bitexport_budget(arena="1 kB", context=16, chunk=1)
def test_arena(bitexport_device): pass

@pytest.mark.bitexport_budget(arena="1 kb")
def test_unit(bitexport_device): pass

@pytest.mark.bitexport_golden("golden/other.json")
def test_other_choice(bitexport_device): pass

@pytest.mark.bitexport_golden("golden/none.json")
def test_no_transcript(bitexport_device): pass
"""


def test_what_costs_too_much_or_answers_otherwise_is_told_in_a_few_lines(
    tests: Suite, bundle: Bundle, golden: Transcript
) -> None:
    tests.pytester.makepyfile(test_it=FAILING)
    first, second, *rest = golden.tokens
    other = dataclasses.replace(golden, tokens=(first, (second + 1) % 96, *rest))
    (tests.pytester.mkdir("golden") / "other.json").write_text(other.to_json(), encoding="utf-8")
    result = tests.run(f"--bitexport={bundle.path}", "--bitexport-core", "cortex-a53")
    result.assert_outcomes(failed=5)
    said = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "test_it.py:3: cortex-a53: a token behind 2 others takes * over the budget of 1,000",
            "  most of them: ternary_rescale *%, *",
            "hint: bitexport bench model * --core cortex-a53 --context 2 counts them by op",
            "test_it.py:6: cortex-a53: the arena takes * bytes, * over the budget of 1,000",
            "test_it.py:9: `arena` of a budget is `'1 kb'`",
            f"*other.json: token 1 of the answer is {second} `*` on cortex-a53, *",
            "every op in front of it agrees with the reference: the transcript holds another *",
            "*none.json: No such file or directory",
        ]
    )
    assert "Traceback" not in said
    assert "site-packages" not in said
    assert "During handling" not in said


BROKEN = """
import pytest

def test_bits(bitexport_device):
    bitexport_device.check({prompt}, 2)

@pytest.mark.bitexport_golden("golden/four.json")
def test_golden(bitexport_device): pass

def test_self_test(bitexport_device):
    bitexport_device.self_test()
"""


def test_a_broken_library_is_told_by_its_first_differing_op(
    tests: Suite, subtracting: Path, expected: Expected, golden: Transcript
) -> None:
    tests.pytester.makepyfile(test_it=BROKEN.replace("{prompt}", repr(PROMPT)))
    (tests.pytester.mkdir("golden") / "four.json").write_text(golden.to_json(), encoding="utf-8")
    result = tests.run(f"--bitexport={subtracting}", "--bitexport-core", "cortex-a53")
    result.assert_outcomes(failed=3)
    output = next(at for at, (_, op) in enumerate(expected.outputs) if op == "Add")
    op = f"op output {output}, Add `{expected.outputs[output][0]}`"
    where = f"position 0, {op}"
    result.stdout.fnmatch_lines(
        [
            f"test_it.py:4: first difference on cortex-a53 (*): {where}",
            "  * of 64 elements differ, first at index *",
            "  reference * (0x*)",
            "  device    * (0x*), * ULP apart",
            f"  replay with: bitexport verify {subtracting} --replay */mismatch-cortex-a53.npz",
            "test_it.py:6: *four.json: token 0 of the answer is *",
            f"first difference on cortex-a53 (*): {where}",
            f"test_it.py:10: cortex-a53: the self-test in the file failed: the chain of {op}, "
            "differs",
        ]
    )
    replay = re.search(r"--replay (\S+\.npz)", result.stdout.str())
    assert replay
    assert Path(replay[1]).is_file()
