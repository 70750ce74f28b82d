"""A bundle on a microcontroller: boards of QEMU at the end of a serial line."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.exporter.testing.broken_library import break_add, vouch_for
from tests.exporter.toolchain.emulated_board import Cable, cable, emulated_board, link_image
from tests.our_plugin import run_on

from bitexport.cli import main
from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import BundleError, RunError, ToolchainError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import LineRunner, find_runner, find_target
from bitexport.toolchain import remote, serial_line
from bitexport.toolchain.remote import connect
from bitexport.toolchain.serial_line import Board

BundleFor = Callable[[str], Bundle]

M4 = find_target("cortex-m4")
WORDS = ("--ids", "1,5,9", "-n", "2")
SILENCE = 5


@pytest.fixture(scope="module", params=["cortex-m4", "cortex-m55"])
def each(
    request: pytest.FixtureRequest, bundle_for: BundleFor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bundle, str]]:
    """Return a bundle for each microcontroller, and the device that has it in its flash."""
    bundle = bundle_for(request.param)
    image = link_image(bundle, tmp_path_factory.mktemp("image") / "on_serial")
    with emulated_board(find_target(request.param), image) as port:
        yield bundle, f"serial:{port}"


@pytest.fixture(scope="module")
def image(bundle_for: BundleFor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program of a Cortex-M4 that answers over its line."""
    return link_image(bundle_for("cortex-m4"), tmp_path_factory.mktemp("image") / "on_serial")


@pytest.fixture
def line(image: Path) -> Iterator[Cable]:
    """Return a cable to such a board."""
    with emulated_board(M4, image) as port, cable(port) as it:
        yield it


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait seconds for a board, not a minute."""
    runner = find_runner("serial")
    assert isinstance(runner, LineRunner)
    quick = dataclasses.replace(runner, silence=SILENCE)
    monkeypatch.setattr(remote, "find_runner", lambda _: quick)


def verify(bundle: Path, device: str, *words: str, core: str = "cortex-m4") -> Result:
    """Verify a bundle on a device."""
    asked = ["verify", str(bundle), "--on", device, "--core", core, *(words or WORDS)]
    return CliRunner().invoke(main, asked)


def broken_board(bundle: Bundle, folder: Path, sum_is: str) -> Path:
    """Link the program with a library whose Add returns something else."""
    there = break_add(bundle, folder / "broken", sum_is)
    return link_image(open_bundle(there), folder / "on_serial")


def test_a_board_returns_the_bits_of_the_emulated_core(each: tuple[Bundle, str]) -> None:
    bundle, device = each
    there = verify(bundle.path, device, core=bundle.target_name)
    assert there.exit_code == 0, there.output
    here = CliRunner().invoke(main, ["verify", str(bundle.path), *WORDS])
    assert there.stdout.split()[1:] == here.stdout.split()[1:]
    assert there.stdout.startswith(f"{bundle.target_name:12} equal  ")
    assert "self-test, program in flash" in there.stderr


ON_DEVICE = """
def test_device(bitexport_device):
    bitexport_device.check((1, 5, 9), 2)
    bitexport_device.self_test()
    greedy = bitexport_device.tokens((1, 5, 9), 3)
    assert bitexport_device.say((1, 5, 9), 3, temperature=0).tokens == greedy
    assert 0 < bitexport_device.arena_bytes(context=16) < bitexport_device.arena_bytes(context=64)
