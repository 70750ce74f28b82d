"""A kind of package: one file in kinds/, which turns bundles into a folder for one build system."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitexport import __version__
from bitexport.emit.manifest import Bundle, file_digests
from bitexport.errors import BundleError, OutputError
from bitexport.package import kinds
from bitexport.package.appearing import appearing
from bitexport.paths import packages_root, runtime_root
from bitexport.progress import SILENT, Progress
from bitexport.targets import Target, find_target

PACKAGE = "package.json"
LICENCES = ("LICENSE", "LICENSE.txt", "NOTICE")  # that a bundle has of its checkpoint
PLACE = re.compile(r"@([A-Z_]+)@")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What a kind is asked for."""

    bundles: tuple[Bundle, ...]
    """One, unless the kind says `several`.  Their files have the hashes of their manifests."""
    folder: Path
    """Empty; it appears at the place that the user named when the kind has returned."""
    limits: Mapping[str, int]
    """What the user says of the part, in bytes: `flash`, `ram`."""
    progress: Progress

    @property
    def bundle(self) -> Bundle:
        """The only bundle."""
        (bundle,) = self.bundles
        return bundle

    @property
    def target(self) -> Target:
        """What the only bundle is for."""
        return find_target(self.bundle.target_name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """What a file of kinds/ says of itself, as `KIND`; the option is named as the file."""

    summary: str
    write: Callable[[Order], None]
    several: bool = False
    """Whether it takes more than one bundle."""


def load_kinds() -> dict[str, Kind]:
    """Return every kind by name: a kind exists because its file does."""
    names = sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))
    return {name: importlib.import_module(f"{kinds.__name__}.{name}").KIND for name in names}


def write_package(
    name: str, bundles: Sequence[Bundle], output: Path, *, replace: bool = False,
    limits: Mapping[str, int] | None = None, progress: Progress = SILENT,
) -> None:  # fmt: skip
    """Write a package of one kind into the folder `output`, whole or not at all."""
    kind = load_kinds()[name]
    if len(bundles) != 1 and not kind.several:
        raise BundleError(
            f"--{name} takes one bundle, {len(bundles)} are given", hint="package each by itself"
        )
    refuse_place(output, replace)
    with appearing(output, replace) as folder:
        kind.write(
            Order(bundles=tuple(bundles), folder=folder, limits=limits or {}, progress=progress)
        )
        about = json.dumps(_about(name, bundles, folder), indent=2, sort_keys=True) + "\n"
        (folder / PACKAGE).write_text(about, encoding="utf-8")


def refuse_place(output: Path, replace: bool) -> None:
    """Refuse to write over anything but an empty folder or, with --force, a package."""
    if not output.exists():
        return
    empty = output.is_dir() and not any(output.iterdir())
    if not replace:
        raise OutputError(
            f"{output}: already exists", hint="give another folder, or --force to replace this one"
        )
    if not empty and not (output / PACKAGE).is_file():
        raise OutputError(
            f"{output}: is not a package, so --force does not replace it",
            hint="give another folder, or remove this one yourself",
        )


def slug(bundle: Bundle) -> str:
    """Return the model's name without its owner, in lower case, digits and hyphens."""
    name = str(bundle.manifest["model"]["name"]).rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"


def fill(template: str, values: Mapping[str, object]) -> str:
    """Return the text of targets/packages/<template> with every @NAME@ replaced by its value."""
    text = (packages_root() / template).read_text(encoding="utf-8")
    return PLACE.sub(lambda place: str(values[place[1]]), text)


def write_filled(path: Path, template: str, values: Mapping[str, object]) -> None:
    """Write a template, filled in, to a file whose folder may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(fill(template, values), encoding="utf-8")


def copy(source: Path, output: Path) -> None:
    """Copy a file to a place whose folder may not be there yet."""
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, output)


def licences(bundle: Bundle) -> dict[str, Path]:
    """Return where the licences of runtime and model lie, by the names that they get."""
    found = {"LICENSE.bitexport": runtime_root() / "LICENSE"}
    for name in LICENCES:
        if (bundle.path / name).is_file():
            found[f"{name}.model"] = bundle.path / name
    return found


def _about(name: str, bundles: Sequence[Bundle], folder: Path) -> dict[str, Any]:
    return {
        "package_version": 1,
        "kind": name,
        "tool": {"name": "bitexport", "version": __version__},
        "bundles": [
            {
                "target": bundle.target_name,
                "model": bundle.manifest["model"]["name"],
                "files": dict(bundle.manifest["files"]),
            }
            for bundle in bundles
        ],
        "files": file_digests(folder),
    }
