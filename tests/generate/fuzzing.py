"""What fuzz_restore.c is built from, run on, and begins with.

python -m tests.generate.fuzzing files          the C files it is built from
python -m tests.generate.fuzzing model FILE     writes the model that sessions are of
python -m tests.generate.fuzzing seeds FOLDER   writes a session of each kind
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.tiny_checkpoint import write_checkpoint

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.paths import runtime_root
from bitexport.runtime import Answer, open_model
from bitexport.targets import find_target
from bitexport.toolchain.compile import EXTRAS, sources

CONTEXT = 16
MENDED = (0, 15, 31)
"""Nothing; hash, identity and length, then to be continued; the same with little room."""


def definitions() -> list[Path]:
    """Return the runtime's files without its kernels for instruction sets, below its root."""
    every = sources(find_target("host"), runtime_root())
    return [file.path for file in every if file.isa == "scalar" and EXTRAS not in file.path.parts]


def print_files() -> None:
    """Print where the definitions are."""
    print(*(runtime_root() / path for path in definitions()))


def write_model(path: Path) -> None:
    """Write the model.bitx of a tiny model with little context."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(_build(Path(scratch), Wanted(compile_library=False)), path)


def write_seeds(folder: Path) -> None:
    """Write sessions: empty, given, in the middle, full; each with every way to mend it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = _build(Path(scratch), Wanted(self_test=False))
        with open_model(data.parent) as model:
            for given, made in ((0, 0), (2, 0), (1, 2), (3, 9), (16, 1)):
                session = model.session()
                if given:
                    session.give(range(3, 3 + given))
                if made:
                    list(session.answer(None, Answer(most_tokens=made, ignore_ends=True)))
                for mended in MENDED:
                    name = f"{given}-given-{made}-made-{mended}-mended"
                    (folder / name).write_bytes(bytes([mended]) + session.save())


def _build(folder: Path, wanted: Wanted) -> Path:
    checkpoint = write_checkpoint(folder / "model").path
    options = Options(context=CONTEXT)
    return build_bundle(checkpoint, find_target("host"), options, folder / "out", wanted).data


if __name__ == "__main__":
    todo: dict[str, Callable[..., None]] = {
        "files": print_files,
        "model": lambda path: write_model(Path(path)),
        "seeds": lambda path: write_seeds(Path(path)),
    }
    todo[sys.argv[1]](*sys.argv[2:])
