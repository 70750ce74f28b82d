"""No Swift compiler is here: its grammar reads the sources, and calls of C are as declared."""

from __future__ import annotations

import io
import json
import plistlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_swift
from tests.tiny_checkpoint import Checkpoint
from tree_sitter import Language, Node, Parser

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.apple import swift_package
from bitexport.package.apple.platforms import apple_root
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.delivery import CHUNK_BYTES, delivered_name
from bitexport.package.kind import write_package
from bitexport.paths import runtime_root
from bitexport.progress import StreamProgress
from bitexport.targets import find_target

GRAMMAR = Language(tree_sitter_swift.language())
ROOT = Path(__file__).parents[4]
SOURCES = [*sorted(apple_root().rglob("*.swift")), *sorted(ROOT.glob("samples/*/*/**/*.swift"))]
HEADERS = "\n".join(
    re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)
    for folder in ("include", "extras")
    for path in sorted((runtime_root() / folder).glob("*.h"))
)
FUNCTIONS = {
    name: 0 if arguments == "void" else arguments.count(",") + 1
    for name, arguments in re.findall(r"\b(bitx_\w+)\(([^()]*)\);", HEADERS)
}
STRUCTS = {
    name: re.findall(r"(\w+)(?:\[\w+\])?\s*[,;]", body)
    for body, name in re.findall(r"typedef struct bitx_\w+ \{([^}]*)\} (bitx_\w+);", HEADERS)
}
ENUMS = set(re.findall(r"typedef enum (bitx_\w+) \{", HEADERS))


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def parsed(text: bytes) -> Node:
    return Parser(GRAMMAR).parse(text).root_node


def broken(text: bytes) -> list[str]:
    return [
        f"{node.type} in line {node.start_point[0] + 1}"
        for node in walk(parsed(text))
        if node.type == "ERROR" or node.is_missing
    ]


