"""What Gradle, Google Play and Android's installer ask of an AAR or APK."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath

from bitexport.package.check.archives import Entry
from bitexport.package.check.elf_rules import MACHINES, PAGE, check_elf
from bitexport.package.check.findings import Findings

# What prefab/ has for native users lies in libs/android.<abi>.
LIBRARY = re.compile(r"(?:^|/)(?:jni|lib|jniLibs|libs)/(?:android\.)?([\w.-]+)/[^/]+\.so$")
PLAY_BYTES = 200_000_000
SMALL_PAGE = 4096
WIDER = {"armeabi-v7a": "arm64-v8a", "armeabi": "arm64-v8a", "x86": "x86_64"}
MANIFEST = "AndroidManifest.xml"


def libraries_of(entries: Mapping[str, Entry]) -> dict[str, list[Entry]]:
    """Return the libraries of a package by ABI, as the folders name it."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for name, entry in entries.items():
        if folder := LIBRARY.search(name):
            found[folder[1]].append(entry)
    return found


def check_libraries(entries: Mapping[str, Entry], findings: Findings, needed: str) -> None:
    """Check every library by the rules of its ABI, and which ABIs there are.

    `needed`: the rule that is broken where a library that one needs is not beside it.
    """
    libraries = libraries_of(entries)
    for abi, each in libraries.items():
        beside = {PurePosixPath(entry.name).name for entry in each}
        for entry in each:
            check_elf(entry.load(), entry.name, findings, abi, beside, needed)
    abis = set(libraries)
    for abi in sorted(abis & set(WIDER)):
        if WIDER[abi] not in abis:
            findings.add("no-64-bit", abi, f"there is no {WIDER[abi]}")
    if abis & set(MACHINES) and "x86_64" not in abis:
        findings.add("no-emulator", ", ".join(sorted(abis)), "there is no x86_64")


def check_aar(entries: Mapping[str, Entry], findings: Findings) -> None:
    """Check what is particular to an AAR."""
    for name in (MANIFEST, "classes.jar"):
        if name not in entries:
            findings.add("aar-entries", name, "is missing")
    if libraries_of(entries) and "classes.jar" in entries and "proguard.txt" not in entries:
        findings.add("consumer-rules", "proguard.txt", "is missing")
    if MANIFEST in entries:
        text = entries[MANIFEST].load().decode("utf-8", "replace")
        if re.search(r'android:debuggable\s*=\s*"true"', text):
            findings.add("debuggable", MANIFEST, "android:debuggable is true")
        if not re.search(r"android:minSdkVersion\s*=", text):
            findings.add("minimum-sdk", MANIFEST, "no android:minSdkVersion")


def check_apk(entries: Mapping[str, Entry], packed_bytes: int, findings: Findings) -> None:
    """Check what is particular to an APK: how its libraries lie in it, how large it is."""
    for abi, libraries in libraries_of(entries).items():
        page = PAGE if abi in MACHINES and MACHINES[abi][1] == 64 else SMALL_PAGE  # noqa: PLR2004
        for entry in libraries:
            if not entry.stored:
                findings.add("compressed-library", entry.name, "deflated")
            elif entry.offset % page:
                findings.add(
                    "zip-alignment", entry.name, f"begins at {entry.offset:#x}, page {page:#x}"
                )
    if packed_bytes > PLAY_BYTES:
        findings.add("play-size", "the APK", f"{packed_bytes} bytes")


def check_names(entries: Mapping[str, Entry], findings: Findings) -> None:
    """Check that no entry leads out of the folder that it is unpacked into."""
    for name in entries:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
            findings.add("zip-path", name, "leads elsewhere")
