"""A name says what a thing is: file = symbol = grammar."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bitexport.paths import runtime_root, targets_root
from bitexport.targets import load_isas
from bitexport.toolchain.programs import find_program

REPOSITORY = Path(__file__).parents[2]
KERNELS = runtime_root() / "kernels"

# kernel = "bitx_" verb "_" destination ("_" source)+ "_" isa; style of the house, section Names.
VERBS = (
    "add|attend|dot|embed|gemm|gemv|gevm|max|mul|pack|quantize|relu|rescale|rmsnorm|rope|silumul"
    "|softmax|sum|tables"
)
TYPES = "bf16|f16|f32|s8|s16|s32|u8"
FORMAT = (targets_root() / "FORMAT.md").read_text(encoding="utf-8")
LAYOUTS = re.findall(r"^\*\*\d+, (\w+)\.\*\*", FORMAT, re.MULTILINE)


def grammar() -> re.Pattern[str]:
    """Return what the name of a kernel, without its instruction set, must match."""
    operand = "|".join([TYPES, *LAYOUTS])
    return re.compile(rf"(?:{VERBS})(?:_(?:{operand})){{2,}}")


def kernel_files() -> list[Path]:
    """Return every C file of a kernel."""
    return sorted(KERNELS.glob("*/*.c"))


def test_no_two_c_files_share_a_name() -> None:
    files = [path for top in ("targets", "tests") for path in (REPOSITORY / top).rglob("*.[chS]")]
    twice = [name for name, count in Counter(path.name for path in files).items() if count > 1]
    assert files
    assert not twice


def test_there_are_kernels() -> None:
    assert kernel_files()


def test_every_kernel_follows_the_grammar() -> None:
    folders = [folder.name for folder in sorted(KERNELS.iterdir()) if folder.is_dir()]
    assert [name for name in folders if not grammar().fullmatch(name)] == []


@pytest.mark.parametrize("path", kernel_files(), ids=lambda path: path.stem)
def test_a_kernel_file_is_named_for_its_folder_isa_and_symbol(path: Path) -> None:
    name, _, isa = path.stem.rpartition("_")
    assert name == path.parent.name
    assert isa in load_isas()
    assert re.search(rf"\bbitx_{path.stem}\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", sorted(KERNELS.glob("*/")), ids=lambda path: path.name)
def test_every_kernel_has_a_header_and_a_definition(folder: Path) -> None:
    assert (folder / f"{folder.name}.h").is_file()
    assert (folder / f"{folder.name}_scalar.c").is_file()


def test_everything_with_linkage_is_called_bitx(target, library) -> None:
    lister = find_program(target.symbol_lister, target)
    command = [lister, "-P", "--defined-only", "--extern-only", str(library.archive)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in said.splitlines() if line and not line.endswith("]:")}
    assert names
    assert sorted(name for name in names if not name.startswith("bitx_")) == []
