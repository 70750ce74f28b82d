"""The library that an x86_64 emulator of Android loads, here loaded by a JDK; and the Java API."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.generate.conftest import STORIES, Reference, read

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.android.classes import write_classes
from bitexport.package.android.delivery import RESOURCE, deliver, delivery_properties
from bitexport.package.android.library import Abi, build_android_library, load_abis
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library
from bitexport.toolchain.programs import find_program

HERE = Path(__file__).parent
SECONDS = 300
CHUNK_BYTES = 1 << 17


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the story model, source only."""
    folder = tmp_path_factory.mktemp("story") / "out"
    wanted = Wanted(compile_library=False)
    return build_bundle(STORIES, find_target("host"), Options(), folder, wanted)


@pytest.fixture(scope="session")
def reference(story: Bundle) -> Reference:
    """Return the story model as the reference reads it."""
    return read(story)


def libc_for_tests(target: Target, folder: Path) -> Path:
    """Put into a folder a libc.so that stands for bionic's on a machine with glibc."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [find_program(target.compiler, target), *target.flags, "-shared", "-o"]
    command += [str(folder / "libc.so"), "-Wl,-soname,libc.so", str(HERE / "libc_of_glibc.c")]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def android_library(
    libraries: Callable[[Target], Library], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that links the library of an ABI, once; it compiles without a warning."""
    folder = tmp_path_factory.mktemp("android")

    def link(name: str) -> Path:
        abi: Abi = load_abis()[name]
        shared = folder / "jni" / name / "libbitexport.so"
        if not shared.is_file():
            archive = None if abi.flags else libraries(abi.target).archive
            assert build_android_library(abi, archive, folder).warnings == ""
        return shared

    return link


@dataclasses.dataclass(frozen=True)
class Jdk:
    """A JDK in which an app's calls run."""

    library: Path
    libc: Path
    classes: Path
    model: Path

    def run(self, what: str, folder: Path, given: str | None = None) -> list[str]:
        """Return the lines that UseBitexport says; JNI's own checks are on."""
        command = ["java", "-Xcheck:jni", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        command += [f"-Djava.library.path={self.library.parent}", "-cp", str(self.classes)]
        command += ["--add-opens", "java.base/java.io=ALL-UNNAMED"]
        command += ["UseBitexport", what, given or str(self.model), str(folder)]
        said = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS,
            env={"LD_LIBRARY_PATH": str(self.libc), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        assert "WARNING in native method" not in said.stdout, said.stdout
        return said.stdout.splitlines()


@pytest.fixture(scope="session")
def jdk(
    story: Bundle, android_library: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Jdk:  # fmt: skip
    """Return a JDK with the API as an AAR has it, and the library of x86_64."""
    assert shutil.which("java"), "`java` is not installed: apt-get install default-jdk-headless"
    folder = tmp_path_factory.mktemp("jdk")
    listed = deliver([story], folder / "models", CHUNK_BYTES)
    resources = {RESOURCE: delivery_properties(listed, CHUNK_BYTES)}
    assert write_classes(folder / "classes.jar", resources) == ""
    classes = folder / "classes"
    zipfile.ZipFile(folder / "classes.jar").extractall(classes)
    command = ["javac", "-Xlint:all", "-cp", str(classes), "-d", str(classes)]
    subprocess.run([*command, str(HERE / "UseBitexport.java")], check=True)
    libc = libc_for_tests(find_target("host"), folder / "libc")
    return Jdk(android_library("x86_64"), libc, classes, story.data)


@pytest.fixture(scope="session")
def kotlin() -> Path:
    """Return the folder of Kotlin's jars."""
    program = shutil.which("kotlinc")
    home = os.environ.get("KOTLIN_HOME") or (program and str(Path(program).resolve().parents[1]))
    if not home:
        pytest.skip("optional: no kotlinc, no KOTLIN_HOME; npm's `kotlin-compiler` is one")
    return Path(home) / "lib"
