"""`package --android`: an AAR, its symbols, its sources, and the model to be delivered.

The AAR is laid out as https://developer.android.com/studio/projects/android-library describes, its
`prefab/` as https://google.github.io/prefab/ does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bitexport import __version__
from bitexport.emit.manifest import Bundle
from bitexport.package.android.classes import java_sources, write_classes
from bitexport.package.android.delivery import RESOURCE, deliver, delivery_properties
from bitexport.package.android.library import (
    AndroidLibrary,
    android_root,
    build_android_library,
    load_abis,
    verified_archive,
)
from bitexport.package.archive import write_zip
from bitexport.package.delivery import refuse_strangers
from bitexport.package.kind import licences
from bitexport.paths import runtime_root
from bitexport.progress import SILENT, Progress
from bitexport.toolchain.compile import EXTRAS

AAR, SOURCES = "bitexport.aar", "bitexport-sources.jar"
HEADERS = ("include", EXTRAS)
LEAST_API, NDK = 21, 25
PREFAB = "prefab/modules/bitexport"


def write_android(bundles: Sequence[Bundle], folder: Path, progress: Progress = SILENT) -> None:
    """Write into a folder: the AAR, its sources, `symbols/`, and an asset pack for each model.

    Bundles are of one model with one arithmetic; a device takes the file that its core runs best.
    A model that Play takes in no pack lies in `models/` instead, to be served by the app's owner.
    """
    refuse_strangers(bundles)
    models = deliver(bundles, folder)
    for model in models:
        if model.pack is None:
            progress.say(f"{model.name}: too large for a pack of Google Play, so it is in models/")
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        libraries = []
        for abi in load_abis().values():
            archive = verified_archive(abi, bundles)
            with progress.stage(f"library {abi.name}"):
                libraries.append(build_android_library(abi, archive, Path(scratch)))
            if libraries[-1].warnings:
                progress.say(libraries[-1].warnings)
            if archive is not None:
                progress.say(f"{abi.name}: linked with the bundle's own {abi.target.name} library")
        shutil.copytree(Path(scratch) / "symbols", folder / "symbols")
        with progress.stage("classes"):
            properties = delivery_properties(models)
            write_classes(Path(scratch) / "classes.jar", {RESOURCE: properties})
        members = _members(libraries, (Path(scratch) / "classes.jar").read_bytes(), bundles)
        write_zip(folder / AAR, members)
    write_zip(folder / SOURCES, _sources())


def _members(
    libraries: Sequence[AndroidLibrary], classes: bytes, bundles: Sequence[Bundle]
) -> dict[str, bytes]:
    """Return the files of the AAR by name."""
    members = {"classes.jar": classes, "R.txt": b""}
    for name in ("AndroidManifest.xml", "proguard.txt"):
        members[name] = (android_root() / "aar" / name).read_bytes()
    for bundle in bundles:
        members |= {name: path.read_bytes() for name, path in licences(bundle).items()}
    for library in libraries:
        members |= _library_members(library)
    about = {"schema_version": 2, "name": "bitexport", "version": __version__, "dependencies": []}
    members["prefab/prefab.json"] = _json(about)
    members[f"{PREFAB}/module.json"] = _json({"export_libraries": [], "android": {}})
    for header in _headers():
        members[f"{PREFAB}/include/{header.name}"] = header.read_bytes()
    return members


def _library_members(library: AndroidLibrary) -> dict[str, bytes]:
    """Return a library twice: for apps, and for those who call it from C."""
    code, name = library.shared.read_bytes(), library.abi.name
    about = {"abi": name, "api": LEAST_API, "ndk": NDK, "stl": "none", "static": False}
    place = f"{PREFAB}/libs/android.{name}"
    return {
        f"jni/{name}/{library.shared.name}": code,
        f"{place}/{library.shared.name}": code,
        f"{place}/abi.json": _json(about),
    }


def _headers() -> list[Path]:
    return sorted(path for name in HEADERS for path in (runtime_root() / name).glob("*.h"))


def _sources() -> dict[str, bytes]:
    """Return the Java API, and in Kotlin what needs kotlinx.coroutines of the app's own version."""
    kotlin = sorted((android_root() / "kotlin").rglob("*.kt"))
    return {
        path.relative_to(android_root() / language).as_posix(): path.read_bytes()
        for language, paths in (("java", java_sources()), ("kotlin", kotlin))
        for path in paths
    }


def _json(what: dict[str, object]) -> bytes:
    return (json.dumps(what, indent=2) + "\n").encode()
