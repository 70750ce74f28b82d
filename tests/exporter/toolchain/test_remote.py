"""A bundle on a real device: over ssh to a real sshd, over adb to a server that speaks as adb's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.exporter.testing.broken_library import vouch_for
from tests.exporter.toolchain.fake_adb import SERIAL, adb_server
from tests.our_plugin import run_on

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import RunError, TargetError, ToolchainError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_runner, find_target
from bitexport.toolchain.programs import find_command
from bitexport.toolchain.remote import connect

BundleFor = Callable[[str], Bundle]

HOST = find_target("host")
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SAYS = '#!/bin/sh\nprintf "%s|" "$@"\n[ "$1" != fail ] || { echo broken >&2; exit 7; }\n'
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
Subsystem sftp internal-sftp
"""
CLIENT = """
Host board
    IdentityFile {folder}/user
Host arm
    IdentityFile {folder}/arm
Host *
    HostName 127.0.0.1
    Port {port}
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known
    StrictHostKeyChecking accept-new
"""
# What the key `arm` runs in the place of a command: programs that were sent are for an Arm core.
ARM = """#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
internal-sftp) exec {sftp} ;;
/tmp/bitexport-*) exec sh -c "exec {qemu} -cpu cortex-a53 $SSH_ORIGINAL_COMMAND" ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start an sshd of our own; return a folder of `ssh` and `scp` that know it as `board`.

    As `arm` it is a board with a Cortex-A53.
    """
    folder = tmp_path_factory.mktemp("sshd")
    path = f"{os.environ['PATH']}:/usr/sbin"
    program = shutil.which("sshd", path=path)
    assert program, "sshd is not installed: apt-get install openssh-server"
    for key in ("host", "user", "arm"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(words, check=True)
    keys = [(folder / f"{key}.pub").read_text(encoding="utf-8") for key in ("user", "arm")]
    allowed = f'{keys[0]}command="{folder}/as-arm" {keys[1]}'
    (folder / "authorized").write_text(allowed, encoding="utf-8")
    qemu = find_command("qemu-aarch64", "this test", ["qemu-user"])
    (folder / "as-arm").write_text(ARM.format(sftp=SFTP_SERVER, qemu=qemu), encoding="utf-8")
    (folder / "as-arm").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd").write_text(SSHD.format(port=port, folder=folder), encoding="utf-8")
    (folder / "client").write_text(CLIENT.format(port=port, folder=folder), encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("ssh", "scp"):
        real = find_command(name, "this test", ["openssh-client"])
        wrapped = folder / "bin" / name
        wrapped.parent.mkdir(exist_ok=True)
        wrapped.write_text(f'#!/bin/sh\nexec {real} -F {folder}/client "$@"\n', encoding="utf-8")
        wrapped.chmod(0o755)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd")], stderr=log)
        try:
            _wait_for(port, server, folder / "log")
            yield folder / "bin"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))


