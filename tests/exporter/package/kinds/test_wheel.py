"""A wheel installs without a network, needs nothing else, and gives the reference's tokens."""

from __future__ import annotations

import ast
import base64
import csv
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename
from tests.generate.conftest import TEMPLATE, read
from tests.tiny_checkpoint import PROMPT, write_checkpoint

from bitexport.emit.bitx import SELF_TEST
from bitexport.emit.manifest import DATA, NETWORK, Bundle
from bitexport.errors import BundleError, TargetError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.check.artefact import check_artefact
from bitexport.package.check.elf import Elf
from bitexport.package.kind import write_package
from bitexport.package.kinds.wheel import platform_tag
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import SHARED, Library, build_runner, find_library
from bitexport.toolchain.emulate import run
from bitexport_ref.bitx import open_bitx
from bitexport_ref.sampler import Sampler

BundleFor = Callable[[str], Bundle]

PACKAGE = "bitexport_tiny"
SECONDS = 120
ANSWER = f"""
import json, sys
import {PACKAGE} as tiny

model = tiny.load()
given = model.tokens(sys.argv[1])
settings = json.loads(sys.argv[2])
events = list(model.generate(given, tiny.Answer(most_tokens=20, continues=True), **settings))
chosen = [e.token for e in events if isinstance(e, tiny.Chosen)]
answer = list(model.chat([("user", sys.argv[1])], tiny.Answer(most_tokens=3)))
foreign = [name for name in sys.modules if name.split(".")[0] in ("bitexport", "numpy")]
print(json.dumps([given + chosen, "".join(e.text for e in events), len(answer) > 1, foreign]))
"""


