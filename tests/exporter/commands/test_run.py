"""`bitexport run` continues a prompt, the same here and on an emulated core, or says why not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.tiny_checkpoint import PROMPT, Checkpoint

from bitexport.cli import main
from bitexport.commands import run
from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import emulated, session
from bitexport.runtime.session import Chosen, Event
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
    for words, names in (
        (["run", mute.path, "Once"], f"{mute.data}: holds no tokenizer"),
        (["run", mute.path, "Once", "--core", "native"], f"{mute.data}: holds no tokenizer"),
        (["run", mute.path, "Once", "--chat"], f"{mute.data}: holds no chat template"),
        (["verify", mute.path, "--prompt", "Once"], f"{mute.path}: holds no tokenizer.json"),
    ):
        result = refused(1, names, *words)
        assert "give --ids 1,2,3" in result.stderr or "--chat-template" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ids", "1,x"], "`1,x` is not a list of tokens like 1,2,3"),
        (["--ids", ""], "`` is not a list of tokens like 1,2,3"),
        (["--ids", "-1"], "`-1` is not a list"),
        (["--ids", "1,96"], "token 96 is outside the vocabulary of 96"),
        (["--ids", "1", "Once"], "give a PROMPT, or its tokens with --ids"),
        (["--ids", "1", "--chat"], "--chat takes text"),
        (["Once", "--system", "Be kind"], "--system is for --chat"),
        (["Once", "--temperature", "nan"], "`nan` is no number from 0"),
        (["Once", "--temperature", "-1"], "`-1` is no number from 0"),
        (["Once", "--temperature", "inf"], "`inf` is no number from 0"),
        (["Once", "--temperature", "1e-46"], "`1e-46` is no number from 0"),
        (["Once", "--top-k", "0"], "0 is not in the range"),
        (["Once", "--top-k", "4294967296"], "4294967296 is not in the range"),
        (["Once", "--top-p", "0"], "`0` is no number above 0, at most 1"),
        (["Once", "--top-p", "1.5"], "`1.5` is no number above 0, at most 1"),
        (["Once", "--min-p", "1.5"], "`1.5` is no number from 0 to 1"),
        (["Once", "--repetition", "0"], "`0` is no number above 0"),
        (["Once", "--presence", "nan"], "`nan` is no number"),
        (["Once", "--frequency", "1e39"], "`1e39` is no number"),
        (["Once", "--seed", "18446744073709551616"], "is not in the range"),
        (["Once", "--seed", "-1"], "-1 is not in the range"),
        (["Once", "-n", "0"], "0 is not in the range"),
        (["Once", "-n", "4294967296"], "4294967296 is not in the range"),
        (["Once", "--shift", "-1"], "-1 is not in the range"),
        (["Once", "--shift", "4294967296"], "4294967296 is not in the range"),
        (["Once", "--shift", "65"], "--shift 65 keeps more than the context of 64 tokens"),
        (["Once", "--draft", "9"], "9 is not in the range"),
        (["Once", "--draft", "-1"], "-1 is not in the range"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_options_that_mean_nothing_are_exit_64(
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


NOT_UTF8 = b"Once \xff".decode("utf-8", "surrogateescape")
TOO_LONG = " ".join(["Once"] * 65)


@pytest.mark.parametrize("core", [[], ["--core", "native"]], ids=["here", "emulated"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([""], ("an empty text has no token", "bad argument")),
        ([TOO_LONG], ("65 tokens do not fit a context of 64", "context full")),
        ([NOT_UTF8], ("byte 5 of the text is not UTF-8", "text is not UTF-8")),
        (["Once", "--stop", ""], ("'' is no stop string", "'' is no stop string")),
        (["Once", "--stop", NOT_UTF8], ("is no stop string", "is no stop string")),
        (["Once", "--stop", "x" * 129], ("is no stop string", "is no stop string")),
    ],
    ids=["empty", "too long", "no UTF-8", "empty stop", "stop no UTF-8", "long stop"],
)
def test_what_cannot_be_answered_is_exit_64_with_one_sentence(
    words: list[str], says: tuple[str, str], core: list[str], host_bundle: Bundle, refused: Refuse
) -> None:
    refused(64, says[bool(core)], "run", host_bundle.path, *words, *core)


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


def test_so_it_is_of_a_network(repository: Path, tmp_path: Path, said: Say) -> None:
    digits, place = repository / "samples/digits/digits.onnx", tmp_path / "digits"
    wanted = Wanted(compile_library=False)
    build_bundle(digits, find_target("cortex-m4"), Options(), place, wanted)
    words = ["--input", "x.npy", "--core", "mps2-an386", "--threads", 2]
    result = said("run", place, *words)
    assert result.exit_code == 64
    assert "target `cortex-m4` has no threads" in result.stderr


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], list[list[str]]]:
    """Return a function that puts a program in talk.c's place, and gives what it is asked."""

    def replace(says: str) -> list[list[str]]:
        asked: list[list[str]] = []
        (tmp_path / "said").write_text(says, encoding="utf-8")

        def line(target: Target, core: str, program: Path, arguments: list[str]) -> list[str]:
            asked.append(arguments)
            return ["/bin/cat", str(tmp_path / "said")]

        monkeypatch.setattr(emulated, "command_line", line)
        return asked

    return replace


