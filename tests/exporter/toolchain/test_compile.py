"""A library holds what its target can run, comes out the same twice, and needs what it says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bitexport.errors import BundleError, ToolchainError
from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import (
    build_library,
    find_library,
    include_folders,
    sources,
    undefined_symbols,
)

TAKEN = {
    "arm64": ["extra", "dot_dotprod", "dot_neon", "dot_scalar", "isa_linux", "tiny"],
    "arm64-v8.0": ["extra", "dot_neon", "dot_scalar", "isa_linux", "tiny"],
    "armv7": ["extra", "dot_neon", "dot_scalar", "isa_linux", "tiny"],
    "cortex-m4": ["dot_scalar", "isa_fixed", "tiny"],
    "cortex-m55": ["dot_scalar", "isa_fixed", "tiny"],
    "host": ["extra", "dot_avx2", "dot_scalar", "isa_x86", "tiny"],
}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_target_takes_the_files_that_its_cores_run(target: Target, runtime: Path) -> None:
    assert [source.path.stem for source in sources(target, runtime)] == TAKEN[target.name]


def test_a_kernel_file_gets_the_flags_of_its_instruction_set(runtime: Path) -> None:
    flags = {each.path.stem: each.flags for each in sources(find_target("arm64"), runtime)}
    assert flags["dot_dotprod"] == ("-march=armv8.2-a+dotprod",)
    assert flags["dot_scalar"] == ()


def test_headers_of_the_runner_are_not_the_librarys(runtime: Path) -> None:
    (runtime / "runner" / "runner.h").write_text("")
    assert include_folders(runtime) == (Path("include"),)


def test_the_library_builds_for_every_target(target: Target, runtime: Path, tmp_path: Path) -> None:
    library = build_library(target, runtime, tmp_path)
    assert library.archive == tmp_path / "lib" / target.name / "libbitexport.a"
    assert (library.shared is not None) == (target.os == "linux")
    assert find_library(target, tmp_path) == library


def test_two_builds_have_the_same_bytes(
    target: Target, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCACHE_DISABLE", "1")
    one, two = (build_library(target, runtime, tmp_path / name) for name in ("one", "two"))
    assert digest(one.archive) == digest(two.archive)
    if one.shared and two.shared:
        assert digest(one.shared) == digest(two.shared)


def test_ccache_hands_over_what_a_compiler_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = build_library(find_target("armv7"), runtime_root(), tmp_path / "kept")
    monkeypatch.setenv("CCACHE_DISABLE", "1")
    fresh = build_library(kept.target, runtime_root(), tmp_path / "fresh")
    assert (kept.warnings, fresh.warnings) == ("", "")
    assert digest(kept.archive) == digest(fresh.archive)
    assert kept.shared is not None
    assert fresh.shared is not None
    assert digest(kept.shared) == digest(fresh.shared)


def test_building_again_leaves_no_old_object(runtime: Path, tmp_path: Path) -> None:
    host = find_target("host")
    build_library(host, runtime, tmp_path)
    (runtime / "extras" / "extra.c").unlink()
    assert undefined_symbols(host, build_library(host, runtime, tmp_path).archive) == frozenset()


def test_a_bare_library_that_needs_a_c_library_is_refused(runtime: Path, tmp_path: Path) -> None:
    (runtime / "extras" / "extra.c").rename(runtime / "src" / "extra.c")
    with pytest.raises(ToolchainError, match="`cortex-m4` needs malloc"):
        build_library(find_target("cortex-m4"), runtime, tmp_path)


def test_a_shared_library_that_needs_what_nobody_has_is_refused(
    runtime: Path, tmp_path: Path
) -> None:
    (runtime / "src" / "lost.c").write_text("int lost(void);\nint f(void){return lost();}\n")
    with pytest.raises(ToolchainError, match="undefined reference to `lost'"):
        build_library(find_target("arm64"), runtime, tmp_path)


def test_an_error_of_the_compiler_is_shown_by_its_first_lines(
    runtime: Path, tmp_path: Path
) -> None:
    (runtime / "src" / "tiny.c").write_text("int tiny(void)\n{\n    return nothing;\n}\n")
    with pytest.raises(ToolchainError, match="undeclared") as caught:
        build_library(find_target("host"), runtime, tmp_path)
    assert len(str(caught.value).splitlines()) <= 14
    assert "gcc" in str(caught.value.hint)


def test_a_warning_is_kept_and_not_fatal(runtime: Path, tmp_path: Path) -> None:
    (runtime / "src" / "tiny.c").write_text("int tiny_best(int unused)\n{\n    return 1;\n}\n")
    assert "unused" in build_library(find_target("host"), runtime, tmp_path).warnings


def test_a_missing_compiler_is_named_with_the_line_to_type(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="`arm-none-eabi-gcc` is not installed") as caught:
        build_library(find_target("cortex-m55"), runtime, tmp_path)
    assert "apt-get install -y --no-install-recommends gcc-arm-none-eabi" in str(caught.value.hint)


def test_a_bundle_without_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no library for target `arm64`"):
        find_library(find_target("arm64"), tmp_path)


def test_a_folder_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no C file"):
        build_library(find_target("arm64"), tmp_path, tmp_path)


def test_the_archive_says_nothing_of_who_built_it_and_when(runtime: Path, tmp_path: Path) -> None:
    text = build_library(find_target("host"), runtime, tmp_path).archive.read_bytes()
    header = text[8:68]
    assert header[16:28].strip() == b"0"
    assert header[28:34].strip() == header[34:40].strip() == b"0"
    assert str(tmp_path).encode() not in text
