"""R8 shrinks and renames an app with the AAR's own rules, and the app still finds its library."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

from tests.exporter.package.android.conftest import BRIEF, SECONDS, Jdk

MAIN = "-keep class UseBitexport { public static void main(java.lang.String[]); }\n"
MOVED = "-repackageclasses 'a'\n-allowaccessmodification\n"


def shrink(jdk: Jdk, r8: Path, android_jar: Path, rules: str, folder: Path) -> Path:
    """Return the classes that R8 leaves, for a JDK."""
    folder.mkdir()
    (folder / "rules.pro").write_text(rules, encoding="utf-8")
    with zipfile.ZipFile(folder / "app.jar", "w") as archive:
        for path in sorted(jdk.classes.rglob("*")):
            archive.write(path, path.relative_to(jdk.classes))
    command = ["java", *BRIEF, "-cp", str(r8), "com.android.tools.r8.R8", "--classfile"]
    command += ["--lib", str(android_jar), "--pg-conf", str(folder / "rules.pro")]
    command += ["--pg-map-output", str(folder / "mapping.txt")]
    command += ["--output", str(folder / "shrunk.jar"), str(folder / "app.jar")]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    return folder / "shrunk.jar"


def test_a_shrunk_app_says_the_same(
    jdk: Jdk, r8: Path, android_jar: Path, aar: Path, tmp_path: Path
) -> None:
    rules = (aar / "proguard.txt").read_text(encoding="utf-8")
    classes = shrink(jdk, r8, android_jar, rules + MAIN + MOVED, tmp_path / "shrunk")
    mapping = (tmp_path / "shrunk/mapping.txt").read_text(encoding="utf-8")
    renamed = dict(re.findall(r"^(\S+) -> (\S+):$", mapping, re.MULTILINE))
    assert renamed["ai.bitexport.Event"].startswith("a.")
    assert renamed["ai.bitexport.Models"] != "ai.bitexport.Models"
    shrunk = Jdk(jdk.library, jdk.libc, classes, jdk.model)
    assert shrunk.run("story", tmp_path) == jdk.run("story", tmp_path)
    assert shrunk.run("choose", tmp_path) == jdk.run("choose", tmp_path)
