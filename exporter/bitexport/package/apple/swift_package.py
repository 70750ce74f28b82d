"""`package --apple`: a Swift package, and the XCFramework for those who use none.

Laid out as https://docs.swift.org/package-manager/PackageDescription/ says.  The C target is source
without a flag that Swift packages may not ask for (`unsafeFlags`), so others can depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.package.amalgamation import CODE, HEADER, amalgamate_variants
from bitexport.package.apple.platforms import apple_root, load_slices, load_variants
from bitexport.package.apple.xcframework import find_zig, write_xcframework
from bitexport.package.delivery import CHUNK_BYTES, Delivered, deliver_file, refuse_strangers
from bitexport.package.kind import copy, licences, write_filled
from bitexport.paths import runtime_root
from bitexport.progress import SILENT, Progress, size
from bitexport.toolchain.compile import EXTRAS

MODULE = "CBitexport"
FRAMEWORK = f"{MODULE}.xcframework"
CLANG_TARGET, SWIFT_TARGET, MODELS_TARGET = (
    f"Sources/{name}" for name in (MODULE, "Bitexport", "BitexportModels")
)
TESTS_TARGET = "Tests/BitexportTests"
MAP, MODULE_MAP, PRIVACY = "bitx_map", "module.modulemap", "PrivacyInfo.xcprivacy"
ENTITLEMENTS = "LargeModel.entitlements"
MOST_BYTES = 2_000_000_000
"""What an app without entitlements maps at once, about: iOS says no number."""


def write_apple(bundles: Sequence[Bundle], folder: Path, progress: Progress = SILENT) -> str:
    """Write the package into a folder; return the checksum of the zipped XCFramework.

    Bundles are of one model with one arithmetic; a device takes the file that its core runs best.
    """
    refuse_strangers(bundles)
    zig = find_zig()
    models = [deliver_file(bundle, folder / MODELS_TARGET / "Models") for bundle in bundles]
    for model in models:
        if model.nbytes > MOST_BYTES:
            progress.say(
                f"{model.name}: {size(model.nbytes)} are mapped; the app needs {ENTITLEMENTS}"
            )
    write_clang_target(folder / CLANG_TARGET)
    _write_swift(folder, models)
    oldest = {each.platform: each.oldest for each in load_slices().values()}
    values = {
        "NAME": bundles[0].manifest["model"]["name"],
        "IOS": oldest["ios"],
        "MACOS": oldest["macos"],
    }
    write_filled(folder / "Package.swift", "apple/Package.swift.in", values)
    copy(apple_root() / ENTITLEMENTS, folder / ENTITLEMENTS)
    papers = {name: path for each in bundles for name, path in licences(each).items()}
    for name, path in papers.items():
        copy(path, folder / name)
    extra = {**papers, PRIVACY: apple_root() / PRIVACY}
    checksum = write_xcframework(zig, folder / CLANG_TARGET, extra, folder / FRAMEWORK, progress)
    progress.say(f"{FRAMEWORK}.zip: checksum {checksum}")
    return checksum


def write_clang_target(folder: Path) -> None:
    """Write the C target: two C files, and in `include/` what they declare."""
    root = runtime_root()
    texts = amalgamate_variants(load_variants(), root)
    include = folder / "include"
    include.mkdir(parents=True)
    (folder / CODE).write_text(texts[CODE], encoding="utf-8")
    (include / HEADER).write_text(texts[HEADER], encoding="utf-8")
    copy(root / EXTRAS / f"{MAP}.c", folder / f"{MAP}.c")
    copy(root / EXTRAS / f"{MAP}.h", include / f"{MAP}.h")
    copy(apple_root() / MODULE_MAP, include / MODULE_MAP)


def _write_swift(folder: Path, models: Sequence[Delivered]) -> None:
    for name in (SWIFT_TARGET, MODELS_TARGET, TESTS_TARGET):
        for source in sorted((apple_root() / "swift" / Path(name).name).glob("*.swift")):
            copy(source, folder / name / source.name)
    copy(apple_root() / PRIVACY, folder / SWIFT_TARGET / PRIVACY)
    listed = [
        {"name": each.name, "bytes": each.nbytes, "isas": each.isas, "chunks": each.chunks}
        for each in models
    ]
    about = {"chunk_bytes": CHUNK_BYTES, "models": listed}
    text = json.dumps(about, indent=2) + "\n"
    (folder / SWIFT_TARGET / "models.json").write_text(text, encoding="utf-8")
