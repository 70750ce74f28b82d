"""Every rule finds the artefact that breaks it, and nothing in a sound one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.package.check.artefacts import (
    ARM64,
    CODE,
    MANIFEST,
    SOUND,
    X86_64,
    archive,
    binary_manifest,
    framework_plist,
    library,
    macho,
    xcframework,
)

from bitexport.errors import BundleError
from bitexport.package.check import android_rules, apple_rules
from bitexport.package.check.artefact import check_artefact
from bitexport.package.check.elf import (
    ARCHIVE_MAGIC,
    DamagedError,
    archive_members,
    read_elf,
)
from bitexport.package.check.findings import LEVELS, load_rules, render
from bitexport.package.check.macho import read_macho

SO = "jni/x86_64/libanswer.so"


def broken(path: Path) -> set[str]:
    """Return the rules that an artefact breaks."""
    return {each.rule.name for each in check_artefact(path).found}


def aar(folder: Path, name: str = SO, **more: object) -> Path:
    """Write an AAR around a library that is linked with these words."""
    built = library(folder / Path(name).name, **more)  # type: ignore[arg-type]
    files = {"AndroidManifest.xml": MANIFEST, "classes.jar": b"", "proguard.txt": "-keep class x"}
    return archive(folder / "package.aar", {**files, name: built.read_bytes()})


def apk(
    folder: Path, *, align: int = 16384, stored: bool = True, code: str = CODE, target: int = 36,
    least: int | None = 24, **application: bool,
) -> Path:  # fmt: skip
    """Write an APK around a sound library, which the manifest says is used where it lies."""
    built = library(folder / "libanswer.so", code=code).read_bytes()
    sdk = {"targetSdkVersion": target} | ({} if least is None else {"minSdkVersion": least})
    said = {"extractNativeLibs": False, **application}
    manifest = binary_manifest(("uses-sdk", sdk), ("application", said))
    files = {"AndroidManifest.xml": manifest, "lib/x86_64/libanswer.so": built}
    return archive(folder / "app.apk", files, align=align, stored=stored)


def built_for(api: int) -> str:
    """Return code that says for which Android it was built, as the NDK's own start-up code does."""
    note = f'.long 8, 4, 1\\n.asciz \\"Android\\"\\n.long {api}'
    section = '.section .note.android.ident, \\"a\\", %note'
    return f'__asm__("{section}\\n{note}\\n.text\\n");\n{CODE}'


def zipped(folder: Path, files: dict[str, str]) -> Path:
    """Write an AAR of these files alone."""
    return archive(folder / "package.aar", files)


def without_sections(folder: Path) -> Path:
    """Write an AAR whose library has lost its section headers."""
    data = bytearray(library(folder / "libanswer.so").read_bytes())
    data[40:48], data[58:64] = bytes(8), bytes(6)
    return archive(folder / "package.aar", {SO: bytes(data)})


def needing(folder: Path, soname: str | None) -> list[str]:
    """Link another library; return the words that make one need it."""
    return ["-s", "-Wl,--no-as-needed", f"./{library(folder / 'libother.so', soname=soname).name}"]


def text(content: str) -> str:
    """Return code that holds a text."""
    return f'extern const char text[]; const char text[] = "{content}";\n' + CODE


def named(name: str) -> str:
    """Return code that exports so many functions."""
    return CODE + "".join(f"void {name}{i}(void); void {name}{i}(void) {{}}\n" for i in range(300))


POINTER = '__asm__(".text\\n.quad bitexport_answer\\n");\n' + CODE

