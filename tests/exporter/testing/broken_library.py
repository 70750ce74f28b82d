"""A bundle whose manifest is right and whose library is wrong, in one op, quickly."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.targets import find_target
from bitexport.toolchain.compile import library_flags


def make_it_subtract(bundle: Bundle, folder: Path) -> Path:
    """Copy a bundle; its op Add then subtracts, in the source and in the static library."""
    shutil.copytree(bundle.path, folder)
    target = find_target(bundle.target_name)
    name, source = f"lib/{target.name}/libbitexport.a", folder / "ops" / "add.c"
    text = source.read_text(encoding="utf-8")
    assert "a[i] + b[i]" in text
    source.write_text(text.replace("a[i] + b[i]", "a[i] - b[i]"), encoding="utf-8")
    compile_it = [target.compiler, *library_flags(target, folder), "-c", "ops/add.c", "-o", "add.o"]
    subprocess.run(compile_it, cwd=folder, check=True)
    subprocess.run([target.archiver, "rD", name, "add.o"], cwd=folder, check=True)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for changed in (name, "ops/add.c"):
        digest = hashlib.sha256((folder / changed).read_bytes()).hexdigest()
        assert manifest["files"][changed] != digest
        manifest["files"][changed] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