@pytest.fixture(scope="module")
def bundle(
    libraries: Callable[[Target], Library], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Return a bundle with a tokenizer and a chat template, for this machine."""
    folder, target = tmp_path_factory.mktemp("wheel"), find_target("host")
    checkpoint = write_checkpoint(folder / "tiny").path
    settings = json.dumps({"chat_template": TEMPLATE})
    (checkpoint / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    source_only = Wanted(compile_library=False)
    bundle = build_bundle(checkpoint, target, Options(), folder / "out", source_only)
    shutil.copytree(libraries(target).archive.parent, bundle.path / "lib/host")
    return bundle


@pytest.fixture(scope="module")
def wheel(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of that bundle."""
    return written(bundle, tmp_path_factory.mktemp("written") / "package")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip has installed it, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    words = ["--no-index", "--no-compile", "--target", folder, wheel]
    subprocess.run([sys.executable, "-m", "pip", "-q", "install", *words], check=True)
    return folder


def written(bundle: Bundle, folder: Path) -> Path:
    """Write a wheel and return its path."""
    write_package("wheel", [bundle], folder)
    (path,) = folder.glob("*.whl")
    return path


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of a folder and no other; a warning is an error."""
    command = [sys.executable, "-S", "-W", "error", *words]
    return subprocess.run(
        command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.25, "seed": 7, "top_k": 30}])
def test_it_generates_the_tokens_of_the_reference(
    settings: dict[str, float], bundle: Bundle, installed: Path
) -> None:
    reference = read(bundle)
    tokens, text, _ = reference.answer(reference.encode(PROMPT), Sampler(**settings), 20)
    done = python(installed, "-c", ANSWER, PROMPT, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [tokens, text, True, []]


def test_its_self_test_passes(installed: Path) -> None:
    done = python(installed, "-m", PACKAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny: ok, ")


def test_its_self_test_names_the_op_that_differs(installed: Path, tmp_path: Path) -> None:
    """The vectors say another digest of the last op output than this machine computes."""
    bitx = open_bitx(installed / PACKAGE / DATA)
    section = bitx.section(SELF_TEST)
    assert section is not None
    blob = bytearray((installed / PACKAGE / DATA).read_bytes())
    blob[section.end - 1] ^= 1
    row = 64 * (1 + bitx.sections.index(section))
    blob[row + 32 : row + 64] = hashlib.sha256(blob[section.offset : section.end]).digest()
    table = blob[64 : 64 * (1 + len(bitx.sections))]
    blob[32:64] = hashlib.sha256(blob[:32] + table).digest()
    (tmp_path / DATA).write_bytes(blob)
    program = (
        f"from {PACKAGE} import Model; from pathlib import Path\n"
        f"model = Model(Path({str(installed / PACKAGE / SHARED)!r}), "
        f"Path({str(tmp_path / DATA)!r}))\n"
        "print(model.self_test())"
    )
    done = python(installed, "-c", program)
    assert done.returncode == 0, done.stderr
    assert "passed=False" in done.stdout
    assert "op_output='logits'" in done.stdout


def test_a_damaged_model_is_refused(installed: Path, tmp_path: Path) -> None:
    blob = bytearray((installed / PACKAGE / DATA).read_bytes())
    blob[-1] ^= 1
    (tmp_path / DATA).write_bytes(blob)
    program = (
        f"from {PACKAGE} import BitexportError, Model; from pathlib import Path\n"
        f"model = Model(Path({str(installed / PACKAGE / SHARED)!r}), "
        f"Path({str(tmp_path / DATA)!r}))\n"
        "try:\n    model.self_test()\nexcept BitexportError as error:\n    print(error)"
    )
    assert python(installed, "-c", program).stdout.endswith("file not as its hash\n")


def test_its_record_is_right_and_last(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = list(csv.reader(archive.read(names[-1]).decode().splitlines()))
        assert [row[0] for row in record] == names
        assert record[-1][1:] == ["", ""]
        for name, digest, size in record[:-1]:
            data = archive.read(name)
            hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            assert (digest, size) == (f"sha256={hashed.decode()}", str(len(data)))


def test_its_metadata_is_valid(wheel: Path) -> None:
    name, version, _, tags = parse_wheel_filename(wheel.name)
    info = f"{PACKAGE}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        said = Metadata.from_email(archive.read(f"{info}/METADATA"), validate=True)
        about = BytesParser().parsebytes(archive.read(f"{info}/WHEEL"))
        papers = [f"{info}/licenses/{paper}" for paper in said.license_files or []]
        assert set(papers) <= set(archive.namelist())
    assert (said.name, said.version) == (name, version)
    assert said.requires_dist is None
    assert papers
    assert about.get_all("Tag") == [str(tag) for tag in tags]


@pytest.mark.parametrize("name", ["host", "arm64", "armv7"])
def test_its_tag_is_what_auditwheel_says(name: str, bundle_for: BundleFor, output: Path) -> None:
    path = written(bundle_for(name), output)
    (tag,) = parse_wheel_filename(path.name)[3]
    assert tag.platform.startswith("manylinux_2_")
    said = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", path], check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    assert f'platform tag: "{tag.platform}"' in " ".join(said.stdout.split())


def test_one_that_needs_other_libraries_is_for_this_linux_alone() -> None:
    library = Elf(64, "x86-64", 3, (), (), needed=("libc.so.6", "libgomp.so.1"))
    assert platform_tag(library, "x86_64") == "linux_x86_64"
    alone = dataclasses.replace(library, needed=("libc.so.6", "ld-linux-x86-64.so.2"))
    assert platform_tag(alone, "x86_64") == "manylinux_2_17_x86_64"


def test_the_same_bundle_gives_the_same_bytes(bundle: Bundle, wheel: Path, output: Path) -> None:
    again = written(bundle, output)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_it_breaks_no_rule_that_matters(wheel: Path) -> None:
    assert {each.rule.level for each in check_artefact(wheel).found} == {"note"}


def test_the_library_for_arm_is_the_one_that_verify_runs(
    bundle_for: BundleFor, output: Path, tmp_path: Path
) -> None:
    target, bundle = find_target("arm64"), bundle_for("arm64")
    with zipfile.ZipFile(written(bundle, output)) as archive:
        archive.extractall(tmp_path)
    (shared,) = tmp_path.rglob(SHARED)
    library = dataclasses.replace(find_library(target, bundle.path), shared=shared)
    program = build_runner(target, library, bundle.path, tmp_path / "runner", shared=True)
    model = str(shared.parent / DATA)
    said = run(target, "cortex-a53", program, [model, "--self-test"], timeout=SECONDS).stdout
    assert said.endswith("\nend\n")


def test_the_name_of_a_model_is_no_code(bundle: Bundle, output: Path) -> None:
    name = 'a"""b{1/0}"\\'
    model = {**bundle.manifest["model"], "name": name}
    named = dataclasses.replace(bundle, manifest={**bundle.manifest, "model": model})
    with zipfile.ZipFile(written(named, output)) as archive:
        (main,) = [each for each in archive.namelist() if each.endswith("__main__.py")]
        (begin,) = [each for each in archive.namelist() if each.endswith("__init__.py")]
        compile(archive.read(begin), begin, "exec")
        words = ast.walk(ast.parse(archive.read(main)))
    assert name in [each.value for each in words if isinstance(each, ast.Constant)]


def test_a_board_has_no_python(bundle: Bundle, output: Path) -> None:
    board = dataclasses.replace(bundle, manifest={**bundle.manifest, "target": "cortex-m4"})
    with pytest.raises(TargetError, match="where there is no Python"):
        write_package("wheel", [board], output)
    assert not output.exists()


def test_a_network_has_no_text(bundle: Bundle, output: Path) -> None:
    model = {**bundle.manifest["model"], "family": NETWORK}
    network = dataclasses.replace(bundle, manifest={**bundle.manifest, "model": model})
    with pytest.raises(BundleError, match="no language model"):
        write_package("wheel", [network], output)
    assert not output.exists()