CASES: dict[str, Callable[[Path], Path]] = {
    "text-relocations": lambda f: library(f / "a.so", ["-Wl,-z,notext"], POINTER),
    "executable-stack": lambda f: library(f / "a.so", ["-Wl,-z,execstack"]),
    "writable-code": lambda f: library(f / "a.so", ["-Wl,-N"]),
    "run-path": lambda f: library(f / "a.so", ["-Wl,-rpath,/opt/lib"]),
    "symbol-table": lambda f: library(f / "a.so", ["-g"]),
    "exported-symbols": lambda f: library(f / "a.so", ["-s"], named("helper")),
    "damaged": lambda f: archive(f / "package.aar", {SO: b"\x7fELF\2\1"}),
    "page-size": lambda f: aar(f, more=["-s", "-Wl,-z,max-page-size=4096"]),
    "zip-alignment": lambda f: apk(f, align=4),
    "compressed-library": lambda f: apk(f, stored=False, extractNativeLibs=True),
    "not-installable": lambda f: apk(f, stored=False),
    "target-sdk": lambda f: apk(f, target=35),
    "newer-api": lambda f: apk(f, code=built_for(26)),
    "abi": lambda f: aar(f, "jni/arm64-v8a/libanswer.so"),
    "no-64-bit": lambda f: aar(f, "jni/armeabi-v7a/libanswer.so"),
    "no-emulator": lambda f: aar(f, "jni/arm64-v8a/libanswer.so"),
    "soname": lambda f: aar(f, soname=None),
    "needed": lambda f: archive(
        f / "app.apk",
        {"lib/x86_64/a.so": library(f / "a.so", needing(f, "libother.so")).read_bytes()},
    ),
    "needed-elsewhere": lambda f: aar(f, more=needing(f, "libother.so")),
    "needed-path": lambda f: aar(f, more=needing(f, None)),
    "section-headers": without_sections,
    "wrong-libc": lambda f: aar(
        f, flags=SOUND[:3], code='#include <stdio.h>\nvoid f(void);void f(void){puts("");}'
    ),
    "aar-entries": lambda f: zipped(f, {"AndroidManifest.xml": MANIFEST}),
    "consumer-rules": lambda f: zipped(
        f, {"AndroidManifest.xml": MANIFEST, "classes.jar": "", SO: "not ELF"}
    ),
    "debuggable": lambda f: zipped(
        f,
        {
            "AndroidManifest.xml": MANIFEST.replace(
                "/><", '/><application android:debuggable="true"/><'
            ),
            "classes.jar": "",
        },
    ),
    "minimum-sdk": lambda f: zipped(f, {"AndroidManifest.xml": "<manifest/>", "classes.jar": ""}),
    "play-size": apk,
    "zip-path": lambda f: zipped(f, {"../../evil.so": "x", "AndroidManifest.xml": MANIFEST}),
    "xcframework-plist": lambda f: xcframework(f / "a.xcframework", top={"AvailableLibraries": 1}),
    "xcframework-slice": lambda f: xcframework(f / "a.xcframework", binary=macho(cpu=X86_64)),
    "framework-plist": lambda f: xcframework(
        f / "a.xcframework", info=framework_plist(CFBundleSupportedPlatforms=None)
    ),
    "bundle-identifier": lambda f: xcframework(
        f / "a.xcframework", info=framework_plist(CFBundleIdentifier="org.example.my_model")
    ),
    "minimum-os": lambda f: xcframework(f / "a.xcframework", binary=macho(oldest="14.0")),
    "minimum-os-older": lambda f: xcframework(f / "a.xcframework", binary=macho(oldest="12.4")),
    "bare-dylib": lambda f: xcframework(
        f / "a.xcframework", library={"LibraryPath": "libmodel.dylib"}
    ),
    "module-map": lambda f: xcframework(f / "a.xcframework", headers="Headers"),
    "macos-framework": lambda f: xcframework(
        f / "a.xcframework", library={"SupportedPlatform": "macos"}, binary=macho(platform=1)
    ),
    "privacy-manifest": lambda f: xcframework(f / "a.xcframework", privacy=False),
    "no-simulator": lambda f: xcframework(f / "a.xcframework", simulator=False),
    "apple-size": lambda f: xcframework(f / "a.xcframework", binary=macho(text=8192)),
    "secret": lambda f: library(f / "a.so", code=text("AKIA" + "ABCD" * 4)),
    "build-path": lambda f: library(f / "a.so", code=text("/home/me/src/model.c")),
}