"""


def test_tests_of_a_user_run_on_it(
    each: tuple[Bundle, str], repository: Path, tmp_path: Path
) -> None:
    bundle, device = each
    said = run_on(device, bundle.path, bundle.target_name, ON_DEVICE, tmp_path, repository)
    assert f"on {bundle.target_name}, {device}" in said


def test_a_network_runs_on_it(repository: Path, tmp_path: Path, bundle_for: BundleFor) -> None:
    target = find_target("cortex-m55")
    network = build_bundle(
        repository / "samples/digits/digits.onnx", target, Options(), tmp_path / "digits",
        Wanted(compile_library=False),
    )  # fmt: skip
    shutil.copytree(bundle_for("cortex-m55").path / "lib", network.path / "lib")
    vouch_for(network.path)
    image = link_image(network, tmp_path / "on_serial")
    with emulated_board(target, image) as port:
        said = CliRunner().invoke(
            main, ["verify", str(network.path), "--on", f"serial:{port}", "--core", "cortex-m55"]
        )
    assert said.exit_code == 0, said.output
    assert re.match(r"cortex-m55   equal  \d+ op outputs, \d+ samples, ", said.stdout)


def test_the_first_op_that_differs_is_named_and_replayed_on_the_board(
    bundle_for: BundleFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = bundle_for("cortex-m4")
    with emulated_board(M4, broken_board(bundle, tmp_path, "a[i] - b[i]")) as port:
        said = verify(bundle.path, f"serial:{port}")
        assert said.exit_code == 4, said.output
        assert (
            "first difference on cortex-m4 (op by op, chunks of 3, 1 thread): position 0, op ou"
            in (said.stderr)
        )
        assert "Add `model.layers.0.self_attn.residual`" in said.stderr
        assert f"--replay {tmp_path}/mismatch-cortex-m4.npz --on serial:{port}\n" in said.stderr
        words = ["verify", str(bundle.path), "--replay", "mismatch-cortex-m4.npz"]
        again = CliRunner().invoke(main, [*words, "--on", f"serial:{port}"])
        assert again.exit_code == 4
        assert "Add `model.layers.0.self_attn.residual`" in again.stderr
    alone = CliRunner().invoke(main, words)
    assert (alone.exit_code, "`core` is `cortex-m4`" in alone.stderr) == (1, True)


def test_a_fault_is_told_and_the_board_starts_again(bundle_for: BundleFor, tmp_path: Path) -> None:
    bundle = bundle_for("cortex-m4")
    image = broken_board(bundle, tmp_path, "*(const volatile float *)0xFFFFFFF0u")
    asked = ["--prompt", "1,5", "--chunk", "1"]
    with emulated_board(M4, image) as port:
        for _ in range(2):
            with connect(f"serial:{port}") as board:
                assert isinstance(board, Board)
                with pytest.raises(RunError, match="ended with status 3\nrunner 1\n") as failed:
                    board.run(M4, "cortex-m4", Path("runner"), asked)
            said = failed.value.completed.stdout
            assert re.search(r"^fault 0\d at 0000[0-9a-f]{4}$", said, re.MULTILINE)


def test_a_board_with_another_model_is_refused(
    line: Cable, bundle_for: BundleFor, tiny: object
) -> None:
    manifest = bundle_for("cortex-m4").manifest["files"]["model.bitx"]
    with connect(f"serial:{line.name}") as board:
        assert isinstance(board, Board)
        board.require_model(manifest, Path("mine"))
        with pytest.raises(
            BundleError, match=rf"another model: its SHA-256 is {manifest[:16]}\.\."
        ):
            board.require_model("0" * 64, Path("mine"))


def test_what_a_board_or_its_boot_said_before_does_not_matter(
    line: Cable, bundle_for: BundleFor
) -> None:
    line.say(b"\xff\x00 boot 1.0\r\nm-ready\r\nm-name-dut-[other]\r\nhalf a li")
    line.to_board = lambda data: data.replace(b"name%", b"\x80garbage%name%", 1)
    said = verify(bundle_for("cortex-m4").path, f"serial:{line.name}", *WORDS, "--quick")
    assert said.exit_code == 0, said.output


class Once:
    """Changes bytes the first time that they come by."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self.old, self.new, self.done = old, new, False

    def __call__(self, data: bytes) -> bytes:
        """Change them, or nothing."""
        if self.done or self.old not in data:
            return data
        self.done = True
        return data.replace(self.old, self.new, 1)


@pytest.mark.parametrize(
    ("to_board", "to_host", "says"),
    [
        (None, Once(b"[logits", b"[logitz"), "said did not arrive as it was"),
        (None, Once(b"m-[logits", b"m-{logits"), "said did not arrive as it was"),
        (Once(b"db 7", b"db 6"), None, "what was sent to serial:{name} did not arrive as it was"),
        (Once(b"db 7", b"db x"), None, "refuses `db "),
        (Once(b"db load", b"db toad"), None, "refuses `db load"),
        (None, Once(b"m-results", b"m-resluts"), "said did not arrive as it was"),
    ],
)
def test_noise_on_the_line_is_told_and_is_no_mismatch(
    to_board: Once | None, to_host: Once | None, says: str, line: Cable, bundle_for: BundleFor
) -> None:
    line.to_board = to_board or line.to_board
    line.to_host = to_host or line.to_host
    said = verify(bundle_for("cortex-m4").path, f"serial:{line.name}", *WORDS, "--quick")
    assert (to_board or to_host).done  # type: ignore[union-attr]
    assert said.exit_code == 5, said.output
    assert says.format(name=line.name) in said.stderr
    assert "hint: look at the cable, or take a lower baud rate on both ends" in said.stderr


