"""`bitexport verify` refuses what it cannot run, and says what would make it run."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.errors import RunError
from bitexport.verify.cores import Machine
from bitexport.verify.observed import Observed

Say = Callable[..., Result]
Refuse = Callable[..., Result]


def test_a_bundle_without_library_says_that_it_has_none(
    bundles: dict[str, Bundle], refused: Refuse
) -> None:
    result = refused(1, "holds no library for target `arm64`", "verify", bundles["tiny"].path)
    assert "built with --no-library; build again without it" in result.stderr


@pytest.mark.usefixtures("no_tools")
def test_a_bundle_built_without_a_compiler_names_the_compiler(
    bundles: dict[str, Bundle], refused: Refuse
) -> None:
    result = refused(5, "`aarch64-linux-gnu-gcc` is not installed", "verify", bundles["tiny"].path)
    assert "bitexport doctor --target arm64" in result.stderr


@pytest.mark.parametrize("name", ["lib/host/libbitexport.a", "src/more.c", "include/more.h"])
def test_code_that_the_manifest_does_not_list_is_refused(
    name: str, host_bundle: Bundle, tmp_path: Path, refused: Refuse
) -> None:
    folder = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"].pop(name, None)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / name).touch()
    for words in (["verify", folder], ["run", folder, "Once"]):
        refused(1, f"{folder / name}: is not in the manifest", *words)


def test_a_library_in_a_linked_folder_is_refused(
    host_bundle: Bundle, tmp_path: Path, refused: Refuse
) -> None:
    folder = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    (folder / "lib").rename(tmp_path / "elsewhere")
    (folder / "lib").symlink_to(tmp_path / "elsewhere")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = {k: v for k, v in manifest["files"].items() if not k.startswith("lib/")}
    (folder / "manifest.json").write_text(
        json.dumps({**manifest, "files": files}), encoding="utf-8"
    )
    refused(1, "libbitexport.a: is not in the manifest", "verify", folder)


def test_files_of_the_user_beside_the_code_are_no_fault(
    host_bundle: Bundle, tmp_path: Path, said: Say
) -> None:
    folder = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert said("run", folder, "Once", "-n", 1).exit_code == 0


def test_a_quick_check_is_two_runs_of_one_token(host_bundle: Bundle, said: Say) -> None:
    result = said("verify", host_bundle.path, "--quick", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["quick"], report["self_test"]) == (True, False)
    assert (len(report["prompt"]), len(report["generated"])) == (4, 1)
    (core,) = report["cores"]
    assert (core["runs"], core["passed"], core["seen"]) == (2, True, core["available"][-1:])
    whole = host_bundle.manifest["memory"]["arena_bytes_1_rows"]
    assert core["arena_bytes"] < whole  # no room for positions that nobody asks for


def test_the_same_tokens_as_text_and_as_numbers_are_the_same_check(
    host_bundle: Bundle, said: Say
) -> None:
    words = ["verify", host_bundle.path, "-n", 2, "--quick", "--json"]
    text = json.loads(said(*words, "--prompt", "Once upon").stdout)
    ids = ",".join(map(str, text["prompt"]))
    assert json.loads(said(*words, "--ids", ids).stdout) == text


def test_a_prompt_in_two_ways_is_exit_64(host_bundle: Bundle, said: Say) -> None:
    for words in (["--prompt", "Once", "--ids", "1"], ["--ids", "96"], ["--ids", "a"]):
        result = said("verify", host_bundle.path, *words)
        assert result.exit_code == 64
        assert result.stdout == ""


def test_a_bundle_without_tokenizer_and_self_test_verifies_and_says_so(
    tiny: Checkpoint, tmp_path: Path, said: Say
) -> None:
    checkpoint = Path(shutil.copytree(tiny.path, tmp_path / "model"))
    (checkpoint / "tokenizer.json").unlink()
    bundle = tmp_path / "out"
    built = said("build", checkpoint, "--target", "host", "-o", bundle, "--no-selftest")
    assert built.exit_code == 0, built.output
    assert "and no self-test; peak memory" in built.stderr
    result = said("verify", bundle, "-n", 2)
    assert result.exit_code == 0, result.output
    assert "the file holds no self-test: it was built with --no-selftest" in result.stderr
    report = json.loads(said("verify", bundle, "-n", 2, "--json").stdout)
    assert (report["self_test"], report["cores"][0]["passed"]) == (False, True)
    assert report["prompt"] == [1, *(7919 * i % 96 for i in range(1, 9))]
    inspected = json.loads(said("inspect", bundle / "model.bitx", "--json").stdout)
    assert inspected["self_test"] is None


def test_against_another_checkpoint_is_exit_3(
    host_bundle: Bundle, broken: Path, tmp_path: Path, refused: Refuse
) -> None:
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    (broken / "config.json").write_text(json.dumps({**config, "more": 1}), encoding="utf-8")
    words = ["--against", "transformers", "--checkpoint", broken, "--text", tmp_path / "text"]
    result = refused(3, f"{broken}: not the checkpoint that", "verify", host_bundle.path, *words)
    assert "`config.json` is another file" in result.stderr


CASE: dict[str, Any] = {
    "core": "native", "target": "host", "op_output": 0, "op": "embedding", "op_type": "EmbedBf16",
    "position": 1, "chunk": 2, "threads": 1, "isa": "", "traced": True, "returned": False,
    "prompt": [3, 4], "generated": [5, 6],
}  # fmt: skip


@pytest.fixture
def write_case(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a replay file whose bits are equal, with some changes."""

    def write(**changes: Any) -> Path:
        np.savez(tmp_path / "case.npz", **{**CASE, **changes})
        return tmp_path / "case.npz"

    return write


