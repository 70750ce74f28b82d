"""Other people's runtimes that the tests run graphs in, each in an environment of its own.

`.ci/setup test` makes them beside this Python's packages; what lies where, only this file knows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.manifest import open_bundle
from bitexport.emit.onnx_standard import FILES, Flavour
from bitexport.models.parts.facts import Facts
from bitexport.package.decoder_files import CONFIG, GENAI, write_decoder_files
from bitexport.toolchain.onnxruntime import ops_root

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
PREFIX = Path(sys.prefix)
NEW_PYTHON = Path(sys.executable)
OLD_PYTHON = PREFIX / "onnxruntime-1.20/bin/python"
OLD_LITERT = PREFIX / "tflite-runtime/bin/python"
OPTIMUM = PREFIX / "optimum-onnx"
"""Packages that need an older transformers than ours: put in front of those of this Python."""
ARM64 = PREFIX / "arm64"
"""Debian's Python for arm64 below `root`, and LiteRT for it in `site`."""
NODE_MODULES = PREFIX / "node_modules"
HINT = "`.ci/setup test` makes it"
QUIET = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def kernels_in_genai() -> str:
    """Return what README puts over genai_config.json: the packed graph with our kernels."""
    found = re.search(r"```json\n({\"model.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found, "README has lost what it puts over genai_config.json"
    return found[1]


def node() -> str:
    """Return Node.js."""
    found = shutil.which("node")
    assert found, f"no Node.js: {HINT}"
    assert NODE_MODULES.is_dir(), f"no {NODE_MODULES}: {HINT}"
    return found


def browser() -> str | None:
    """Return Chromium, or Chrome, if it is here: Ubuntu has no package of it."""
    return shutil.which("chromium") or shutil.which("google-chrome")


def python_of_arm64(core: str) -> list[str | Path]:
    """Return the words that start Python on an emulated core of arm64."""
    emulator, root = shutil.which("qemu-aarch64"), ARM64 / "root"
    assert emulator, f"no qemu-aarch64: {HINT}"
    assert root.is_dir(), f"no {root}: {HINT}"
    libraries = [root / place / "aarch64-linux-gnu" for place in ("lib", "usr/lib")]
    (loader,) = {path.resolve() for path in root.glob("**/ld-linux-aarch64.so.1")}
    python = (root / "usr/bin/python3").resolve()
    environment = {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "PYTHONHOME": root / "usr",
        "PYTHONPATH": ARM64 / "site", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    words = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    return [emulator, "-cpu", core, "-L", ops_root() / "aarch64", *words, loader, python]


def said(command: Sequence[str | Path], paths: Sequence[Path] = (), seconds: int = 300) -> Any:
    """Run a program that prints JSON in its last line; return that."""
    assert Path(command[0]).exists(), f"no {command[0]}: {HINT}"
    environment = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment,
        timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class Runs:
    """A prompt, what follows it greedily in the reference, and the logits on the way."""

    def __init__(
        self, folder: Path, prompt: Sequence[int], chosen: Sequence[int],
        logits: NDArray[np.float32],
    ) -> None:  # fmt: skip
        self.folder, self.prompt, self.chosen, self.logits = folder, prompt, chosen, logits
        self.tokens = folder / "tokens"
        np.array([*prompt, *chosen[:-1]], "<i4").tofile(self.tokens)

    def found(self) -> NDArray[np.float32]:
        """Return the logits that the last run wrote."""
        rows = np.fromfile(self.folder / "logits", "<f4")
        return rows.reshape(-1, self.logits.shape[1])[: len(self.logits)]

    def words(self) -> list[str | Path]:
        """Return what every runner is told."""
        return [self.tokens, str(len(self.prompt)), self.folder / "logits"]

    def onnxruntime(self, graph: Path, python: Path = NEW_PYTHON) -> Mapping[str, Any]:
        """Run a graph in the onnxruntime of some Python."""
        return dict(said([python, HERE / "run_onnxruntime.py", graph, *self.words()]))

    def custom_ops(
        self, graph: Path, library: Path, python: Path = NEW_PYTHON
    ) -> Mapping[str, Any]:
        """Run a graph in the onnxruntime of some Python, with our kernels."""
        words = [python, HERE / "run_onnxruntime.py", graph, *self.words(), "--library", library]
        return dict(said(words))

    def litert(
        self, step: Path, delegate: Path | None = None, *python: str | Path
    ) -> Mapping[str, Any]:
        """Run a step in the LiteRT of some Python; `custom` takes our delegate."""
        given = [] if delegate is None else ["--delegate", delegate]
        start = python or (NEW_PYTHON,)
        return dict(said([*start, HERE / "run_litert.py", step, *self.words(), *given]))

    def genai(
        self, bundle: Path, graph: str | None = None, overlay: str | None = None
    ) -> Mapping[str, Any]:
        """Let onnxruntime-genai generate from a bundle, or with another graph of it.

        `overlay` is JSON that is put over its genai_config.json.
        """
        folder = bundle if graph is None else self._opening(bundle, graph)
        words = [*self.words(), *([overlay] if overlay else [])]
        return dict(said([NEW_PYTHON, HERE / "run_genai.py", folder, *words]))

    def _opening(self, bundle: Path, graph: str) -> Path:
        """Return a folder of a bundle's files whose genai_config.json opens a graph."""
        folder = self.folder / f"genai-{graph}"
        if not folder.exists():
            folder.mkdir()
            for path in bundle.iterdir():
                if path.is_file() and path.name not in (GENAI, CONFIG):
                    (folder / path.name).symlink_to(path)
            facts = Facts(**open_bundle(bundle).manifest["model"])
            positions = graph != FILES[Flavour.PACKED]
            write_decoder_files(folder, facts, graph, has_positions=positions)
        return folder

    def optimum(self, bundle: Path, graph: str) -> Mapping[str, Any]:
        """Let optimum-onnx generate with a graph of a bundle."""
        assert OPTIMUM.is_dir(), f"no {OPTIMUM}: {HINT}"
        command = [NEW_PYTHON, HERE / "run_optimum.py", bundle, graph, *self.words()]
        return dict(said(command, [OPTIMUM]))

    def web(self, bundle: Path, graph: str) -> Mapping[str, Any]:
        """Run a graph of a bundle in onnxruntime-web, in Node."""
        command = [node(), HERE / "run_web.mjs", NODE_MODULES, bundle, graph, *self.words()]
        return dict(said(command))

    def transformers(self, bundle: Path, graph: str, text: str) -> Mapping[str, Any]:
        """Let transformers.js generate with a graph of a bundle."""
        words = [NODE_MODULES, bundle, graph, text, str(len(self.chosen))]
        return dict(said([node(), HERE / "run_transformers.mjs", *words]))