class Port:
    """A board that refuses what it hears first, and hands out its answers line by line."""

    def __init__(self) -> None:
        self._answers, self._given, self._refuses = b"", b"", True
        self.timeout = 0.0

    @property
    def in_waiting(self) -> int:
        """The bytes of a line."""
        return self._answers.find(b"\n") + 1

    def read(self, count: int) -> bytes:
        """Hand out bytes that are there."""
        part, self._answers = self._answers[:count], self._answers[count:]
        return part

    def write(self, command: bytes) -> None:
        """Answer a command."""
        self._answers += self._answer(command.decode().removesuffix("%")).encode() + b"m-ready\n"

    def _answer(self, command: str) -> str:
        match command.split():
            case ["name"]:
                return "m-name-dut-[bitexport]\n"
            case ["db", "load", _] if self._refuses:
                self._refuses = False
                return "e-[Unknown command: dd load]\n"
            case ["db", "load", _]:
                self._given = b""
            case ["db", digits]:
                self._given += bytes.fromhex(digits)
            case ["infer", *_]:
                given, said = (sha256(data).hexdigest()[:16] for data in (self._given, b"end\n"))
                return f"m-input-[{given}]\nm-[end]\nm-results-[0,{said}]\n"
        return ""


def test_after_an_answer_that_was_not_heard_to_its_end_the_next_run_is_in_step() -> None:
    runner = find_runner("serial")
    assert isinstance(runner, LineRunner)
    board = Board(runner, "serial:x", Port())
    with pytest.raises(ToolchainError, match="refuses `db load"):
        board.run(M4, "cortex-m4", Path("runner"), ["--trace"])
    assert board.run(M4, "cortex-m4", Path("runner"), ["--trace"]).stdout == "end\n"


@pytest.mark.usefixtures("impatient")
def test_a_board_that_stops_talking_is_told_with_its_last_word(
    line: Cable, bundle_for: BundleFor
) -> None:
    def cut(data: bytes) -> bytes:
        if b"m-[arena" not in data:
            return data
        line.to_host = lambda _: b""
        return data.partition(b"m-[arena")[0]

    line.to_host = cut
    said = verify(bundle_for("cortex-m4").path, f"serial:{line.name}")
    assert said.exit_code == 5, said.output
    said_it = f"within {SILENCE} seconds: its last word was `m-[isa used"
    assert f"did not end its answer to `infer 1 0%` {said_it}" in said.stderr


def test_a_cable_that_is_pulled_is_told(line: Cable, bundle_for: BundleFor) -> None:
    def pull(data: bytes) -> bytes:
        if b"m-[op 3" in data:
            line.unplug()
        return data

    line.to_host = pull
    said = verify(bundle_for("cortex-m4").path, f"serial:{line.name}")
    assert said.exit_code == 5, said.output
    assert f"error: serial:{line.name} was cut off" in said.stderr


def test_what_is_no_board_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "HELLO_SECONDS", 1)
    with cable(None) as silent:
        for device, says in {
            f"serial:{silent.name}": "does not answer `name%`: it says nothing",
            f"serial:{tmp_path}/none": "cannot be opened",
            "serial:/dev/ttyACM0,fast": "`fast` is no baud rate",
            "serial:": "names no device",
        }.items():
            with pytest.raises(ToolchainError, match=says) as refused, connect(device):
                pass
            assert refused.value.hint


def test_what_another_program_says_is_shown(line: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "HELLO_SECONDS", 1)
    line.to_host = lambda _: b"login: "
    device = f"serial:{line.name}"
    with pytest.raises(ToolchainError, match=r"it said `.*login: "), connect(device):
        pass


def test_a_port_that_is_in_use_is_refused(line: Cable) -> None:
    device = f"serial:{line.name}"
    with connect(device), pytest.raises(ToolchainError, match="opened"), connect(device + ",9600"):
        pass


@pytest.mark.parametrize(
    ("name", "device", "core", "says"),
    [
        ("cortex-m4", "ssh:board", "cortex-m4", "no operating system to start programs"),
        ("host", "serial:/dev/null", "native", "target `host` has an operating system"),
        (
            "cortex-m4",
            "serial:/dev/null",
            "cortex-m3",
            "target `cortex-m4` has no core `cortex-m3`",
        ),
    ],
)
def test_a_device_that_does_not_fit_the_target_is_refused(
    name: str, device: str, core: str, says: str, bundle_for: BundleFor
) -> None:
    said = verify(bundle_for(name).path, device, core=core)
    assert (said.exit_code, says in said.stderr) == (2, True), said.output


def test_no_emulator_stands_in_for_a_board_of_ones_own(bundle_for: BundleFor) -> None:
    words = ["verify", str(bundle_for("cortex-m4").path), "--core", "cortex-m4", *WORDS]
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 2, said.output
    assert "no emulator has a `cortex-m4`" in said.stderr


def test_without_pyserial_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    device = f"serial:{tmp_path}"
    with pytest.raises(ToolchainError, match="not installed") as refused, connect(device):
        pass
    assert refused.value.hint == "pip install 'bitexport[serial]'"
