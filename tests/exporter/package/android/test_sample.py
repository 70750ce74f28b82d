"""samples/android-chat becomes an APK: shrunk, signed, and read by Android's own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.exporter.package.android.conftest import BRIEF, SECONDS

from bitexport.package.check.artefact import check_artefact

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
NATIVE = "Lai/bitexport/Native;"


def said_by(*command: str | Path) -> str:
    program = shutil.which(str(command[0]))
    assert program, f"`{command[0]}` is not installed: apt-get install {command[0]}"
    done = subprocess.run(
        [program, *map(str, command[1:])], capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def apk(
    package: Path, android_jar: Path, kotlin: Path, r8: Path, repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Return the sample's APK."""
    assert FRAMEWORK.is_file(), "apt-get install android-framework-res"
    output = tmp_path_factory.mktemp("apk") / "android-chat.apk"
    command = [sys.executable, str(repository / "samples/android-chat/build_apk.py")]
    command += [str(package), str(output), "--android-jar", str(android_jar)]
    command += ["--framework", str(FRAMEWORK), "--kotlin", str(kotlin), "--r8", str(r8)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS,
        env={**os.environ, "JAVA_TOOL_OPTIONS": " ".join(BRIEF)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def test_it_is_signed_by_every_scheme_that_its_devices_read(apk: Path) -> None:
    said = said_by("apksigner", "verify", "--verbose", "--min-sdk-version", "21", apk)
    for scheme in ("v1 scheme (JAR signing)", "v2 scheme", "v3 scheme"):
        assert re.search(rf"{re.escape(scheme)}.*: true", said), said
    assert "WARNING" not in said


def test_the_system_reads_what_it_is_and_where_it_begins(apk: Path) -> None:
    said = said_by("aapt", "dump", "badging", apk)
    assert "package: name='ai.bitexport.sample' versionCode='1'" in said
    assert "sdkVersion:'21'\ntargetSdkVersion:'36'" in said
    assert "launchable-activity: name='ai.bitexport.sample.ChatActivity'" in said
    assert "native-code: 'arm64-v8a' 'armeabi-v7a' 'x86_64'" in said


def test_its_code_has_the_native_methods_by_their_names(apk: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(apk) as archive:
        archive.extract("classes.dex", tmp_path)
    said = said_by("dexdump", tmp_path / "classes.dex")
    classes = re.findall(r"Class descriptor  : '(.+)'", said)
    assert "Lai/bitexport/sample/ChatActivity;" in classes
    (native,) = [part for part in said.split("Class #") if f"descriptor  : '{NATIVE}'" in part]
    kept = re.findall(r"name          : '(\w+)'\n.*\n +access +: \w+ \(.*NATIVE", native)
    assert {"openModel", "selfTest", "start", "next"} <= set(kept)
    assert "Lai/bitexport/Session;" not in classes  # which nobody looks up by its name


def test_it_is_aligned_and_breaks_no_rule(apk: Path) -> None:
    said_by("zipalign", "-c", "-p", "4", apk)
    findings = check_artefact(apk)  # libraries at 16 KiB, which Debian's zipalign does not know
    assert [f"{each.where}: {each.seen}" for each in findings.sorted()] == []
    with zipfile.ZipFile(apk) as archive:
        stored = {each.filename for each in archive.infolist() if each.compress_type == 0}
    assert "resources.arsc" in stored
    assert any(name.startswith("assets/stories-ternary-3m-arm64-") for name in stored)


def test_the_sample_names_what_a_package_holds(repository: Path, package: Path) -> None:
    script = (repository / "samples/android-chat/app/build.gradle.kts").read_text(encoding="utf-8")
    named = re.findall(r'bitexport\.resolve\("([^"]+)"\)', script)
    assert set(named) == {"bitexport.aar", "bitexport-sources.jar", "packs"}
    assert all((package / name).exists() for name in named)
