"""What lies in the AAR is what Android's loader, Gradle and Play ask for."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from tests.exporter.package.android.conftest import NOTICE
from tests.tiny_checkpoint import write_checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, TargetError
from bitexport.models.parts.options import Options
from bitexport.package.android.aar import AAR, SOURCES
from bitexport.package.android.classes import write_classes
from bitexport.package.android.delivery import RESOURCE, deliver
from bitexport.package.android.library import android_root, build_android_library, load_abis
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.check.artefact import check_artefact
from bitexport.package.delivery import CHUNK_BYTES, refuse_strangers
from bitexport.package.kind import write_package
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library

PAGE = 16384
MACHINES = {"arm64-v8a": "EM_AARCH64", "armeabi-v7a": "EM_ARM", "x86_64": "EM_X86_64"}
SOFT_FLOAT = 0x200  # EF_ARM_ABI_FLOAT_SOFT: floats are passed in integer registers
ALLOWED = frozenset(
    line.split()[1]
    for line in (android_root() / "libc/libc_stub.S").read_text(encoding="utf-8").splitlines()
    if line.startswith("stub ")
)


@pytest.fixture(scope="module")
def members(package: Path) -> dict[str, bytes]:
    """Return the files of the AAR."""
    with zipfile.ZipFile(package / AAR) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def elf(code: bytes) -> ELFFile:
    return ELFFile(io.BytesIO(code))


@pytest.mark.parametrize("abi", MACHINES)
def test_a_library_is_one_that_every_android_loads(abi: str, members: dict[str, bytes]) -> None:
    code = members[f"jni/{abi}/libbitexport.so"]
    file = elf(code)
    assert file["e_machine"] == MACHINES[abi]
    if abi == "armeabi-v7a":
        assert file["e_flags"] & SOFT_FLOAT
    loads = [s for s in file.iter_segments() if s["p_type"] == "PT_LOAD"]
    assert [s["p_align"] for s in loads] == [PAGE] * len(loads)
    assert all((s["p_vaddr"] - s["p_offset"]) % PAGE == 0 for s in loads)
    assert not [s for s in loads if s["p_flags"] & 3 == 3], "writable and executable"
    (stack,) = [s for s in file.iter_segments() if s["p_type"] == "PT_GNU_STACK"]
    assert not stack["p_flags"] & 1
    dynamic = file.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    tags = list(dynamic.iter_tags())
    assert [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"] == ["libc.so"]
    assert [tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"] == ["libbitexport.so"]
    assert {"DT_HASH", "DT_GNU_HASH"} <= {tag.entry.d_tag for tag in tags}
    assert not {"DT_TEXTREL", "DT_RPATH", "DT_RUNPATH"} & {tag.entry.d_tag for tag in tags}
    symbols = file.get_section_by_name(".dynsym")
    assert isinstance(symbols, SymbolTableSection)
    undefined = {s.name for s in symbols.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name}
    assert "mmap" in undefined
    assert undefined <= ALLOWED
    assert file.get_section_by_name(".symtab") is None
    assert str(Path(__file__).parents[4]).encode() not in code
    assert members[f"prefab/modules/bitexport/libs/android.{abi}/libbitexport.so"] == code


@pytest.mark.parametrize("abi", MACHINES)
def test_symbols_are_those_of_the_library(
    abi: str, package: Path, members: dict[str, bytes]
) -> None:
    kept = elf((package / "symbols" / abi / "libbitexport.so").read_bytes())
    shipped = elf(members[f"jni/{abi}/libbitexport.so"])
    table = kept.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    assert table.get_symbol_by_name("open_session_new")
    for name in (".text", ".rodata"):
        ours, theirs = kept.get_section_by_name(name), shipped.get_section_by_name(name)
        assert (ours["sh_addr"], ours.data()) == (theirs["sh_addr"], theirs.data())
    found = [file.get_section_by_name(".note.gnu.build-id") for file in (kept, shipped)]
    assert found[0].data() == found[1].data()  # by which Play finds the symbols of a crash


def test_libraries_lie_uncompressed_at_multiples_of_a_page(package: Path) -> None:
    code = (package / AAR).read_bytes()
    with zipfile.ZipFile(package / AAR) as archive:
        assert archive.testzip() is None
        libraries = [info for info in archive.infolist() if info.filename.endswith(".so")]
    assert len(libraries) == 2 * len(MACHINES)
    for info in libraries:
        name, extra = struct.unpack_from("<HH", code, info.header_offset + 26)
        assert info.compress_type == zipfile.ZIP_STORED
        assert (info.header_offset + 30 + name + extra) % PAGE == 0


def test_the_aar_has_what_gradle_reads(members: dict[str, bytes]) -> None:
    manifest = ET.fromstring(members["AndroidManifest.xml"])
    assert manifest.attrib["package"] == "ai.bitexport"
    assert b"native <methods>" in members["proguard.txt"]
    assert members["R.txt"] == b""
    assert b"MIT License" in members["LICENSE.bitexport"]
    assert members["NOTICE.model"].decode() == NOTICE
    assert json.loads(members["prefab/prefab.json"])["schema_version"] == 2
    place = "prefab/modules/bitexport"
    assert {f"{place}/include/{n}.h" for n in ("bitexport", "bitexport_text", "bitx_map")} <= set(
        members
    )
    for abi in MACHINES:
        about = json.loads(members[f"{place}/libs/android.{abi}/abi.json"])
        assert (about["abi"], about["stl"], about["static"]) == (abi, "none", False)
    with zipfile.ZipFile(io.BytesIO(members["classes.jar"])) as classes:
        names = classes.namelist()
        code = classes.read("ai/bitexport/BitexportModel.class")
    assert {"ai/bitexport/Session.class", RESOURCE} <= set(names)
    assert struct.unpack_from(">H", code, 6) == (52,)  # Java 8, whatever JDK compiled it


def test_each_model_lies_in_a_pack_without_code_and_its_chunks_are_listed(
    package: Path, members: dict[str, bytes], stories: list[Bundle]
) -> None:
    with zipfile.ZipFile(io.BytesIO(members["classes.jar"])) as classes:
        lines = classes.read(RESOURCE).decode().splitlines()
    said = dict(line.split("=", 1) for line in lines)
    assert said["models"] == str(len(stories))
    for i, (bundle, pack) in enumerate(
        zip(stories, ("model_host", "model_arm64", "model_arm64_v8_0"), strict=True)
    ):
        folder = package / "packs" / pack
        script, model = sorted(path for path in folder.rglob("*") if path.is_file())
        assert f'packName.set("{pack}")' in script.read_text(encoding="utf-8")
        assert model.read_bytes() == bundle.data.read_bytes()
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        name = f"stories-ternary-3m-{bundle.target_name}-{digest[:8]}.bitx"
        assert model == folder / "src/main/assets" / name
        assert said[f"{i}.name"] == model.name
        assert said[f"{i}.bytes"] == str(model.stat().st_size)
        assert len(said[f"{i}.chunks"].split()) == -(-model.stat().st_size // CHUNK_BYTES)
    with zipfile.ZipFile(package / SOURCES) as sources:
        assert "ai/bitexport/BitexportFlow.kt" in sources.namelist()


def test_a_model_that_play_takes_in_no_pack_is_for_the_owners_server(
    story: Bundle, tmp_path: Path
) -> None:
    size = story.data.stat().st_size
    (fits,) = deliver([story], tmp_path / "fits", most_bytes=size)
    (larger,) = deliver([story], tmp_path / "larger", most_bytes=size - 1)
    assert (fits.pack, larger.pack) == ("model_host", None)
    assert [path.name for path in (tmp_path / "larger").iterdir()] == ["models"]
    assert (tmp_path / "larger/models" / larger.name).read_bytes() == story.data.read_bytes()
    assert larger.chunks == fits.chunks


def test_libraries_are_those_that_verify_runs(packaged: tuple[Path, list[str]]) -> None:
    assert packaged[1] == [  # and no warning of a compiler
        "arm64-v8a: linked with the bundle's own arm64 library",
        "x86_64: linked with the bundle's own host library",
    ]


def test_the_package_breaks_no_rule(package: Path) -> None:
    findings = check_artefact(package / AAR)
    assert len(findings.looked_at) >= len(MACHINES)
    assert findings.sorted() == []


def test_the_same_sources_give_the_same_bytes(
    libraries: Callable[[Target], Library], members: dict[str, bytes], tmp_path: Path
) -> None:
    archive = libraries(find_target("host")).archive
    again = build_android_library(load_abis()["x86_64"], archive, tmp_path)
    assert again.warnings == ""
    assert again.shared.read_bytes() == members["jni/x86_64/libbitexport.so"]
    with zipfile.ZipFile(io.BytesIO(members["classes.jar"])) as classes:
        listed = classes.read(RESOURCE)
    assert write_classes(tmp_path / "classes.jar", {RESOURCE: listed}) == ""
    assert (tmp_path / "classes.jar").read_bytes() == members["classes.jar"]


def test_bundles_that_would_not_say_the_same_are_refused(story: Bundle, tmp_path: Path) -> None:
    wanted = Wanted(compile_library=False, self_test=False)
    checkpoint = write_checkpoint(tmp_path / "model").path
    other = build_bundle(checkpoint, find_target("arm64"), Options(), tmp_path / "out", wanted)
    with pytest.raises(BundleError, match="computes other numbers"):
        refuse_strangers([story, other])
    with pytest.raises(BundleError, match="two bundles are for target `host`"):
        refuse_strangers([story, story])


def test_a_bundle_for_a_board_is_refused(tmp_path: Path) -> None:
    wanted = Wanted(compile_library=False, self_test=False)
    checkpoint = write_checkpoint(tmp_path / "model").path
    board = build_bundle(checkpoint, find_target("cortex-m4"), Options(), tmp_path / "out", wanted)
    with pytest.raises(TargetError, match="is for target `cortex-m4`, a board"):
        write_package("android", [board], tmp_path / "package")
    assert not (tmp_path / "package").exists()
