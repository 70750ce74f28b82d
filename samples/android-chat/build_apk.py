"""Build the sample into a signed APK without Gradle: the same steps, each tool called by name.

    python build_apk.py PACKAGE APK --android-jar JAR --kotlin DIR --r8 JAR

Needs bitexport, a JDK, and on the path `aapt2` and `apksigner`, of the SDK's build-tools or of
Debian.  The library lies in the APK uncompressed, at a multiple of 16 KiB.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import zipfile
from pathlib import Path

from bitexport.package.archive import write_zip

HERE = Path(__file__).parent
MAIN = HERE / "app/src/main"
NAMESPACE, LEAST_API, TARGET_API = "ai.bitexport.sample", "21", "36"
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
COMPILERS_OWN = ("kotlin-compiler", "kotlin-script-runtime", "kotlin-reflect")
LIBRARIES = ("kotlin-stdlib", "kotlinx-coroutines-core-jvm", "annotations-13.0")
R8_RULES = "META-INF/com.android.tools/r8/"  # where a jar brings its own
# As proguard-android-optimize.txt of the SDK has them.
RULES = "-keepclasseswithmembernames,includedescriptorclasses class * { native <methods>; }\n"


def run(*command: str | Path) -> None:
    """Run a tool; what it says is for who runs this."""
    subprocess.run([str(word) for word in command], check=True)


def jars(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return jars of Kotlin's by name."""
    return [folder / "lib" / f"{name}.jar" for name in names]


def path_of(paths: list[Path]) -> str:
    """Return paths as Java's -cp takes them."""
    return ":".join(map(str, paths))


def write_manifest(output: Path) -> None:
    """Write the manifest with the package name that Gradle adds."""
    text = (MAIN / "AndroidManifest.xml").read_text(encoding="utf-8")
    output.write_text(text.replace("<manifest ", f'<manifest package="{NAMESPACE}" ', 1), "utf-8")


def link_resources(folder: Path, framework: Path) -> None:
    """Compile resources and manifest into base.apk, class R, and the rules of the manifest."""
    write_manifest(folder / "AndroidManifest.xml")
    run("aapt2", "compile", "--dir", MAIN / "res", "-o", folder / "res.zip")
    run("aapt2", "link", "-I", framework, "--manifest", folder / "AndroidManifest.xml",
        "--java", folder / "gen", "--proguard", folder / "manifest.pro", "--version-code", "1",
        "--version-name", "1.0", "--min-sdk-version", LEAST_API, "--target-sdk-version",
        TARGET_API, "-o", folder / "base.apk", folder / "res.zip")  # fmt: skip


def compile_app(folder: Path, package: Path, kotlin: Path, android: list[Path]) -> None:
    """Compile class R, the activity and the flows of the package into classes/."""
    with zipfile.ZipFile(package / "bitexport.aar") as aar:
        aar.extractall(folder / "aar")
    with zipfile.ZipFile(package / "bitexport-sources.jar") as sources:
        sources.extractall(folder / "flows", [n for n in sources.namelist() if n.endswith(".kt")])
    classes, api = folder / "classes", folder / "aar/classes.jar"
    libraries = jars(kotlin, LIBRARIES)
    run("javac", "--release", "8", "-Xlint:-options", "-d", classes,
        *sorted((folder / "gen").rglob("*.java")))  # fmt: skip
    run("java", "-cp", path_of(jars(kotlin, COMPILERS_OWN + LIBRARIES)), COMPILER, "-no-stdlib",
        "-no-reflect", "-jvm-target", "1.8", "-cp", path_of([classes, api, *android, *libraries]),
        "-d", classes, *sorted((MAIN / "kotlin").rglob("*.kt")),
        *sorted((folder / "flows").rglob("*.kt")))  # fmt: skip
    write_zip(folder / "app.jar", {
        path.relative_to(classes).as_posix(): path.read_bytes()
        for path in classes.rglob("*.class")
    })  # fmt: skip


def rules(folder: Path, libraries: list[Path]) -> list[Path]:
    """Return the files of rules: the app's, the manifest's, the AAR's, and those inside jars."""
    (folder / "app.pro").write_text(RULES, encoding="utf-8")
    found = [folder / name for name in ("app.pro", "manifest.pro", "aar/proguard.txt")]
    for jar in libraries:
        with zipfile.ZipFile(jar) as archive:
            names = [n for n in archive.namelist() if n.startswith(R8_RULES) and n.endswith(".pro")]
            found += [Path(archive.extract(name, folder / jar.stem)) for name in names]
    return found


def shrink(folder: Path, kotlin: Path, r8: Path, android: list[Path]) -> None:
    """Shrink, rename and translate every class into classes.dex, in dex.zip."""
    libraries = jars(kotlin, LIBRARIES)
    words: list[str | Path] = []
    for path in rules(folder, libraries):
        words += ["--pg-conf", path]
    for path in android:
        words += ["--lib", path]
    run("java", "-cp", r8, "com.android.tools.r8.R8", "--release", "--min-api", LEAST_API,
        "--output", folder / "dex.zip", "--pg-map-output", folder / "mapping.txt", *words,
        folder / "app.jar", folder / "aar/classes.jar", *libraries)  # fmt: skip


def wanted(name: str) -> bool:
    """Return whether an app needs a file: of META-INF/, what is found there at run time."""
    return not name.startswith("META-INF/") or name.startswith("META-INF/services/")


def assemble(folder: Path, package: Path) -> None:
    """Join resources, code, libraries and the model into unsigned.apk, aligned."""
    members = {}
    for part in ("base.apk", "dex.zip"):
        with zipfile.ZipFile(folder / part) as archive:
            members |= {name: archive.read(name) for name in archive.namelist() if wanted(name)}
    for library in (folder / "aar/jni").rglob("*.so"):
        members[f"lib/{library.parent.name}/{library.name}"] = library.read_bytes()
    for model in package.glob("packs/*/src/main/assets/*.bitx"):
        members[f"assets/{model.name}"] = model.read_bytes()
    write_zip(folder / "unsigned.apk", members)


def sign(unsigned: Path, apk: Path) -> None:
    """Sign with a new key for debugging, as Gradle makes one; the Play Store wants your own."""
    store = unsigned.parent / "debug.keystore"
    run("keytool", "-genkeypair", "-keystore", store, "-storepass", "android", "-alias",
        "androiddebugkey", "-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname",
        "CN=Android Debug,O=Android,C=US")  # fmt: skip
    run("apksigner", "sign", "--ks", store, "--ks-pass", "pass:android", "--min-sdk-version",
        LEAST_API, "--out", apk, unsigned)  # fmt: skip


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("package", type=Path, help="what `bitexport package --android` wrote")
    parser.add_argument("apk", type=Path, help="new file")
    parser.add_argument("--android-jar", type=Path, action="append", required=True,
                        help="the SDK's platforms/android-36/android.jar")  # fmt: skip
    parser.add_argument("--framework", type=Path, help="resources of the system; default: the jar")
    parser.add_argument("--kotlin", type=Path, required=True, help="folder of kotlinc")
    parser.add_argument("--r8", type=Path, required=True, help="the SDK's lib/d8.jar has R8 too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="android-chat-") as scratch:
        folder = Path(scratch)
        link_resources(folder, given.framework or given.android_jar[0])
        compile_app(folder, given.package, given.kotlin, given.android_jar)
        shrink(folder, given.kotlin, given.r8, given.android_jar)
        assemble(folder, given.package)
        sign(folder / "unsigned.apk", given.apk)


if __name__ == "__main__":
    main()
