"""What the C file of the Swift package can be compiled for, and the libraries made of it here."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import Any

from bitexport.package.amalgamation import Variant
from bitexport.paths import targets_root
from bitexport.targets import find_target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """One library of an XCFramework: a table of platforms.toml."""

    name: str
    triple: str
    """As zig takes it: architecture, system with its oldest version, simulator or not."""
    platform: str
    variant: str | None = None

    @property
    def oldest(self) -> str:
        """Return the oldest version of the system that it runs on: `15.0`."""
        return self.triple.split("-")[1].partition(".")[2]


def apple_root() -> Path:
    """Return where the files for Apple lie."""
    return targets_root() / "apple"


def load_variants() -> list[Variant]:
    """Read the tables `variants` of platforms.toml, in the order of the file."""
    return [
        Variant(
            target=dataclasses.replace(find_target(said["target"]), detection=said["detection"]),
            when=said["when"],
        )
        for said in _platforms()["variants"].values()
    ]


def load_slices() -> dict[str, Slice]:
    """Read the tables `slices` of platforms.toml, by name."""
    return {name: Slice(name=name, **said) for name, said in _platforms()["slices"].items()}


@functools.cache
def _platforms() -> dict[str, Any]:
    return tomllib.loads((apple_root() / "platforms.toml").read_text(encoding="utf-8"))
