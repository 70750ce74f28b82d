"""Flows of answers, compiled with Kotlin's own compiler and run in a JDK."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.exporter.package.android.conftest import BRIEF, HERE, SECONDS, Jdk
from tests.generate.conftest import Reference

from bitexport.package.android.library import android_root
from bitexport_ref.sampler import Sampler

COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
COMPILERS_OWN = (
    "kotlin-compiler", "kotlin-stdlib", "kotlin-script-runtime", "kotlin-reflect",
    "kotlinx-coroutines-core-jvm", "annotations-13.0",
)  # fmt: skip


def test_a_flow_ends_once_is_left_early_and_is_cancelled(
    kotlin: Path, jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    needed = [str(kotlin / "lib" / f"{name}.jar") for name in COMPILERS_OWN]
    libraries = [name for name in needed if "stdlib" in name or "coroutines" in name]
    command = ["java", *BRIEF, "-cp", ":".join(needed), COMPILER]
    command += ["-Werror", "-no-stdlib", "-no-reflect", "-d", str(tmp_path)]
    command += ["-cp", ":".join([str(jdk.classes), *libraries])]
    sources = [android_root() / "kotlin/ai/bitexport/BitexportFlow.kt", HERE / "UseFlow.kt"]
    subprocess.run([*command, *map(str, sources)], check=True, timeout=SECONDS)
    said = subprocess.run(
        ["java", f"-Djava.library.path={jdk.library.parent}",
         "-cp", ":".join([str(jdk.classes), str(tmp_path), *libraries]), "UseFlowKt",
         str(jdk.model)],
        capture_output=True, text=True, check=True, timeout=SECONDS,
        env={"LD_LIBRARY_PATH": str(jdk.libc), "PATH": "/usr/bin:/bin"},
    ).stdout.splitlines()  # fmt: skip
    tokens, _, _ = reference.answer(reference.encode("Once upon a time"), Sampler(), 24)
    ends, every, taken, more, still, broken, next_one, chat = said
    assert (ends, json.loads(every)) == ("1", tokens)
    assert (taken, int(more)) == ("6", 0)
    assert still == "true"
    assert broken == "the screen is gone"
    assert next_one == "4"  # what was given before is read on: reading, two tokens, the end
    assert chat == "6"  # one of reading, four tokens, the end
