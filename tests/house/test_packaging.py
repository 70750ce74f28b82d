"""What is installed is what lies in the repository: packages, and the targets as data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bitexport.targets import find_runner, load_targets

QUESTION = """
from bitexport.paths import targets_root
from bitexport.targets import load_targets
print(targets_root())
print(*load_targets())
"""


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel, built from the tree as it lies here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    said = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_file_of_the_targets(repository: Path, wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (repository / "targets").rglob("*") if path.is_file()]
    wanted = {f"bitexport/_targets/{path.relative_to(repository / 'targets')}" for path in files}
    assert wanted - held == set()
    assert {"bitexport/py.typed", "bitexport_ref/__init__.py"} <= held


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "bitexport", "bitexport_ort", "bitexport_ref",
    }  # fmt: skip


def test_pytest_finds_the_plugin_of_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "--help", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--bitexport=BUNDLE" in said.stdout


def test_an_installed_wheel_finds_its_own_targets(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-c", QUESTION],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    root, names = said.stdout.splitlines()
    assert Path(root) == tmp_path / "bitexport/_targets"
    assert "arm64" in names.split()


def test_an_editable_install_sees_the_source_tree(repository: Path, tmp_path: Path) -> None:
    build = f"import hatchling.build as b; print(b.build_editable({str(tmp_path)!r}))"
    said = subprocess.run(
        [sys.executable, "-c", build], cwd=repository, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    (built,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(built)
    (paths,) = [name for name in archive.namelist() if name.endswith(".pth")]
    assert sorted(archive.read(paths).decode().split()) == [
        str(repository / "exporter"),
        str(repository / "runtime_ref"),
    ]


def test_setup_installs_what_every_target_asks_for(repository: Path) -> None:
    script = (repository / ".ci/setup").read_text(encoding="utf-8")
    listed = script.partition('packages="')[2].partition('"')[0].split()
    assert listed == list(dict.fromkeys(listed))
    for target in load_targets().values():
        assert set(target.debian) <= set(listed), target.name
    tests = script.partition('for_tests="')[2].partition('"')[0].split()
    for runner in (repository / "targets/runners").glob("*.toml"):
        assert set(find_runner(runner.stem).debian) <= set(tests), runner


def test_the_runtime_travels_with_the_licence_of_the_project(repository: Path) -> None:
    ours = (repository / "LICENSE").read_bytes()
    assert (repository / "targets/runtime/LICENSE").read_bytes() == ours