@pytest.fixture(params=["ssh", "adb"])
def device(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return each kind of device in turn, by its name; behind both is this machine."""
    if request.param == "ssh":
        folder = request.getfixturevalue("sshd")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield "ssh:board"
    else:
        with adb_server(tmp_path) as server:
            monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.server_address[1]))
            yield f"adb:{SERIAL}"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a program that says with which words it was started."""
    path = tmp_path / "says"
    path.write_text(SAYS, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_words_arrive_as_they_were_given(device: str, script: Path) -> None:
    words = ["plain", "two words", "'", '"', "$HOME", "*", "a;b", "caf\u00e9", "{x}", "\\"]
    with connect(device) as remote:
        done = remote.run(HOST, "native", script, words)
        assert done.stdout == "".join(f"{word}|" for word in words)
        assert remote.send(script) == remote.send(script)
        folder = remote.send(script).rpartition("/")[0]
        assert remote.run(HOST, "native", Path("/bin/ls"), [folder]).stdout.split() == [
            "0-says", "1-ls",
        ]  # fmt: skip
    with connect(device) as again:
        gone = again.run(HOST, "native", script, [folder]).stdout
        with pytest.raises(RunError, match="No such file"):
            again.run(HOST, "native", Path("/bin/ls"), [gone.rstrip("|")])


def test_a_program_that_fails_over_there_is_told(device: str, script: Path) -> None:
    with connect(device) as remote, pytest.raises(RunError) as failed:
        remote.run(HOST, "native", script, ["fail"])
    assert str(failed.value) == f"`says` on {device} ended with status 7\nbroken"
    assert failed.value.completed.stdout == "fail|"


def test_verify_runs_a_bundle_on_it_in_every_way(device: str, host_bundle: Bundle) -> None:
    words = ["verify", str(host_bundle.path), "--ids", "1,5,9", "-n", "2", "--core", "native"]
    there = CliRunner().invoke(main, [*words, "--on", device])
    assert there.exit_code == 0, there.output
    here = CliRunner().invoke(main, words)
    assert there.stdout == here.stdout
    assert there.stdout.startswith("native       equal  ")
    assert "self-test, static library" in there.stderr


def test_a_board_of_another_processor_returns_the_bits_of_its_emulator(
    sshd: Path, bundle_for: BundleFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{sshd}:{os.environ['PATH']}")
    bundle = str(bundle_for("arm64").path)
    words = ["verify", bundle, "--ids", "1,5,9", "-n", "2", "--core", "cortex-a53"]
    there = CliRunner().invoke(main, [*words, "--on", "ssh:arm"])
    assert there.exit_code == 0, there.output
    assert there.stdout == CliRunner().invoke(main, words).stdout
    assert there.stdout.startswith("cortex-a53   equal  ")
    other = CliRunner().invoke(main, [*words[:-1], "cortex-a76", "--on", "ssh:arm"])
    assert other.exit_code == 4, other.output
    assert "the target file expects scalar neon dotprod; available: scalar neon" in other.stderr


def test_a_network_runs_on_it(
    device: str, bundle_for: BundleFor, tmp_path: Path, repository: Path
) -> None:
    digits = repository / "samples/digits/digits.onnx"
    network = build_bundle(digits, HOST, Options(), tmp_path / "net", Wanted(compile_library=False))
    shutil.copytree(bundle_for("host").path / "lib", network.path / "lib")
    vouch_for(network.path)
    words = ["verify", str(network.path), "--core", "native"]
    there = CliRunner().invoke(main, [*words, "--on", device])
    assert there.exit_code == 0, there.output
    assert there.stdout.split()[:2] == ["native", "equal"]


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("uucp", TargetError, "there is no runner `uucp`"),
        ("ssh:", ToolchainError, "`ssh:` names no device"),
        ("ssh:-oProxyCommand=x", ToolchainError, "`ssh:-oProxyCommand=x` names no device"),
        ("ssh:nowhere.invalid", ToolchainError, "making a folder on ssh:nowhere.invalid ended wit"),
    ],
)
def test_what_is_no_device_is_refused(name: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as refused, connect(name):
        pass
    assert getattr(refused.value, "hint", None)


def test_a_device_that_says_no_folder_is_refused_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho /\n', encoding="utf-8")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolchainError, match="it said `/`"), connect("ssh:board"):
        pass
    assert len((tmp_path / "asked").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--on", "ssh:board"], "--on needs one --core"),
        (["--on", "ssh:board", "--core", "native", "--replay", "x"], "--replay has no use for"),
    ],
)
def test_verify_refuses_a_device_without_its_core(
    words: list[str], says: str, host_bundle: Bundle
) -> None:
    said = CliRunner().invoke(main, ["verify", str(host_bundle.path), *words])
    assert said.exit_code == 64
    assert says in said.stderr


@pytest.mark.parametrize("name", ["ssh", "adb"])
def test_a_program_that_is_missing_says_how_to_install_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    says = f"`{name}` is not installed; the runner `{name}` needs it"
    with pytest.raises(ToolchainError, match=says) as refused, connect(f"{name}:board"):
        pass
    assert str(refused.value.hint).endswith(" ".join(find_runner(name).debian))


ON_DEVICE = """
import pytest
from bitexport.errors import TargetError

def test_device(bitexport_device):
    bitexport_device.check((1, 5, 9), 2)
    greedy = bitexport_device.tokens((1, 5, 9), 3)
    assert bitexport_device.say((1, 5, 9), 3, temperature=0).tokens == greedy
    with pytest.raises(TargetError, match="counts no instructions"):
        bitexport_device.instructions()
"""


def test_tests_of_a_user_run_on_it(
    device: str, host_bundle: Bundle, repository: Path, tmp_path: Path
) -> None:
    said = run_on(device, host_bundle.path, "native", ON_DEVICE, tmp_path, repository)
    assert f"on native, {device}" in said
    assert "1 passed" in said
