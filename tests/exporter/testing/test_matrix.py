"""`verify --all`: every bundle of a folder on every core, here or on a cluster, and once."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from distributed import LocalCluster
from tests.exporter.testing.broken_library import make_it_subtract
from tests.tiny_checkpoint import Checkpoint

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.targets import find_target
from bitexport.testing import matrix
from bitexport.testing.matrix import (
    KEPT,
    Found,
    find_jobs,
    keep_found,
    load_found,
    run_here,
    run_job,
)
from bitexport.testing.matrix_file import read_matrix

WORDS = ("--ids", "1,5,9", "-n", "2")


@pytest.fixture(autouse=True)
def _absolute_path(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let jobs find this tree from a folder into which they may write replay files."""
    monkeypatch.setenv("PYTHONPATH", f"{repository / 'exporter'}:{repository / 'runtime_ref'}")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(host_bundle: Bundle, tmp_path: Path) -> Path:
    """Return a folder with a bundle that is sound and, deeper, one that is broken."""
    shutil.copytree(host_bundle.path, tmp_path / "bundles/sound")
    (tmp_path / "bundles/deeper").mkdir()
    make_it_subtract(host_bundle, tmp_path / "bundles/deeper/broken")
    return tmp_path / "bundles"


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler with one worker of two threads."""
    paths = f"{repository / 'exporter'}:{repository / 'runtime_ref'}"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("PYTHONPATH", paths)
        patch.chdir(tmp_path_factory.mktemp("cluster"))  # where its replay files go
        warnings.simplefilter("ignore")  # dask's own, about ports and event loops
        with LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as local:
            yield local.scheduler_address


def verify(folder: Path, *words: str) -> Result:
    """Run the matrix of a folder."""
    return CliRunner().invoke(main, ["verify", str(folder), "--all", *WORDS, *words])


def test_each_job_is_told_in_order_and_what_was_equal_is_not_run_again(
    folder: Path, host_bundle: Bundle
) -> None:
    first = verify(folder)
    assert first.exit_code == 4, first.output
    broken, sound = first.stdout.splitlines()
    assert broken.startswith("deeper/broken native FAILED  first difference on native (op by op, ")
    assert "Add `model.layers.0.self_attn.residual`" in broken
    assert sound.split()[:3] == ["sound", "native", "equal"]
    assert "2 jobs, 0 found equal before, the others on" in first.stderr
    assert "error: 1 of 2 jobs failed; deeper/broken native: first difference" in first.stderr
    again = verify(folder)
    assert again.exit_code == 4
    assert again.stdout.splitlines()[1] == sound
    assert "2 jobs, 1 found equal before" in again.stderr
    shutil.rmtree(folder / "deeper/broken")
    shutil.copytree(host_bundle.path, folder / "deeper/broken")
    mended = verify(folder)
    assert mended.exit_code == 0, mended.output
    assert "2 jobs, 2 found equal before" in mended.stderr
    alone = CliRunner().invoke(main, ["verify", str(host_bundle.path), *WORDS])
    assert sound.split("equal")[1] == alone.stdout.split("equal")[1].rstrip("\n")


def test_other_options_and_damaged_notes_are_run_again(folder: Path) -> None:
    shutil.rmtree(folder / "deeper")
    assert verify(folder).exit_code == 0
    (kept,) = (folder / KEPT).iterdir()
    assert "1 jobs, 0 found equal" in verify(folder, "--quick").stderr
    for damaged in ("", "{", json.dumps({"code": 0, "report": {"cores": []}})):
        kept.write_text(damaged, encoding="utf-8")
        assert "1 jobs, 0 found equal" in verify(folder).stderr
    assert "1 jobs, 1 found equal" in verify(folder).stderr


def test_what_was_equal_on_a_machine_of_other_instruction_sets_is_run_again(folder: Path) -> None:
    shutil.rmtree(folder / "deeper")
    (job,) = find_jobs(folder, [], WORDS)
    expected = find_target("host").expected_isas("native")
    for isas in (expected, expected[:-1], (*expected, "amx")):
        core = {"core": "native", "passed": True, "expected_isas": isas}
        keep_found(folder, job, Found(0, {"cores": [core]}))
        assert (load_found(folder, job) is not None) == (isas == expected)


def test_what_was_equal_is_run_again_where_a_file_is_another_than_then(folder: Path) -> None:
    shutil.rmtree(folder / "deeper")
    (job,) = find_jobs(folder, [], WORDS)
    isas = find_target("host").expected_isas("native")
    core = {"core": "native", "passed": True, "expected_isas": isas}
    keep_found(folder, job, Found(0, {"cores": [core]}))
    assert load_found(folder, job)
    data = folder / "sound/model.bitx"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    assert load_found(folder, job) is None
    assert verify(folder).exit_code == 1


def test_a_core_that_a_matrix_does_not_have_is_refused(tmp_path: Path) -> None:
    text = f'[checkpoints]\nnone = "{tmp_path}"\n[targets]\narm64 = ["cortex-a53"]\n'
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    said = verify(tmp_path / "m.toml", "--core", "cortex-a53", "--core", "cortex-a76")
    assert said.exit_code == 2
    assert "nothing runs on cortex-a76" in said.stderr
    assert not (tmp_path / "m").exists()


def test_a_folder_may_be_the_bundle_itself(folder: Path) -> None:
    said = verify(folder / "sound", "--quick")
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("sound native equal  ")
    assert "  sound native: equal  " in said.stderr


def test_a_cluster_reports_the_same(folder: Path, cluster: str) -> None:
    def report(*words: str) -> list[dict[str, Any]]:
        said = verify(folder, "--json", *words)
        assert said.exit_code == 4, said.output
        shutil.rmtree(folder / KEPT)
        jobs: list[dict[str, Any]] = json.loads(said.stdout)
        for job in jobs:  # a replay file has a name of its own
            job["said"] = job["said"].partition("replay with")[0]
            for core in job["report"]["cores"]:
                core["explanation"] = core["explanation"] and core["explanation"]["name"]
        return jobs

    here = report("--jobs", "2")
    assert [job["code"] for job in here] == [4, 0]
    assert here == report("--dask", cluster)


def test_a_worker_refuses_another_bundle_or_version(folder: Path) -> None:
    job = find_jobs(folder, ["native"], WORDS)[0]
    said = run_job(dataclasses.replace(job, manifest="0" * 64))
    assert (said.code, said.line) == (
        1, f"FAILED  {folder}/deeper/broken: is another bundle on this worker",
    )  # fmt: skip
    assert "No such file" in run_job(dataclasses.replace(job, bundle="/nowhere")).said
    assert "version" in run_job(dataclasses.replace(job, version="0.0.0")).said


def test_whoever_leaves_takes_the_jobs_along(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def start(_: object) -> subprocess.Popen[str]:
        words = ["sleep", "60"] if started else ["echo", "{}"]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        return process

    monkeypatch.setattr(matrix, "_started", start)
    begin = time.monotonic()
    running = run_here(find_jobs(folder, [], ()) * 3, 2)
    assert next(running)[0] in (0, 1)
    running.close()
    assert time.monotonic() - begin < 30
    assert 2 <= len(started) <= 3
    assert all(process.returncode == -15 for process in started[1:])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--core", "cortex-z80"], 2, "no bundle below it has a core `cortex-z80`"),
        (["--on", "ssh:board", "--core", "native"], 64, "--all has no use for --on"),
        (["--jobs", "1", "--dask", "tcp://x:1"], 64, "give one"),
    ],
)
def test_what_makes_no_matrix_is_refused(
    words: list[str], code: int, says: str, host_bundle: Bundle
) -> None:
    said = verify(host_bundle.path, *words)
    assert said.exit_code == code
    assert says in said.stderr


def test_a_folder_without_bundles_is_refused(tmp_path: Path, host_bundle: Bundle) -> None:
    said = verify(tmp_path)
    assert said.exit_code == 1
    assert "there is no bundle below it" in said.stderr
    alone = CliRunner().invoke(main, ["verify", str(host_bundle.path), "--jobs", "2"])
    assert alone.exit_code == 64
    assert "--jobs is for --all" in alone.stderr


MATRIX = """
[checkpoints]
tiny = "{tiny}"
digits = "{digits}"

