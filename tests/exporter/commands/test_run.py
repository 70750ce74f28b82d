"""`bitexport run` continues a prompt, the same here and on an emulated core, or says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from tests.tiny_checkpoint import PROMPT, Checkpoint

from bitexport.commands import run
from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.tokenizer.text import encode, load_tokenizer
from bitexport_ref.bitx import open_bitx, self_test

Say = Callable[..., Result]
Refuse = Callable[..., Result]


@pytest.fixture
def copied(host_bundle: Bundle, tmp_path: Path) -> Path:
    """Return the folder of a bundle that is sound until the test breaks it."""
    return Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))


def test_stdout_is_the_text_that_the_reference_chose(host_bundle: Bundle, said: Say) -> None:
    tested = self_test(open_bitx(host_bundle.data))
    assert tested is not None
    tokenizer = load_tokenizer(host_bundle.path)
    assert list(tested.prompt) == encode(tokenizer, PROMPT)
    count = 1 + next((i for i, token in enumerate(tested.generated) if token == 2), 15)
    for threads in (1, 2):
        result = said("run", host_bundle.path, PROMPT, "-n", count, "--threads", threads)
        assert result.exit_code == 0, result.output
        expected = tokenizer.decode([*tested.prompt, *tested.generated[:count]])
        assert result.stdout.strip() == expected
        assert "tiny on native" in result.stderr


def test_the_same_tokens_as_numbers_are_continued_the_same(host_bundle: Bundle, said: Say) -> None:
    ids = encode(load_tokenizer(host_bundle.path), PROMPT)
    result = said("run", host_bundle.path, "--ids", ",".join(map(str, ids)), "-n", 5)
    assert result.exit_code == 0, result.output
    assert result.stdout == said("run", host_bundle.path, PROMPT, "-n", 5).stdout


@pytest.fixture(scope="module")
def mute(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle for this machine of a model without tokenizer and self-test."""
    folder = tmp_path_factory.mktemp("mute")
    checkpoint = Path(shutil.copytree(tiny.path, folder / "model"))
    (checkpoint / "tokenizer.json").unlink()
    host = find_target("host")
    return build_bundle(checkpoint, host, Options(), folder / "out", Wanted(self_test=False))


def test_a_model_without_tokenizer_answers_numbers_with_numbers(
    mute: Bundle, host_bundle: Bundle, said: Say
) -> None:
    tested = self_test(open_bitx(host_bundle.data))
    assert tested is not None
    result = said("run", mute.path, "--ids", ",".join(map(str, tested.prompt)), "-n", 4)
    assert result.exit_code == 0, result.output
    shown = [token for token in tested.generated[:4] if token != 2]
    assert result.stdout.split() == [str(token) for token in shown]


def test_text_for_a_model_without_tokenizer_is_refused_with_the_way_out(
    mute: Bundle, refused: Refuse
) -> None:
    for words in (["run", mute.path, "Once"], ["verify", mute.path, "--prompt", "Once"]):
        result = refused(1, f"{mute.path}: holds no tokenizer.json", *words)
        assert "give --ids 1,2,3" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ids", "1,x"], "`1,x` is not a list of tokens like 1,2,3"),
        (["--ids", ""], "`` is not a list of tokens like 1,2,3"),
        (["--ids", "-1"], "`-1` is not a list"),
        (["--ids", "1,96"], "token 96 is outside the vocabulary of 96"),
        (["--ids", "1", "Once"], "give a PROMPT, or its tokens with --ids"),
        ([], "give a PROMPT, or its tokens with --ids"),
    ],
)
def test_numbers_that_are_no_tokens_are_exit_64(
    words: list[str], says: str, host_bundle: Bundle, said: Say
) -> None:
    result = said("run", host_bundle.path, *words)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["model.bitx", "model.onnx", "lib/host/libbitexport.a"])
def test_a_damaged_bundle_is_refused_and_the_file_named(
    name: str, copied: Path, refused: Refuse
) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 4
    (copied / name).write_bytes(data)
    for words in (["run", copied, "Once"], ["verify", copied]):
        refused(1, f"{copied / name}: is not the file that was built", *words)


