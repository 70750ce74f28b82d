"""A section that is wrong under a sound hash is told in a sentence, here and on cores.

The hashes say what was written, not that it was written well: by another tool, or by a bug.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.tiny_checkpoint import Checkpoint

from bitexport.cli import main
from bitexport.emit.bitx import ARITHMETIC, CHAT, GENERATION, TOKENIZER
from bitexport.emit.manifest import DATA, MANIFEST, Bundle
from bitexport.errors import BundleError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import open_model
from bitexport.targets import find_target
from bitexport_ref.bitx import open_bitx

TEMPLATE = "{% for message in messages %}{{ message['content'] | trim }}{% endfor %}"
FAULTS = (  # a section, a word of it, what that says then
    (TOKENIZER, 20, 0x7FFFFFFF, "section `tokenizer` is damaged: rule 26 of FORMAT.md"),
    (CHAT, 7, 1, "section `chat template` is damaged: rule 27 of FORMAT.md"),
    (GENERATION, 1, 0xFFC00000, "section `generation defaults` is damaged: rule 28 of FORMAT.md"),
)


@pytest.fixture(scope="module", params=["host", "cortex-m4"])
def sound(
    request: pytest.FixtureRequest, tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Return a bundle with every section of text."""
    folder = tmp_path_factory.mktemp("text")
    checkpoint = Path(shutil.copytree(tiny.path, folder / "model"))
    for name, said in (
        ("tokenizer_config.json", {"chat_template": TEMPLATE}),
        ("generation_config.json", {"do_sample": True, "temperature": 0.5}),
    ):
        (checkpoint / name).write_text(json.dumps(said), encoding="utf-8")
    wanted = Wanted(self_test=False)
    return build_bundle(
        checkpoint, find_target(request.param), Options(context=16), folder / "out", wanted
    )


def damaged(bundle: Bundle, number: int, word: int, value: int, folder: Path) -> Path:
    """Return a copy with one word of a section changed, and every hash made anew."""
    copy = Path(shutil.copytree(bundle.path, folder / "damaged"))
    bitx = open_bitx(copy / DATA)
    blob = bytearray((copy / DATA).read_bytes())
    section = bitx.section(number)
    assert section is not None
    struct.pack_into("<I", blob, section.offset + 4 * word, value)
    row = 64 * (1 + bitx.sections.index(section))
    blob[row + 32 : row + 64] = hashlib.sha256(blob[section.offset : section.end]).digest()
    table = blob[64 : 64 * (1 + len(bitx.sections))]
    blob[32:64] = hashlib.sha256(blob[:32] + table).digest()
    (copy / DATA).write_bytes(blob)
    manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][DATA] = hashlib.sha256(blob).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return copy


@pytest.mark.parametrize("fault", FAULTS, ids=["tokenizer", "chat", "generation"])
def test_a_damaged_section_of_text_is_named(
    fault: tuple[int, int, int, str], sound: Bundle, tmp_path: Path
) -> None:
    *where, says = fault
    broken = damaged(sound, *where, tmp_path)
    if sound.target_name == "host":
        with pytest.raises(BundleError, match=says), open_model(broken):
            pass
    words = ["verify", str(broken), "-n", "1", "--ids", "3,4"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 4, result.output
    assert f"{DATA}: {says}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_sound_one_is_taken(sound: Bundle) -> None:
    words = ["verify", str(sound.path), "-n", "1", "--ids", "3,4"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output


def test_a_file_that_says_another_arithmetic_than_it_has_is_refused(
    sound: Bundle, tmp_path: Path
) -> None:
    broken = damaged(sound, ARITHMETIC, 1, 7, tmp_path)
    result = CliRunner().invoke(main, ["verify", str(broken), "-n", "1", "--ids", "3,4"])
    assert result.exit_code == 1, result.output
    assert "the plan and the tensors compute something else" in result.stderr
    assert "Traceback" not in result.stderr