def test_a_case_that_is_equal_is_exit_0(
    host_bundle: Bundle, said: Say, write_case: Callable[..., Path]
) -> None:
    for changes in ({}, {"position": 2, "chunk": 1, "threads": 2, "isa": "scalar"}):
        case = write_case(**changes)
        result = said("verify", host_bundle.path, "--replay", case)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("equal")
        result = said("verify", host_bundle.path, "--replay", case, "--json")
        assert json.loads(result.stdout) == {"equal": True}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("isa", "foo"), ("core", "cortex-a53"), ("target", "arm64"), ("prompt", []),
        ("prompt", [3, 999999]), ("prompt", [-1]), ("prompt", [3] * 64), ("prompt", [[3]]),
        ("generated", []), ("generated", [999999]), ("position", -3), ("position", 9999),
        ("position", 3), ("position", 1.5), ("op_output", -3), ("op_output", 9999),
        ("op_output", 1), ("op", "foo"), ("chunk", 0), ("chunk", -1), ("chunk", 9999),
        ("threads", 0), ("threads", 9999), ("traced", "yes"), ("returned", 2),
        ("returned", True),
    ],
)  # fmt: skip
def test_an_edited_case_is_refused_and_the_field_named(
    field: str, value: Any, host_bundle: Bundle, refused: Refuse, write_case: Callable[..., Path]
) -> None:
    case = write_case(**{field: value})
    name = "`op_output`" if field == "op" else f"`{field}`"
    result = refused(1, f"{case}: not a replay file", "verify", host_bundle.path, "--replay", case)
    assert name in result.stderr


@pytest.fixture
def differing(
    host_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Callable[[], bytes | None]], Path]:
    """Return a function that lets the runner print other bits of the first op output.

    It is given what a second run dumps instead of the row; cwd is an empty folder.
    """
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    start = Machine.start

    def install(dumped: Callable[[], bytes | None]) -> Path:
        def changed(device: Machine, core: str, arguments: Sequence[str]) -> Observed:
            observed = start(device, core, arguments)
            if "--dump" in arguments:
                return dataclasses.replace(observed, dumped=dumped() or observed.dumped)
            return dataclasses.replace(observed, digests={**observed.digests, (0, 0): "00"})

        monkeypatch.setattr(Machine, "start", changed)
        return folder

    return install


