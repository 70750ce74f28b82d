"""`bitexport package` writes a folder whole, or says in one sentence why not and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from bitexport.emit.manifest import Bundle, file_digests
from bitexport.package.kind import PACKAGE, load_kinds

Say = Callable[..., Result]
Refuse = Callable[..., Result]


def test_stdout_is_the_path_and_every_file_is_listed(
    host_bundle: Bundle, tmp_path: Path, said: Say
) -> None:
    result = said("package", host_bundle.path, "--linux", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out'}\n"
    about = json.loads((tmp_path / "out" / PACKAGE).read_text("utf-8"))
    found = file_digests(tmp_path / "out")
    assert about["files"] == {name: found[name] for name in found if name != PACKAGE}
    assert about["kind"] == "linux"
    assert [each["files"] for each in about["bundles"]] == [host_bundle.manifest["files"]]


def test_the_same_bundle_gives_the_same_bytes(
    host_bundle: Bundle, tmp_path: Path, said: Say
) -> None:
    for name in ("one", "two"):
        said("package", host_bundle.path, "--linux", "-o", tmp_path / name)
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")


def test_force_replaces_a_package_and_nothing_else(
    host_bundle: Bundle, tmp_path: Path, said: Say, refused: Refuse
) -> None:
    words = ["package", host_bundle.path, "--linux", "-o", tmp_path / "out"]
    assert said(*words).exit_code == 0
    refused(1, "already exists", *words)
    assert said(*words, "--force").exit_code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused(1, "is not a package", *words[:-1], tmp_path / "mine", "--force")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_failure_leaves_nothing(bundles: dict[str, Bundle], tmp_path: Path, refused) -> None:
    refused(1, "holds no library", "package", bundles["tiny"].path, "--linux",
            "-o", tmp_path / "out")  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_damaged_bundle_is_refused(host_bundle: Bundle, tmp_path: Path, refused: Refuse) -> None:
    for name in ("manifest.json", "model.bitx"):
        (tmp_path / name).write_bytes((host_bundle.path / name).read_bytes())
    refused(1, "is missing", "package", tmp_path, "--linux", "-o", tmp_path / "out")
    refused(1, "not a bundle", "package", tmp_path / "no", "--linux", "-o", tmp_path / "out")


def test_the_usage_names_every_kind(said: Say, host_bundle: Bundle, tmp_path: Path) -> None:
    assert list(load_kinds()) == sorted(load_kinds())
    result = said("package", host_bundle.path, "-o", tmp_path / "out")
    assert result.exit_code == 64
    for name in load_kinds():
        assert f"--{name}" in result.stderr
        assert f"--{name} " in said("package", "--help").stdout


def test_check_lists_what_is_wrong_and_how_to_mend_it(
    host_bundle: Bundle, tmp_path: Path, said: Say
) -> None:
    good = host_bundle.path / "lib" / "host" / "libbitexport.so"
    assert said("package", "--check", good).exit_code == 0
    bad = tmp_path / "libx.so"
    bad.write_bytes(good.read_bytes()[:4096])
    result = said("package", "--check", bad)
    assert result.exit_code == 6
    assert "error damaged: " in result.stdout
    assert "  source: " in result.stdout
    assert "  fix: " in result.stdout
    assert "1 errors, 0 warnings, 0 notes" in result.stderr
    facts = json.loads(said("package", "--check", bad, "--json").stdout)
    assert [each["rule"]["name"] for each in facts["findings"]] == ["damaged"]


def test_check_stands_alone(host_bundle: Bundle, tmp_path: Path, said: Say, refused) -> None:
    for words in ([host_bundle.path], ["--flash", "4M"], ["--ram", 0]):
        assert said("package", *words, "--check", host_bundle.path).exit_code == 64
    words = ["package", host_bundle.path, "--linux", "-o", tmp_path / "out", "--json"]
    assert "--json is for --check" in said(*words).stderr
    assert not (tmp_path / "out").exists()
    refused(1, "no such file", "package", "--check", tmp_path / "none.aar")


def test_a_size_is_read_with_its_unit(host_bundle: Bundle, tmp_path: Path, said: Say) -> None:
    words = ["package", host_bundle.path, "--mcu", "-o", tmp_path / "out", "--ram"]
    assert "has an operating system" in said(*words, "512K").stderr
    assert "is no size" in said(*words, "512KiB").stderr
