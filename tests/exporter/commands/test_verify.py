"""`bitexport verify` refuses what it cannot run, and says what would make it run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.targets import find_target

Say = Callable[..., Result]
Refuse = Callable[..., Result]


@pytest.fixture(scope="module")
def device_bundle(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a library for a Cortex-M."""
    folder = tmp_path_factory.mktemp("device") / "bundle"
    return build_bundle(tiny.path, find_target("cortex-m4"), Options(), folder)


def test_a_bundle_without_library_says_that_it_has_none(
    bundles: dict[str, Bundle], refused: Refuse
) -> None:
    result = refused(1, "holds no library for target `arm64`", "verify", bundles["tiny"].path)
    assert "--target arm64" in result.stderr


@pytest.mark.usefixtures("no_tools")
def test_without_a_compiler_it_is_exit_5(device_bundle: Bundle, refused: Refuse) -> None:
    result = refused(5, "`arm-none-eabi-gcc` is not installed", "verify", device_bundle.path)
    assert "apt-get install" in result.stderr


def test_without_an_emulator_it_is_exit_5_with_the_line_to_type(
    device_bundle: Bundle, refused: Refuse, only_tools: Callable[..., None]
) -> None:
    only_tools("arm-none-eabi-gcc")
    result = refused(5, "`qemu-system-arm` is not installed", "verify", device_bundle.path)
    line = "apt-get install -y --no-install-recommends gcc-arm-none-eabi qemu-system-arm"
    assert line in result.stderr


@pytest.mark.parametrize(
    "words", [["--prompt", "Once " * 64], ["-n", "57"]], ids=["prompt", "tokens"]
)
def test_a_prompt_that_does_not_fit_is_exit_64(
    words: list[str], host_bundle: Bundle, said: Say
) -> None:
    result = said("verify", host_bundle.path, *words)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "do not fit a context of 64" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_prompt_is_exit_64(host_bundle: Bundle, said: Say) -> None:
    result = said("verify", host_bundle.path, "--prompt", "")
    assert result.exit_code == 64
    assert result.stdout == ""


def test_against_needs_a_checkpoint_and_a_text(host_bundle: Bundle, said: Say) -> None:
    result = said("verify", host_bundle.path, "--against", "transformers")
    assert result.exit_code == 64
    assert "--checkpoint and --text" in result.stderr


def test_a_bundle_whose_target_is_gone_is_exit_2(
    host_bundle: Bundle, tmp_path: Path, refused: Refuse
) -> None:
    folder = Path(shutil.copytree(host_bundle.path, tmp_path / "bundle"))
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    changed = text.replace('"target": "host"', '"target": "hots"')
    (folder / "manifest.json").write_text(changed, encoding="utf-8")
    refused(2, "there is no target `hots`", "verify", folder)
