"""The runtime's source in a bundle: untouched, complete, and without the runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitexport.emit.manifest import Bundle
from bitexport.emit.source import copy_runtime
from bitexport.paths import runtime_root
from bitexport.targets import find_target
from bitexport.toolchain.compile import sources


@pytest.mark.parametrize("name", ["arm64", "cortex-m4"])
def test_the_files_are_those_of_the_target_untouched(name: str, tmp_path: Path) -> None:
    wanted = {source.path for source in sources(find_target(name))}
    copy_runtime(wanted, tmp_path)
    copied = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in copied if path.suffix == ".c"} == wanted
    headers = {p.relative_to(runtime_root()) for p in runtime_root().rglob("*.h")}
    assert {p for p in copied if p.suffix == ".h"} == {p for p in headers if p.parts[0] != "runner"}
    for path in copied:
        assert (tmp_path / path).read_bytes() == (runtime_root() / path).read_bytes()


def test_a_bundle_holds_what_cmake_needs(bundles: dict[str, Bundle]) -> None:
    folder = bundles["tiny"].path
    text = (folder / "sources.cmake").read_text(encoding="utf-8")
    assert (folder / "CMakeLists.txt").is_file()
    for source in sources(find_target("arm64")):
        assert source.path.as_posix() in text
        assert (folder / source.path).is_file()