def other_row(host_bundle: Bundle) -> bytes:
    return bytes(4 * int(host_bundle.manifest["model"]["hidden"]))


def verify(said: Say, bundle: Bundle, *words: object) -> Result:
    return said("verify", bundle.path, "--prompt", "Once upon", "-n", 2, *words)


def test_the_printed_line_replays_the_case_and_no_file_is_overwritten(
    host_bundle: Bundle, said: Say, differing: Callable[..., Path]
) -> None:
    folder = differing(lambda: other_row(host_bundle))
    for name in ("mismatch-native.npz", "mismatch-native-2.npz", "mismatch-native-3.npz"):
        result = verify(said, host_bundle)
        assert result.exit_code == 4, result.output
        line = result.stderr.partition("replay with: ")[2].partition("\n")[0]
        program, *words = shlex.split(line)
        assert program == "bitexport"
        assert words[-1] == str(folder / name)
        assert said(*words).exit_code == 4
    again = said(*words, "--json")
    assert again.exit_code == 4
    facts = json.loads(again.stdout)
    assert (facts["equal"], facts["op_output"], facts["core"]) == (False, 0, "native")


def test_a_file_that_cannot_be_written_does_not_hide_the_difference(
    host_bundle: Bundle, said: Say, differing: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode == "xb":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, *rest, **more)

    opened = Path.open
    folder = differing(lambda: other_row(host_bundle))
    monkeypatch.setattr(Path, "open", full)
    result = verify(said, host_bundle)
    assert result.exit_code == 4, result.output
    assert "first difference on native" in result.stderr
    assert "mismatch-native.npz could not be written: No space left" in result.stderr
    assert "replay with" not in result.stderr
    assert list(folder.iterdir()) == []


def test_only_a_second_run_that_returned_equal_bits_is_blamed_on_timing(
    host_bundle: Bundle, said: Say, differing: Callable[..., Path]
) -> None:
    def crash() -> bytes:
        raise RunError("it crashed", completed=subprocess.CompletedProcess([], 1, "", ""))

    ends = {
        "a second run did not differ: timing?": lambda: None,
        "a second run did not return the row": lambda: b"short",
        "a second run failed: it crashed": crash,
    }
    start = Machine.start
    for sentence, dumped in ends.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Machine, "start", start)
            differing(dumped)
            result = verify(said, host_bundle)
        assert result.exit_code == 4, result.output
        assert sentence in result.stderr
        assert ("timing?" in result.stderr) == ("timing?" in sentence)


@pytest.mark.usefixtures("no_tools")
def test_without_a_compiler_it_is_exit_5(device_bundle: Bundle, refused: Refuse) -> None:
    result = refused(5, "`arm-none-eabi-gcc` is not installed", "verify", device_bundle.path)
    assert "apt-get install" in result.stderr


def test_without_an_emulator_it_is_exit_5_with_the_line_to_type(
    device_bundle: Bundle, refused: Refuse, only_tools: Callable[..., None]
) -> None:
    only_tools("arm-none-eabi-gcc")
    result = refused(5, "`qemu-system-arm` is not installed", "verify", device_bundle.path)
    line = "apt-get install -y --no-install-recommends gcc-arm-none-eabi qemu-system-arm"
    assert line in result.stderr


@pytest.mark.parametrize(
    "words", [["--prompt", "Once " * 64], ["-n", "57"]], ids=["prompt", "tokens"]
)
def test_a_prompt_that_does_not_fit_is_exit_64(
    words: list[str], host_bundle: Bundle, said: Say
) -> None:
    result = said("verify", host_bundle.path, *words)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "do not fit a context of 64" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_prompt_is_exit_64(host_bundle: Bundle, said: Say) -> None:
    result = said("verify", host_bundle.path, "--prompt", "")
    assert result.exit_code == 64
    assert result.stdout == ""


