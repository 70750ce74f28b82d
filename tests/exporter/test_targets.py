"""Targets are data, and a data file that we do not understand is refused with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitexport import targets
from bitexport.errors import TargetError
from bitexport.paths import targets_root
from bitexport.targets import (
    Target,
    find_target,
    load_flags,
    load_isas,
    load_target,
    load_targets,
    machine_flags,
)

SOUND = """
summary   = "a target"
triple    = "aarch64-linux-gnu"
os        = "linux"
detection = "linux"
flags     = ["-march=armv8-a"]
isas      = ["scalar", "neon"]
debian    = ["gcc"]
cores     = { cortex-a53 = ["scalar", "neon"] }
"""

BROKEN = {
    "an unknown key": ('triple = "x"\ntripel', "unknown key `tripel`"),
    "a missing key": ("", "missing key `triple`"),
    "a number for a string": ("triple = 3", "`triple` is `3`"),
    "a string for a list": ('triple = "x"\nlink = "-static"', "`link` is `'-static'`"),
    "a number for a flag": ('triple = "x"\nthreads = 1', "`threads` is `1`"),
    "a truth for a number": ('triple = "x"\nram_bytes = true', "`ram_bytes` is `True`"),
}


def written(folder: Path, text: str) -> Path:
    """Write a target file; its folder is its name."""
    path = folder / "arm46" / "target.toml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_every_target_of_the_house_is_sound() -> None:
    assert list(load_targets()) == [
        "arm64", "arm64-v8.0", "armv7", "cortex-m4", "cortex-m55", "host",
    ]  # fmt: skip


def test_the_folder_is_the_name(tmp_path: Path) -> None:
    target = load_target(written(tmp_path, SOUND), load_isas())
    assert target.name == "arm46"
    assert target.compiler == "aarch64-linux-gnu-gcc"
    assert target.cores == {"cortex-a53": ("scalar", "neon")}


def test_a_target_can_be_a_key() -> None:
    assert len(set(load_targets().values())) == len(load_targets())


@pytest.mark.parametrize(("line", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_broken_target_file_names_the_key(tmp_path: Path, line: str, complaint: str) -> None:
    line = line + ' = "x"' if line.endswith("tripel") else line
    path = written(tmp_path, SOUND.replace('triple    = "aarch64-linux-gnu"', line))
    with pytest.raises(TargetError, match=complaint) as caught:
        load_target(path, load_isas())
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('isas      = ["scalar"', 'isas      = ["scalar", "noen"', "no instruction set `noen`"),
        ('os        = "linux"', 'os        = "windows"', "`os` is `windows`"),
        ('["scalar", "neon"] }', '["dotprod"] }', "is to run `dotprod`, which the target lacks"),
        ('summary   = "a target"', 'summary   = "', "Illegal character"),
    ],
    ids=["isa", "os", "core", "toml"],
)
def test_a_target_file_must_make_sense(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        load_target(written(tmp_path, SOUND.replace(old, new)), load_isas())


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match="there is no target `amr64`") as caught:
        find_target("amr64")
    assert caught.value.hint is not None
    assert "did you mean `arm64`?" in caught.value.hint
    assert "cortex-m55" in caught.value.hint


def test_an_unknown_core_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match="no core `cortex-a54`") as caught:
        find_target("arm64").expected_isas("cortex-a54")
    assert "cortex-a53" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ("scalar", "avx2")),
        ("avx512f avx512bw avx512vl avx_vnni", ("scalar", "avx2")),
        ("avx512f avx512bw avx512vl avx512_vnni", ("scalar", "avx2", "vnni")),
    ],
)
def test_what_no_emulator_has_is_expected_of_a_machine_that_has_it(
    flags: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(targets, "CPUINFO", tmp_path / "cpuinfo")
    machine_flags.cache_clear()
    try:
        assert find_target("host").expected_isas("native") == expected
        assert find_target("arm64").expected_isas("cortex-a53") == ("scalar", "neon")
    finally:
        machine_flags.cache_clear()


def test_a_machine_that_does_not_say_is_expected_to_run_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(targets, "CPUINFO", tmp_path / "none")
    machine_flags.cache_clear()
    try:
        assert find_target("host").expected_isas("native") == ("scalar", "avx2")
    finally:
        machine_flags.cache_clear()


def test_every_isa_but_scalar_says_which_macro_guards_it() -> None:
    isas = load_isas()
    assert isas["scalar"].requires is None
    assert all(isa.requires for name, isa in isas.items() if name != "scalar")
    assert isas["dotprod"].define == "BITX_HAVE_DOTPROD"


def test_the_numeric_contract_is_in_the_flags() -> None:
    assert {"-std=c11", "-ffp-contract=off"} <= set(load_flags().always)


def test_every_core_runs_the_definition(target: Target) -> None:
    assert all("scalar" in isas for isas in target.cores.values())


def test_a_bare_target_says_how_much_memory_there_is(target: Target) -> None:
    bare = target.os == "none"
    assert bare == (target.ram_bytes is not None) == (target.flash_bytes is not None)
    assert bare == (targets_root() / target.name / f"{target.name}.ld").is_file()