[options]
default = []
int8 = ["--kv-cache", "int8"]

[targets]
host = []

[[leave-out]]
checkpoint = "tiny"
options = "default"

[[leave-out]]
checkpoint = "digits"
options = "int8"
"""


@pytest.fixture(scope="module")
def nightly(tiny: Checkpoint, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a matrix of a language model and of a network, which are not built yet."""
    folder = tmp_path_factory.mktemp("matrix")
    digits = repository / "samples/digits/digits.onnx"
    text = MATRIX.format(tiny=tiny.path, digits=digits)
    (folder / "nightly.toml").write_text(text, encoding="utf-8")
    return folder / "nightly.toml"


def test_a_matrix_is_built_and_run_and_neither_is_done_again(nightly: Path, cluster: str) -> None:
    first = verify(nightly, "--dask", cluster)
    assert first.exit_code == 0, first.output
    network, model = sorted(first.stdout.splitlines())
    name, told = "digits/default/host native", r" equal  \d+ op outputs, {}, \d+ runs, arena \d+ by"
    assert re.match(name + told.format(r"\d+ samples"), network)
    assert re.match("tiny/int8/host native {5}" + told.format("2 tokens"), model)
    assert "2 jobs, 0 built before, the others on dask cluster" in first.stderr
    again = verify(nightly)
    assert again.stdout == first.stdout
    assert "2 jobs, 2 built before" in again.stderr
    assert "2 jobs, 2 found equal before" in again.stderr
    folder = nightly.with_suffix("")
    shutil.rmtree(folder / KEPT)  # of jobs; a folder of bundles is a matrix of its own
    below = verify(folder, "--jobs", "1")
    assert sorted(line.split()[1:] for line in below.stdout.splitlines()) == [
        line.split()[1:] for line in (network, model)
    ]