@pytest.mark.parametrize("rule", load_rules())
def test_each_rule_finds_what_breaks_it(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule in ("play-size", "apple-size"):  # files of that size are no test
        monkeypatch.setattr(android_rules, "PLAY_BYTES", 5000)
        monkeypatch.setattr(apple_rules, "TEXT_BYTES", 5000)
    assert rule in broken(CASES[rule](tmp_path))


def test_a_rule_says_where_it_comes_from_and_what_to_do() -> None:
    assert set(CASES) == set(load_rules())
    for rule in load_rules().values():
        assert rule.level in LEVELS
        assert "://" in rule.source or rule.name == "damaged"
        assert rule.fix


def test_nothing_is_found_in_what_is_sound(tmp_path: Path) -> None:
    assert broken(aar(tmp_path / "aar")) == set()
    assert broken(apk(tmp_path / "apk")) == set()
    assert broken(library(tmp_path / "libanswer.so")) == set()
    assert broken(xcframework(tmp_path / "Model.xcframework")) == set()
    assert broken(tmp_path) == set(), "a folder of all of them"


def test_what_the_manifest_of_an_apk_says_is_read(tmp_path: Path) -> None:
    assert broken(apk(tmp_path / "1", debuggable=True)) == {"debuggable"}
    assert broken(apk(tmp_path / "2", least=None)) == {"minimum-sdk"}
    assert broken(apk(tmp_path / "3", code=built_for(24))) == set()
    assert broken(apk(tmp_path / "4", align=4, extractNativeLibs=True)) == set(), "it is copied"


def test_a_manifest_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    sound = binary_manifest(("uses-sdk", {"minSdkVersion": 24}), ("application", {}))
    for name, data in (("cut", sound[:60]), ("text", b"<manifest"), ("empty", b"")):
        path = archive(tmp_path / f"{name}.apk", {"AndroidManifest.xml": data})
        assert broken(path) == {"damaged"}, name


@pytest.mark.parametrize("folder", ["jni/x86_64", "prefab/modules/answer/libs/android.x86_64"])
def test_a_library_is_checked_wherever_an_aar_may_hold_it(folder: str, tmp_path: Path) -> None:
    assert broken(aar(tmp_path / "sound", f"{folder}/libanswer.so")) == set()
    small = ["-s", "-Wl,-z,max-page-size=4096"]
    assert broken(aar(tmp_path / "small", f"{folder}/libanswer.so", more=small)) == {"page-size"}


def test_a_module_of_python_needs_no_name_of_its_own(tmp_path: Path) -> None:
    module = CODE.replace("bitexport_answer", "PyInit_answer")
    assert broken(aar(tmp_path, soname=None, code=module)) == set()
    assert broken(aar(tmp_path, soname="libelse.so", code=module)) == {"soname"}


def test_an_xcframework_is_found_in_a_zip(tmp_path: Path) -> None:
    folder = xcframework(tmp_path / "a.xcframework", binary=macho(oldest="15.0"))
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    found = check_artefact(archive(tmp_path / "a.xcframework.zip", files))
    assert [each.rule.name for each in found.found] == ["minimum-os"]
    assert "MinimumOSVersion 13.0, built for 15.0" in render(found)


def test_the_worst_comes_first(tmp_path: Path) -> None:
    path = library(tmp_path / "a.so", ["-g", "-Wl,-z,execstack", "-Wl,-rpath,/opt/lib"])
    levels = [each.rule.level for each in check_artefact(path).sorted()]
    assert levels == sorted(levels, key=LEVELS.index)
    assert {"error", "warning", "note"} == set(levels)


def test_our_own_library_breaks_no_rule_that_matters(host_bundle) -> None:
    found = check_artefact(host_bundle.path / "lib/host/libbitexport.so").found
    assert {each.rule.level for each in found} <= {"note"}


def test_a_universal_file_has_each_architecture() -> None:
    parts = [macho(), macho(cpu=X86_64, platform=7)]
    head, at = struct.pack(">II", 0xCAFEBABE, 2), 48
    for cpu, part in zip((ARM64, X86_64), parts, strict=True):
        head += struct.pack(">IIIII", cpu, 0, at, len(part), 0)
        at += len(part)
    images = read_macho(head + b"".join(parts))
    assert [(i.architecture, i.platform) for i in images] == [
        ("arm64", "ios"), ("x86_64", "ios-simulator"),
    ]  # fmt: skip


def test_damage_is_said_wherever_it_is(tmp_path: Path) -> None:
    data = library(tmp_path / "a.so").read_bytes()
    for cut in range(16, len(data), 97):
        damaged = bytearray(data)
        damaged[cut] ^= 0xFF
        for bytes_ in (data[:cut], bytes(damaged)):
            try:
                read_elf(bytes_)
            except DamagedError:
                continue


@pytest.mark.parametrize("size", ["", "-60", "x"])
def test_a_member_of_no_size_ends_the_archive(size: str) -> None:
    member = f"{'a.o':<48}{size:<10}`\n".encode()
    with pytest.raises(DamagedError, match="has no size"):
        list(archive_members(ARCHIVE_MAGIC + member + bytes(60)))


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"classes.jar": "", "AndroidManifest.xml": MANIFEST, SO: "sound"})
    path.write_bytes(path.read_bytes().replace(b"sound", b"wrong"))
    with pytest.raises(BundleError, match=f"{SO}: cannot be unpacked"):
        check_artefact(path)


def test_what_is_no_artefact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello, world", encoding="utf-8")
    for name in ("notes.txt", "missing.aar"):
        with pytest.raises(BundleError):
            check_artefact(tmp_path / name)
    (tmp_path / "half.aar").write_bytes(b"PK\3\4half")
    with pytest.raises(BundleError, match="not a ZIP archive"):
        check_artefact(tmp_path / "half.aar")