@pytest.mark.parametrize("name", ["model.bitx", "tokenizer.json", "lib/host/libbitexport.a"])
def test_an_incomplete_bundle_is_refused_and_the_file_named(
    name: str, copied: Path, refused: Refuse
) -> None:
    (copied / name).unlink()
    for words in (["run", copied, "Once"], ["verify", copied]):
        refused(1, f"{copied / name}: is missing", *words)


def test_a_checkpoint_is_no_bundle(broken: Path, refused: Refuse) -> None:
    for words in (["run", broken, "Once"], ["verify", broken]):
        result = refused(1, f"{broken}: not a bundle", *words)
        assert "bitexport build" in result.stderr


def test_a_core_of_another_target_is_exit_2(host_bundle: Bundle, refused: Refuse) -> None:
    words = ["--core", "cortex-a53"]
    refused(2, "no core `cortex-a53`", "run", host_bundle.path, "Once", *words)
    refused(2, "no core `cortex-a53`", "verify", host_bundle.path, *words)


@pytest.mark.parametrize("prompt", ["", " ".join(["Once"] * 65)], ids=["empty", "65_tokens"])
def test_a_prompt_that_does_not_fit_is_exit_64(prompt: str, host_bundle: Bundle, said: Say) -> None:
    result = said("run", host_bundle.path, prompt)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "does not fit" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_prompt_as_long_as_the_context_gets_one_token(host_bundle: Bundle, said: Say) -> None:
    prompt = " ".join(["Once"] * 64)
    result = said("run", host_bundle.path, prompt, "-n", 5)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(prompt)
    assert len(result.stdout.split()) == 65
    assert "the context of 64 tokens is full: the text ends after 1 of 5 tokens" in result.stderr


def test_a_text_that_the_context_does_not_end_says_nothing_of_it(
    host_bundle: Bundle, said: Say
) -> None:
    result = said("run", host_bundle.path, " ".join(["Once"] * 64), "-n", 1)
    assert "context" not in result.stderr


def test_threads_where_there_are_none_are_exit_64(device_bundle: Bundle, said: Say) -> None:
    words = ["--core", "mps2-an386", "--threads", 2]
    result = said("run", device_bundle.path, "Once", *words)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "target `cortex-m4` has no threads" in result.stderr


def test_a_device_with_little_memory_is_given_one_row_at_a_time(
    device_bundle: Bundle, said: Say, runner: Callable[[str], list[list[str]]]
) -> None:
    asked = runner("runner 1\ntoken 5\nend\n")
    result = said("run", device_bundle.path, "Once", "--core", "mps2-an386", "-n", 1)
    assert result.exit_code == 0, result.output
    assert asked[0][asked[0].index("--chunk") + 1] == "1"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], list[list[str]]]:
    """Return a function that puts a program in the runner's place, and gives what it is asked."""

    def replace(says: str) -> list[list[str]]:
        asked: list[list[str]] = []
        (tmp_path / "said").write_text(says, encoding="utf-8")

        def line(target: Target, core: str, program: Path, arguments: list[str]) -> list[str]:
            asked.append(arguments)
            return ["/bin/cat", str(tmp_path / "said")]

        monkeypatch.setattr(run, "command_line", line)
        return asked

    return replace


def test_a_session_that_does_not_fit_is_exit_2_and_stdout_is_empty(
    host_bundle: Bundle, refused: Refuse, runner: Callable[[str], list[list[str]]]
) -> None:
    runner("runner 1\nisa available scalar\nstatus -8 arena too small rule 0 record 0\n")
    result = refused(2, "the memory of native does not hold", "run", host_bundle.path, "Once")
    assert "build with a smaller --context" in result.stderr


@pytest.mark.parametrize("says", ["", "runner 1\nstatus -13 kernel differs\n"])
def test_a_start_that_fails_leaves_stdout_empty(
    says: str, host_bundle: Bundle, said: Say, runner: Callable[[str], list[list[str]]]
) -> None:
    runner(says)
    result = said("run", host_bundle.path, "Once")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "the runner on native stopped" in result.stderr


@pytest.mark.usefixtures("no_tools")
def test_without_a_compiler_it_is_exit_5_with_the_line_to_type(
    bundles: dict[str, Bundle], host_bundle: Bundle, refused: Refuse
) -> None:
    for bundle in (bundles["tiny"], host_bundle):
        result = refused(5, "`gcc` is not installed", "run", bundle.path, "Once")
        assert "apt-get install" in result.stderr
