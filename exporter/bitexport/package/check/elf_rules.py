"""What loaders, on Linux and on Android, ask of a shared library."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from bitexport.package.check.elf import (
    ANDROID_NOTE,
    ET_DYN,
    PF_W,
    PF_X,
    SHF_ALLOC,
    DamagedError,
    Elf,
    read_elf,
)
from bitexport.package.check.findings import Findings

PAGE = 16384
MACHINES = {
    "arm64-v8a": ("aarch64", 64),
    "armeabi-v7a": ("arm", 32),
    "x86_64": ("x86-64", 64),
    "x86": ("x86", 32),
    "riscv64": ("riscv", 64),
}
CORES = frozenset(machine for machine, _ in MACHINES.values())  # not what runs beside: DSPs
# https://developer.android.com/ndk/guides/stable_apis
SYSTEM = frozenset({
    "libEGL.so", "libGLESv1_CM.so", "libGLESv2.so", "libGLESv3.so", "libOpenMAXAL.so",
    "libOpenSLES.so", "libaaudio.so", "libamidi.so", "libandroid.so", "libbinder_ndk.so",
    "libc.so", "libcamera2ndk.so", "libdl.so", "libicu.so", "libjnigraphics.so", "liblog.so",
    "libm.so", "libmediandk.so", "libnativehelper.so", "libnativewindow.so",
    "libneuralnetworks.so", "libstdc++.so", "libsync.so", "libvulkan.so", "libz.so",
})  # fmt: skip
FIRST_64 = {32: 0, 64: 21}  # no device with an older Android has 64-bit ABIs
MANY = 200  # names beyond JNI's


def check_elf(
    data: bytes,
    where: str,
    findings: Findings,
    abi: str | None,
    beside: Collection[str] = (),
    needed: str = "needed",
    oldest: int | None = None,
) -> None:
    """Check one file; `abi` is the folder's if it is in an Android package, None elsewhere.

    `beside`: names of the libraries in the same folder; `needed`: the rule that is broken where
    one that this one needs is neither there nor of the system; `oldest`: the API level from which
    on the package says that it runs.
    """
    try:
        elf = read_elf(data)
    except DamagedError as error:
        findings.add("damaged", where, f"not readable as ELF: {error}")
        return
    if elf.kind != ET_DYN:
        findings.look(where, f"ELF, {elf.machine}, not a shared library")
        return
    exported = [each.name for each in elf.symbols if each.defined]
    undefined = [each.name for each in elf.symbols if not each.defined]
    findings.look(
        where,
        f"ELF, {elf.machine}, LOAD aligned to {_alignment(elf):#x}, needs "
        f"{' '.join(elf.needed) or 'no library'}, exports {len(exported)} names, leaves "
        f"{len(undefined)} undefined",
    )
    _check_any(elf, where, findings, exported)
    android = abi is not None or _is_android(elf)
    if android and elf.is_wide and 0 < _alignment(elf) < PAGE:
        findings.add("page-size", where, f"LOAD is aligned to {_alignment(elf):#x}, not 0x4000")
    if android:
        _check_android(elf, where, findings)
    if abi is not None:
        for name in elf.needed:
            if "/" not in name and name not in SYSTEM and name not in beside:
                findings.add(needed, where, name)
        _check_abi(elf, where, findings, abi)
        if oldest is not None and elf.api is not None and elf.api > max(oldest, FIRST_64[elf.bits]):
            said = f"built for API {elf.api}, android:minSdkVersion is {oldest}"
            findings.add("newer-api", where, said)


def _alignment(elf: Elf) -> int:
    return min((each.align for each in elf.loads), default=0)


def _is_android(elf: Elf) -> bool:
    """Whether a file that lies anywhere was linked for Android."""
    sections = {each.name for each in elf.sections}
    return ANDROID_NOTE in sections or "libc.so" in elf.needed


def _check_any(elf: Elf, where: str, findings: Findings, exported: list[str]) -> None:
    if elf.text_relocations:
        findings.add("text-relocations", where, "has DT_TEXTREL")
    if elf.executable_stack is not False and elf.machine in CORES:
        said = "PT_GNU_STACK is executable" if elf.executable_stack else "has no PT_GNU_STACK"
        findings.add("executable-stack", where, said)
    for each in elf.loads:
        if each.flags & PF_W and each.flags & PF_X:
            findings.add("writable-code", where, f"the segment at {each.address:#x}")
    for path in elf.run_paths:
        if path.startswith("/"):
            findings.add("run-path", where, path)
    loose = sum(each.bytes for each in elf.sections if _is_loose(each.name, each.flags))
    if loose:
        findings.add("symbol-table", where, f"{loose} bytes")
    beyond = [name for name in exported if not name.startswith(("Java_", "JNI_On"))]
    if len(beyond) > MANY:
        findings.add(
            "exported-symbols", where, f"{len(beyond)} names, as {', '.join(sorted(beyond)[:3])}"
        )


def _is_loose(name: str, flags: int) -> bool:
    return not flags & SHF_ALLOC and (name == ".symtab" or name.startswith(".debug_"))


def _check_android(elf: Elf, where: str, findings: Findings) -> None:
    file = PurePosixPath(where).name
    is_plugin = any(each.defined and each.name.startswith("PyInit_") for each in elf.symbols)
    if elf.soname != file and not (is_plugin and elf.soname is None):  # nobody links with it
        findings.add("soname", where, f"SONAME is {elf.soname}" if elf.soname else "no SONAME")
    if not elf.sections:
        findings.add("section-headers", where, "none")
    if glibc := [name for name in elf.versions if name.startswith("GLIBC_")]:
        findings.add("wrong-libc", where, f"asks for {max(glibc)}")
    for name in elf.needed:
        if "/" in name:
            findings.add("needed-path", where, name)


def _check_abi(elf: Elf, where: str, findings: Findings, abi: str) -> None:
    if abi not in MACHINES:
        findings.add("abi", where, f"{abi} is no ABI of a device today")
    elif MACHINES[abi] != (elf.machine, elf.bits):
        findings.add("abi", where, f"is {elf.bits}-bit {elf.machine}, in a folder for {abi}")