def text_of(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def calls(path: Path) -> Iterator[tuple[str, list[str | None]]]:
    """Yield name and labels of every call of the C target."""
    for node in walk(parsed(path.read_bytes())):
        name = text_of(node.children[0]) if node.type == "call_expression" else ""
        if re.fullmatch(r"bitx_\w+", name):
            given = next(each for each in walk(node.children[1]) if each.type == "value_arguments")
            labels: list[str | None] = []
            for argument in given.children:
                if argument.type == "value_argument":
                    found = [c for c in argument.children if c.type == "value_argument_label"]
                    labels.append(text_of(found[0]) if found else None)
            yield name, labels


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_grammar_knows_every_word(path: Path) -> None:
    assert broken(path.read_bytes()) == []


def test_a_broken_source_is_seen() -> None:
    whole = (apple_root() / "swift/Bitexport/Session.swift").read_bytes()
    assert whole.count(b"throws -> Void\n    ) throws {") == 1
    assert broken(whole.replace(b"throws -> Void\n    ) throws {", b"throws -> Void throws {"))
    assert broken(whole[:-3])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_name_of_c_is_in_a_header(path: Path) -> None:
    used = set(re.findall(r"\b(?:bitx|BITX)_\w+", path.read_text(encoding="utf-8")))
    assert used <= set(re.findall(r"\w+", HEADERS))


def test_every_call_of_c_is_as_declared() -> None:
    checked = set()
    for path in SOURCES:
        for name, labels in calls(path):
            checked.add(name)
            if name in FUNCTIONS:
                assert labels == [None] * FUNCTIONS[name], (path.name, name)
            elif name in STRUCTS:
                assert labels in ([], STRUCTS[name]), (path.name, name)
            else:
                assert name in ENUMS, (path.name, name)
                assert labels == [None], (path.name, name)
    assert len(checked) > 30
    assert {"bitx_encode", "bitx_text", "bitx_isa", "bitx_chat_text"} <= checked


def test_every_member_of_c_is_in_its_struct() -> None:
    text = (apple_root() / "swift/Bitexport/Options.swift").read_text(encoding="utf-8")
    text += (apple_root() / "swift/Bitexport/Session.swift").read_text(encoding="utf-8")
    structs = {"answer": "bitx_answer", "config": "bitx_config", "sampler": "bitx_sampler"}
    structs["stream"] = "bitx_stream_config"
    used = re.findall(r"\b(answer|config|sampler|stream)\.([a-z_]+)\b", text)
    assert len(used) > 20
    for owner, member in used:
        assert member in STRUCTS[structs[owner]], (owner, member)


def test_a_package_asks_for_nothing_that_others_may_not_have(package: Path) -> None:
    manifest = (package / "Package.swift").read_text(encoding="utf-8")
    assert broken(manifest.encode()) == []
    assert manifest.startswith("// swift-tools-version:5.9\n")
    assert "unsafe" not in manifest
    assert "binaryTarget" not in manifest
    assert "@" not in manifest
    for name in re.findall(r'\.target\(\s*name: "(\w+)"', manifest):
        assert list((package / "Sources" / name).glob("*.*")), name
    for name in re.findall(r'\.testTarget\(\s*name: "(\w+)"', manifest):
        assert list((package / "Tests" / name).glob("*.swift")), name
    for name in re.findall(r'\.copy\("([\w.]+)"\)', manifest):
        assert list(package.glob(f"Sources/*/{name}")), name


def test_the_list_of_models_is_of_the_files_beside_it(package: Path, arm64_bundle: Bundle) -> None:
    listed = json.loads((package / "Sources/Bitexport/models.json").read_text(encoding="utf-8"))
    assert listed["chunk_bytes"] == CHUNK_BYTES
    (model,) = listed["models"]
    file = package / "Sources/BitexportModels/Models" / model["name"]
    assert file.read_bytes() == arm64_bundle.data.read_bytes()
    assert model["bytes"] == file.stat().st_size
    assert len(model["chunks"]) == -(-model["bytes"] // CHUNK_BYTES)
    assert model["isas"] == ["scalar", "neon", "dotprod", "i8mm"]


def test_a_device_chooses_among_several_and_a_large_one_is_pointed_out(
    arm64_bundle: Bundle, tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swift_package, "write_xcframework", lambda *_: "")
    monkeypatch.setattr(swift_package, "MOST_BYTES", arm64_bundle.data.stat().st_size - 1)
    wanted, old = Wanted(compile_library=False), find_target("arm64-v8.0")
    other = build_bundle(tiny.path, old, Options(), tmp_path / "out", wanted)
    said = io.StringIO()
    write_package(
        "apple", [arm64_bundle, other], tmp_path / "package", progress=StreamProgress(said)
    )
    text = (tmp_path / "package/Sources/Bitexport/models.json").read_text(encoding="utf-8")
    isas = [model["isas"] for model in json.loads(text)["models"]]
    assert isas == [["scalar", "neon", "dotprod", "i8mm"], ["scalar", "neon"]]
    assert f"{delivered_name(arm64_bundle)}: " in said.getvalue()
    assert "are mapped; the app needs LargeModel.entitlements" in said.getvalue()


def test_what_a_store_asks_is_said(package: Path) -> None:
    """`fstat` is an interface for which Apple wants a reason (NSPrivacyAccessedAPIType)."""
    manifest = (package / "Sources/Bitexport/PrivacyInfo.xcprivacy").read_bytes()
    said = plistlib.loads(manifest)
    assert said["NSPrivacyTracking"] is False
    (used,) = said["NSPrivacyAccessedAPITypes"]
    assert used["NSPrivacyAccessedAPIType"] == "NSPrivacyAccessedAPICategoryFileTimestamp"
    assert "C617.1" in used["NSPrivacyAccessedAPITypeReasons"]
    inside = package / "CBitexport.xcframework/PrivacyInfo.xcprivacy"
    assert inside.read_bytes() == manifest
    rights = plistlib.loads((package / "LargeModel.entitlements").read_bytes())
    assert rights == {
        "com.apple.developer.kernel.extended-virtual-addressing": True,
        "com.apple.developer.kernel.increased-memory-limit": True,
    }


def test_licences_go_along(package: Path) -> None:
    licence = (runtime_root() / "LICENSE").read_bytes()
    assert (package / "LICENSE.bitexport").read_bytes() == licence
    assert (package / "CBitexport.xcframework/LICENSE.bitexport").read_bytes() == licence


def test_the_sample_names_what_a_package_holds(package: Path) -> None:
    sample = (ROOT / "samples/apple-chat/Chat.swiftpm/Package.swift").read_text(encoding="utf-8")
    products = set(re.findall(r'\.product\(name: "(\w+)", package: "package"\)', sample))
    manifest = (package / "Package.swift").read_text(encoding="utf-8")
    assert products <= set(re.findall(r'\.library\(name: "(\w+)"', manifest))
    assert products == {"Bitexport", "BitexportModels"}
