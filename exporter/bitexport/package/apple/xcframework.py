"""An XCFramework of static libraries: the C target of the Swift package, compiled here by zig.

https://developer.apple.com/documentation/xcode/creating-a-multi-platform-binary-framework-bundle
"""

from __future__ import annotations

import hashlib
import importlib.util
import plistlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bitexport.errors import ToolchainError
from bitexport.package.apple.platforms import Slice, load_slices
from bitexport.package.archive import write_zip
from bitexport.package.kind import copy
from bitexport.progress import SILENT, Progress
from bitexport.toolchain.compile import ARCHIVE
from bitexport.toolchain.programs import run_tool

ZIG = "ziglang"
DARWIN_HEADERS = "lib/libc/include/any-darwin-any"
"""Of libSystem, the same for every Apple system; zig finds them for macOS alone."""
FLAGS = ("-std=c11", "-O2", "-g0")
"""What Swift's package manager passes for a release; the source asks for no more."""
THREADS = 2  # a compilation takes half a gigabyte


def write_xcframework(
    zig: Path, target: Path, extra: Mapping[str, Path], output: Path, progress: Progress = SILENT
) -> str:
    """Write the folder `output`, `<module>.xcframework`, and its zip; return the zip's checksum.

    target: the C target; extra: files that go along, by name.  The same input and zig give the same
    bytes.
    """
    slices = list(load_slices().values())
    with progress.stage("libraries"), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda each: _build(zig, target, each, output / each.name), slices))
    for each in slices:
        for header in sorted((target / "include").iterdir()):
            # A folder of its own: Xcode puts the headers of all libraries of an app into one.
            copy(header, output / each.name / "Headers" / output.stem / header.name)
    for name, path in extra.items():
        copy(path, output / name)
    (output / "Info.plist").write_bytes(_info(slices))
    files = sorted(path for path in output.rglob("*") if path.is_file())
    archive = output.with_name(f"{output.name}.zip")
    folder = output.parent
    write_zip(archive, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def find_zig() -> Path:
    """Return the folder of zig's Python package, or say how to install it."""
    found = importlib.util.find_spec(ZIG)
    if found is None or not found.submodule_search_locations:
        raise ToolchainError(
            f"`{ZIG}` is not installed; libraries for Apple's systems are compiled by it",
            hint="pip install 'bitexport[apple]'",
        )
    return Path(found.submodule_search_locations[0])


def _build(zig: Path, target: Path, of: Slice, output: Path) -> None:
    """Compile the C files of a target into `output/libbitexport.a`."""
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        objects = []
        for source in sorted(target.glob("*.c")):
            objects.append(f"{source.stem}.o")
            words = ["cc", "-target", of.triple, *FLAGS, "-I", "include"]
            words += ["-isystem", str(zig / DARWIN_HEADERS), "-c", source.name]
            words += ["-o", str(Path(scratch) / objects[-1])]
            _run(words, of, target)
        output.mkdir(parents=True)
        archive = str((output / ARCHIVE).resolve())
        _run(["ar", "--format=darwin", "rcsD", archive, *objects], of, Path(scratch))


def _run(words: Sequence[str], of: Slice, folder: Path) -> None:
    run_tool([sys.executable, "-m", ZIG, *words], folder=folder, doing=f"zig for {of.name}")


def _info(slices: Sequence[Slice]) -> bytes:
    libraries = []
    for each in slices:
        said: dict[str, object] = {
            "BinaryPath": ARCHIVE,
            "HeadersPath": "Headers",
            "LibraryIdentifier": each.name,
            "LibraryPath": ARCHIVE,
            "SupportedArchitectures": ["arm64"],
            "SupportedPlatform": each.platform,
        }
        if each.variant:
            said["SupportedPlatformVariant"] = each.variant
        libraries.append(said)
    return plistlib.dumps({
        "AvailableLibraries": libraries,
        "CFBundlePackageType": "XFWK",
        "XCFrameworkFormatVersion": "1.0",
    })  # fmt: skip
