"""A bundle whose manifest is right and whose library is wrong, in one op, quickly."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from bitexport.emit.manifest import MANIFEST, Bundle
from bitexport.targets import find_target
from bitexport.toolchain.compile import library_flags


def make_it_subtract(bundle: Bundle, folder: Path) -> Path:
    """Copy a bundle; its op Add then subtracts, in the source and in the static library."""
    return break_add(bundle, folder, "a[i] - b[i]")


def break_add(bundle: Bundle, folder: Path, sum_is: str) -> Path:
    """Copy a bundle; its op Add then returns what is said, which may use a[i] and b[i]."""
    shutil.copytree(bundle.path, folder)
    target = find_target(bundle.target_name)
    name, source = f"lib/{target.name}/libbitexport.a", folder / "ops" / "add.c"
    text = source.read_text(encoding="utf-8")
    assert "a[i] + b[i]" in text
    source.write_text(text.replace("a[i] + b[i]", sum_is), encoding="utf-8")
    compile_it = [target.compiler, *library_flags(target, folder), "-c", "ops/add.c", "-o", "add.o"]
    subprocess.run(compile_it, cwd=folder, check=True)
    subprocess.run([target.archiver, "rD", name, "add.o"], cwd=folder, check=True)
    vouch_for(folder, "ops/add.c")
    return folder


def vouch_for(folder: Path, *names: str) -> None:
    """Write into a manifest the hashes of its libraries, and of other files that have changed."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for file in (*folder.glob("lib/*/*"), *(folder / name for name in names)):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        manifest["files"][str(file.relative_to(folder))] = digest
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