def test_a_device_with_little_memory_is_given_one_row_at_a_time(
    device_bundle: Bundle, said: Say, runner: Callable[[str], list[list[str]]]
) -> None:
    asked = runner("given 5\nshown 61\nprefill 1 1\ntoken 5 62\nended 2 - -\nend\n")
    result = said("run", device_bundle.path, "Once", "--core", "mps2-an386", "-n", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == "ab\n"
    assert asked[0][asked[0].index("--chunk") + 1] == "1"


def test_a_session_that_does_not_fit_is_exit_2_and_stdout_is_empty(
    host_bundle: Bundle, refused: Refuse, runner: Callable[[str], list[list[str]]]
) -> None:
    runner("memory 5\nstatus 8 arena too small\n")
    words = ["run", host_bundle.path, "Once", "--core", "native"]
    result = refused(2, "the memory of native does not hold", *words)
    assert "build with a smaller --context" in result.stderr


@pytest.mark.parametrize("says", ["", "given 3\nstatus 13 kernel differs\n", "tok"])
def test_a_start_that_fails_leaves_stdout_empty(
    says: str, host_bundle: Bundle, said: Say, runner: Callable[[str], list[list[str]]]
) -> None:
    runner(says)
    result = said("run", host_bundle.path, "Once", "--core", "native")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "talk.c on native stopped" in result.stderr


@pytest.mark.usefixtures("no_tools")
def test_without_a_compiler_it_is_exit_5_with_the_line_to_type(
    bundles: dict[str, Bundle], host_bundle: Bundle, refused: Refuse, said: Say
) -> None:
    for words in (["run", bundles["tiny"].path], ["run", host_bundle.path, "--core", "native"]):
        result = refused(5, "`gcc` is not installed", *words, "Once")
        assert "apt-get install" in result.stderr
    assert said("run", host_bundle.path, "Once", "-n", 1).exit_code == 0


# ---- Talking ---------------------------------------------------------------------------------

TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %} {% endif %}"
    "{{ message['content'] | trim }}{% endfor %}"
)
SAMPLED = ["--temperature", "1.5", "--top-p", "0.9", "--repetition", "1.1", "--seed", str(1 << 63)]