def test_what_is_built_of_other_files_or_is_gone_is_built_again(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Path(shutil.copytree(tiny.path, tmp_path / "tiny"))
    text = '[checkpoints]\ntiny = "tiny"\n[targets]\narm64 = ["cortex-a53"]\n'
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    folder, (build,) = read_matrix(tmp_path / "m.toml")
    assert build.cores == ("cortex-a53",)
    assert Path(build.bundle) == folder / "tiny/arm64" == tmp_path / "m/tiny/arm64"
    Path(build.bundle).mkdir(parents=True)
    (Path(build.bundle) / "manifest.json").write_text("{}", encoding="utf-8")
    keep_found(folder, build, Found(0, build.read("")))
    assert load_found(folder, build)
    (Path(build.bundle) / "manifest.json").write_text("{ }", encoding="utf-8")
    assert load_found(folder, build) is None
    shutil.rmtree(build.bundle)
    assert load_found(folder, build) is None
    assert build.refusal() is None
    with (checkpoint / "config.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    _, (other,) = read_matrix(tmp_path / "m.toml")
    assert other.key != build.key
    assert run_job(build).said == f"{checkpoint}: is another on this worker"
    shutil.rmtree(checkpoint)
    assert "is another on this worker" in str(build.refusal())


def test_what_cannot_be_built_fails_on_each_of_its_cores_and_the_others_run(
    repository: Path, tmp_path: Path
) -> None:
    text = f'[checkpoints]\nnone = "{tmp_path}"\n[targets]\narm64 = []\nhost = []\n'
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    said = verify(tmp_path / "m.toml", "--json", "--core", "cortex-a53", "--core", "cortex-a76")
    assert said.exit_code == 1, said.output
    rows = json.loads(said.stdout)
    assert [(row["bundle"], row["core"], row["code"]) for row in rows] == [
        ("none/arm64", "cortex-a53", 3), ("none/arm64", "cortex-a76", 3),
    ]  # fmt: skip
    assert rows[0]["said"].startswith(f"not built: {tmp_path}: ")
    assert not (tmp_path / "m/none").exists()


def test_the_folder_of_a_matrix_may_lie_beside_its_own(tmp_path: Path) -> None:
    (tmp_path / "matrices").mkdir()
    text = f'folder = "../built"\n[checkpoints]\nnone = "{tmp_path}"\n[targets]\narm64 = []\n'
    (tmp_path / "matrices/m.toml").write_text(text, encoding="utf-8")
    folder, (build,) = read_matrix(tmp_path / "matrices/m.toml")
    assert Path(build.bundle) == folder / "none/arm64" == tmp_path / "built/none/arm64"


@pytest.mark.parametrize("words", [["--chat-template", "t.jinja"], ["--chat-template=t.jinja"]])
def test_a_file_that_the_options_name_is_an_input(words: list[str], tmp_path: Path) -> None:
    def key() -> str:
        _, (build,) = read_matrix(tmp_path / "m.toml")
        return build.key

    text = f'[checkpoints]\na = "m.toml"\n[options]\no = {json.dumps(words)}\n[targets]\nhost = []'
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    (tmp_path / "t.jinja").write_text("one", encoding="utf-8")
    before = key()
    (tmp_path / "t.jinja").write_text("two", encoding="utf-8")
    assert key() != before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "m.toml: "),
        ("", "`checkpoints` is missing"),
        ('model = "x"', "unknown key `model`"),
        ("[checkpoints]\na = 1\n[targets]\nhost = []", "`checkpoints` is missing, or not what"),
        ('[checkpoints]\n"../a" = "x"\n[targets]\nhost = []', "`../a` names no folder"),
        ('[checkpoints]\na = "x"\n[targets]\nhost = []', "x` is not there"),
        ('[checkpoints]\na = "."\n[targets]\nhosts = []', "there is no target `hosts`"),
        ('[checkpoints]\na = "."\n[targets]\nhost = ["z80"]', "target `host` has no core `z80`"),
        ('[checkpoints]\na = "."\n[options]\no = ["-o", "x"]\n[targets]\nhost = []', "`-o` is no"),
        ('[checkpoints]\na = "."\n[options]\no = ["-ox"]\n[targets]\nhost = []', "`-ox` is no"),
        (
            '[checkpoints]\na = "."\n[options]\no = ["--target=host"]\n[targets]\narm64 = []',
            "`--target=host` is no option here",
        ),
        ('[checkpoints]\na = "."\n[targets]\nhost = []\n[[leave-out]]\nb = "a"', "`leave-out` is"),
        (
            '[checkpoints]\na = "."\n[targets]\nhost = []\n[[leave-out]]\ntarget = "hosts"',
            "`leave-out` of target `hosts` leaves nothing out",
        ),
        (
            '[checkpoints]\na = "."\n[targets]\nhost = []\n[[leave-out]]\ntarget = "host"',
            "everything",
        ),
    ],
)
def test_a_matrix_that_makes_no_sense_is_refused_by_its_key(
    text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    said = verify(tmp_path / "m.toml")
    assert said.exit_code in (1, 2, 3)
    assert says in said.stderr
    assert "hint: " in said.stderr
    assert not (tmp_path / "m").exists()