SAMPLED = [
    "--temperature", "1.5", "--top-k", "20", "--top-p", "0.9", "--min-p", "0.01", "--repetition",
    "1.1", "--presence", "0.1", "--frequency", "0.1", "--seed", str(1 << 40),
]  # fmt: skip


@pytest.fixture
def record(host_bundle: Bundle, said: Say, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that records an answer, with some changes afterwards."""

    def write(*words: object, **changes: Any) -> Path:
        path = tmp_path / "transcript.json"
        command = ["run", host_bundle.path, "Once upon", "-n", 9, *words, "--record", path]
        result = said(*command)
        assert result.exit_code == 0, result.output
        facts = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(facts | changes), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "words", [[], SAMPLED, [*SAMPLED, "--core", "native"], [*SAMPLED, "--draft", "4"]],
    ids=["greedy", "sampled", "emulated", "drafted"],
)  # fmt: skip
def test_a_transcript_is_proven_in_one_pass(
    words: list[str], host_bundle: Bundle, said: Say, record: Callable[..., Path]
) -> None:
    path = record(*words)
    result = said("verify", host_bundle.path, "--transcript", path)
    assert result.exit_code == 0, result.output
    count = len(json.loads(path.read_text(encoding="utf-8"))["tokens"])
    assert result.stdout == f"equal  {count} tokens behind 2, each as the reference chooses\n"
    result = said("verify", host_bundle.path, "--transcript", path, "--json")
    assert json.loads(result.stdout) == {"transcript": str(path), "tokens": count, "equal": True}


def test_the_first_token_that_differs_is_named(
    host_bundle: Bundle, refused: Refuse, said: Say, record: Callable[..., Path]
) -> None:
    tokens = json.loads(record(*SAMPLED).read_text(encoding="utf-8"))["tokens"]
    assert len(tokens) > 5
    other = (tokens[4] + 1) % 96
    changed = [*tokens[:4], other, *((token + 1) % 96 for token in tokens[5:])]
    path = record(*SAMPLED, tokens=changed)
    words = ["verify", host_bundle.path, "--transcript", path]
    says = f"token 4 of the answer is {other}; the reference chooses {tokens[4]} there"
    refused(4, says, *words)
    result = said(*words, "--json")
    assert result.exit_code == 4
    facts = json.loads(result.stdout)
    assert (facts["equal"], facts["place"]) == (False, 4)
    assert (facts["found"], facts["expected"]) == (other, tokens[4])


def test_another_seed_is_another_transcript(
    host_bundle: Bundle, refused: Refuse, record: Callable[..., Path]
) -> None:
    path = record(*SAMPLED)
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["sampler"]["seed"] += 1
    path.write_text(json.dumps(facts), encoding="utf-8")
    refused(4, "the reference chooses", "verify", host_bundle.path, "--transcript", path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"transcript": 1}, "not a transcript that this version understands"),
        ({"prompt": "Once"}, "not a transcript that this version understands"),
        ({"sampler": 7}, "not a transcript that this version understands"),
        ({"prompt": []}, "holds no prompt"),
        ({"tokens": []}, "holds no tokens"),
        ({"tokens": [1.5]}, "`1.5` is not a token"),
        ({"tokens": [True]}, "`True` is not a token"),
        ({"tokens": [-1]}, "`-1` is not a token"),
        ({"tokens": [96]}, "token 96 is outside the vocabulary of 96"),
        ({"tokens": [3] * 64}, "2 and 64 tokens pass the context of 64"),
        ({"arithmetic": "0" * 64}, "recorded with another model, or with other options of numbers"),
        ({"sampler": {"temprature": 1}}, "`temprature` = 1 means nothing"),
        ({"sampler": {"temperature": "1"}}, "`temperature` = 1 means nothing"),
        ({"sampler": {"temperature": math.nan}}, "`temperature` = nan means nothing"),
        ({"sampler": {"temperature": -1}}, "temperature -1 is not allowed"),
        ({"sampler": {"top_k": 0}}, "top-k 0 is not allowed"),
        ({"sampler": {"seed": 1.5}}, "`seed` = 1.5 means nothing"),
        ({"sampler": {"window": -1}}, "window -1 is not allowed"),
    ],
    ids=str,
)
def test_what_is_no_transcript_is_refused_and_the_field_named(
    changes: dict[str, Any], says: str, host_bundle: Bundle, refused: Refuse,
    record: Callable[..., Path],
) -> None:  # fmt: skip
    path = record(**changes)
    result = refused(1, says, "verify", host_bundle.path, "--transcript", path)
    assert str(path) in result.stderr


def test_a_transcript_that_cannot_be_read_is_refused(
    host_bundle: Bundle, refused: Refuse, tmp_path: Path
) -> None:
    path = tmp_path / "transcript.json"
    words = ["verify", host_bundle.path, "--transcript", path]
    refused(1, f"{path}: No such file", *words)
    path.write_bytes(b"\xff{")
    refused(1, f"{path}: not valid JSON", *words)
    path.write_text("[" * 100000, encoding="utf-8")
    refused(1, f"{path}: not valid JSON", *words)


def test_an_answer_that_shifted_its_context_is_not_recorded(
    host_bundle: Bundle, refused: Refuse, said: Say, tmp_path: Path
) -> None:
    path = tmp_path / "transcript.json"
    words = ["run", host_bundle.path, "Once upon", "-n", 70, "--shift", 1, "--record", path]
    result = said(*words)
    assert result.exit_code == 64
    assert "the last answer shifted its context" in result.stderr
    assert not path.exists()


AGAINST = ["--against", "transformers", "--checkpoint", "x", "--text", "y"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--checkpoint", "x"], "--checkpoint is for --against transformers"),
        (["--text", "x"], "--text is for --against transformers"),
        ([*AGAINST, "--core", "native"], "--against has no use for --core"),
        ([*AGAINST, "--quick"], "--against has no use for --quick"),
        ([*AGAINST, "--prompt", "Once"], "--against has no use for --prompt"),
        ([*AGAINST, "--replay", "x"], "--against has no use for --replay"),
        (["--replay", "x", "--prompt", "Once"], "--replay has no use for --prompt"),
        (["--replay", "x", "--ids", "1"], "--replay has no use for --ids"),
        (["--replay", "x", "-n", "1", "--quick"], "--replay has no use for -n, --quick"),
        (["--replay", "x", "--core", "native"], "--replay has no use for --core"),
        (["--transcript", "x", "--core", "native"], "--transcript has no use for --core"),
        (["--replay", "x", "--transcript", "x"], "--replay has no use for --transcript"),
        ([*AGAINST, "--transcript", "x"], "--against has no use for --transcript"),
        (["--prompt", "Once", "--ids", "1"], "both say what to run"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_options_without_a_part_are_exit_64_before_anything_is_opened(
    words: list[str], names: str, said: Say, tmp_path: Path
) -> None:
    result = said("verify", tmp_path / "absent", *words)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert names in result.stderr


def test_a_replay_file_that_is_missing_is_said_in_a_sentence(
    host_bundle: Bundle, refused: Refuse, tmp_path: Path
) -> None:
    case = tmp_path / "absent.npz"
    words = ["verify", host_bundle.path, "--replay", case]
    result = refused(1, f"{case}: no such replay file", *words)
    assert "Errno" not in result.stderr


def test_against_needs_a_checkpoint_and_a_text(host_bundle: Bundle, said: Say) -> None:
    result = said("verify", host_bundle.path, "--against", "transformers")
    assert result.exit_code == 64
    assert "--checkpoint and --text" in result.stderr


def test_a_bundle_whose_target_is_gone_is_exit_2(
    host_bundle: Bundle, tmp_path: Path, refused: Refuse
) -> None:
    folder = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    changed = text.replace('"target": "host"', '"target": "hots"')
    (folder / "manifest.json").write_text(changed, encoding="utf-8")
    refused(2, "there is no target `hots`", "verify", folder)