@pytest.fixture(scope="module")
def talker(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle for this machine of a model with a chat template."""
    folder = tmp_path_factory.mktemp("talker")
    checkpoint = Path(shutil.copytree(tiny.path, folder / "model"))
    settings = json.dumps({"chat_template": TEMPLATE})
    (checkpoint / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    return build_bundle(checkpoint, find_target("host"), Options(), folder / "out")


def talked(talker: Bundle, typed: str | bytes, *words: object) -> Result:
    """Return what `run` says when this is typed."""
    command = ["run", str(talker.path), *map(str, words)]
    return CliRunner().invoke(main, command, input=typed)


@pytest.mark.parametrize("core", [[], ["--core", "native"]], ids=["here", "emulated"])
def test_each_line_is_a_turn_and_the_conversation_goes_on(talker: Bundle, core: list[str]) -> None:
    words = ["--chat", "--system", "time", "-n", 3, *SAMPLED, "--json"]
    result = talked(talker, "Once upon\n\na little\n", *words, *core)
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    ends = [event for event in events if event["event"] == "end"]
    assert [end["why"] for end in ends] == ["length", "length"]
    chosen = [event["token"] for event in events if event["event"] == "token"]
    assert len(chosen) == 6
    reads = [event["total"] for event in events if event["event"] == "prefill"]
    again = talked(talker, "Once upon\n\na little\n", *words)
    assert chosen == [
        event["token"]
        for event in map(json.loads, again.stdout.splitlines())
        if event["event"] == "token"
    ]
    assert reads[-1] == reads[0] + 3 + 2  # the answer and the new words are behind what was there


def test_turns_of_plain_text_continue_one_text(talker: Bundle) -> None:
    for core in ([], ["--core", "native"]):
        result = talked(talker, "Once upon\n time\n", "-n", 2, *core)
        assert result.exit_code == 0, result.output
        first, second = result.stdout.splitlines()
        prompt = f"Once upon{first} time"
        whole = talked(talker, "", prompt, "-n", 2, *core)
        assert whole.stdout == f"{prompt}{second}\n"


def test_a_turn_that_cannot_be_taken_is_told_and_the_next_one_is_answered(talker: Bundle) -> None:
    for core in ([], ["--core", "native"]):
        typed = b"Once \xff\n" + b"Once " * 65 + b"\nOnce upon\n"
        result = talked(talker, typed, "--chat", "-n", 2, *core)
        assert result.exit_code == 0, result.output
        assert "UTF-8" in result.stderr
        assert "context" in result.stderr
        alone = talked(talker, "Once upon\n", "--chat", "-n", 2, *core)
        assert result.stdout == alone.stdout


def test_a_full_context_ends_the_answer_or_is_shifted(talker: Bundle) -> None:
    prompt = " ".join(["Once"] * 60)
    for core in ([], ["--core", "native"]):
        result = talked(talker, "", prompt, "-n", 20, "--json", *core)
        assert json.loads(result.stdout.splitlines()[-1])["why"] == "full"
        assert "the text ends after 5 of 20 tokens" in result.stderr
        result = talked(talker, "", prompt, "-n", 20, "--json", "--shift", 4, *core)
        assert json.loads(result.stdout.splitlines()[-1])["why"] == "length"
    typed = "Once upon a time\n" * 9
    here, there = (
        talked(talker, typed, "-n", 9, "--shift", 2, *SAMPLED, *core)
        for core in ([], ["--core", "native"])
    )
    assert here.stdout == there.stdout
    assert len(here.stdout.splitlines()) == 9


def test_events_say_everything_that_the_text_does(talker: Bundle, said: Say) -> None:
    words = ["run", talker.path, "Once upon", "-n", 4, *SAMPLED, "--stop", "never"]
    events = [json.loads(line) for line in said(*words, "--json").stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["prompt", "prefill", *["token"] * 4, "end"]
    assert "".join(event.get("text", "") for event in events) + "\n" == said(*words).stdout
    assert events[0]["tokens"] == encode(load_tokenizer(talker.path), "Once upon")
    assert events[-1] == {"event": "end", "why": "length", "token": None, "text": ""}


@pytest.mark.parametrize("core", [[], ["--core", "native"]], ids=["here", "emulated"])
def test_ctrl_c_ends_the_answer_and_not_the_conversation(
    core: list[str], talker: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run._Text.event
    presses = iter([True])

    def pressed(self: run._Text, event: Event) -> None:
        shown(self, event)
        if isinstance(event, Chosen) and next(presses, False):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run._Text, "event", pressed)
    # A core may be done before it is stopped: let it have much to do.
    result = talked(talker, "Once\nupon a\n", "--chat", "-n", 50, "--shift", 1, *core)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2
    if not core:
        assert "[cancelled]" in result.stderr
        assert len(result.stdout.splitlines()[0].split()) == 1


def test_a_saved_session_goes_on_as_if_it_had_not_been_away(
    talker: Bundle, tmp_path: Path, said: Say
) -> None:
    saved = tmp_path / "saved.bits"
    whole = talked(talker, "Once upon\na time\n", "--chat", "-n", 3, *SAMPLED).stdout
    words = ["--chat", "-n", 3, *SAMPLED]
    native = ["--core", "native"]
    for here, there in (([], []), ([], native), (native, []), (native, native)):
        first = talked(talker, "Once upon\n", *words, "--save", saved, *here)
        second = talked(talker, "a time\n", *words, "--resume", saved, *there)
        assert first.stdout + second.stdout == whole


def test_what_goes_on_is_printed_alike_here_and_on_a_core(
    talker: Bundle, tmp_path: Path, said: Say
) -> None:
    saved = tmp_path / "saved.bits"
    assert talked(talker, "", "Once upon", "-n", 3, "--save", saved).exit_code == 0
    for words in ([], ["--json"]):
        here, there = (
            said("run", talker.path, " a time", "-n", 3, "--resume", saved, *words, *core)
            for core in ([], ["--core", "native"])
        )
        assert here.stdout == there.stdout
        assert "Once upon" in here.stdout
        read = [re.findall(r"read (\d+) tokens", each.stderr) for each in (here, there)]
        assert read[0] == read[1] != []


def test_what_is_saved_on_a_core_is_what_is_saved_here(talker: Bundle, tmp_path: Path) -> None:
    saved = []
    for number, core in enumerate(([], ["--core", "native"])):
        first, second = tmp_path / f"first-{number}", tmp_path / f"second-{number}"
        words = ["--chat", "-n", 3, *SAMPLED, *core]
        assert talked(talker, "Once\nupon\n", *words, "--save", first).exit_code == 0
        more = ["--resume", first, "--save", second]
        assert talked(talker, "a\ntime\n", *words, *more).exit_code == 0
        saved.append((first.read_bytes(), second.read_bytes()))
        assert talked(talker, "", *words, *more).exit_code == 0  # nothing was said
        assert second.read_bytes() == first.read_bytes()
    assert saved[0] == saved[1]


def test_a_session_that_is_damaged_or_another_models_is_refused(
    talker: Bundle, host_bundle: Bundle, tmp_path: Path, refused: Refuse, said: Say
) -> None:
    saved = tmp_path / "saved.bits"
    assert talked(talker, "", "Once upon", "-n", 3, "--save", saved).exit_code == 0
    sound = saved.read_bytes()
    words = ["run", talker.path, "a", "--resume", saved]
    for data, names in (
        (b"", "it is shorter"), (sound[:-1], "it is shorter"), (sound + b"x", "or longer"),
        (b"x" + sound[1:], "it is no saved session"),
        (sound[:70] + b"x" + sound[71:], "it is damaged"),
    ):  # fmt: skip
        saved.write_bytes(data)
        for place in ([], ["--core", "native"]):
            result = refused(1, "the saved session cannot be restored", *words, *place)
            assert names in result.stderr
    other = sound[:16] + bytes(32) + sound[48:-32]
    saved.write_bytes(other + hashlib.sha256(other).digest())
    refused(1, "it is of another model, or of this one with other options", *words)
    saved.write_bytes(sound)
    assert said("run", host_bundle.path, "a", "--resume", saved).exit_code == 0  # the same weights
    refused(1, "No such file", "run", talker.path, "a", "--resume", tmp_path / "absent")
    missing = ["run", talker.path, "a", "-n", 1, "--save", tmp_path / "absent" / "file"]
    result = said(*missing)
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_an_answer_that_breaks_off_is_told_and_exit_1(
    talker: Bundle, said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = session.HostSession.answer

    def forbid(self: session.HostSession, sampler: Any, answer: Any) -> Any:
        bias = dict.fromkeys(range(self.model.vocabulary), float("-inf"))
        return model(self, dataclasses.replace(sampler, bias=bias), answer)

    monkeypatch.setattr(session.HostSession, "answer", forbid)
    result = said("run", talker.path, "Once upon", "-n", 4)
    assert result.exit_code == 1
    assert result.stdout == "Once upon\n"
    assert "the answer broke off: no token is left\n" in result.stderr
