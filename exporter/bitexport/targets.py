"""Targets are data: one folder, one target.toml, no code."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from bitexport.errors import TargetError
from bitexport.paths import targets_root

Record = TypeVar("Record")

OPERATING_SYSTEMS = ("linux", "none")
CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Isa:
    """One table of isa.toml: an instruction set that kernels may be written for."""

    name: str
    summary: str
    requires: str | None = None
    flags: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    attribute: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    clang: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def define(self) -> str:
        """Return the macro that says: this library has kernels for this instruction set."""
        return f"BITX_HAVE_{self.name.upper()}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """What flags.toml says: how every C file is compiled, whatever the target."""

    always: tuple[str, ...]
    library: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runner:
    """One file of runners/: how a real device is reached, in words with {parts} to fill in."""

    name: str
    summary: str
    make: tuple[str, ...]
    send: tuple[str, ...]
    start: tuple[str, ...]
    remove: tuple[str, ...]
    debian: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineRunner:
    """One file of runners/ that says how a board is asked over a serial line."""

    name: str
    summary: str
    baud: int
    silence: int
    """Seconds in which a board that was asked says something."""
    hello: str
    model: str
    load: str
    data: str
    start: str
    data_bytes: int
    """Of one `data`."""
    debian: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One line of `bitexport targets`."""

    name: str
    summary: str
    triple: str
    os: str
    detection: str
    flags: tuple[str, ...]
    isas: tuple[str, ...]
    debian: tuple[str, ...]
    tool_prefix: str | None = None
    link: tuple[str, ...] = ()
    loader: str | None = None
    layout: str = "p2r"
    threads: bool = False
    runner: tuple[str, ...] = ()
    counter: tuple[str, ...] = ()  # an emulator that counts instructions, where `runner` is none
    cores: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    cpuinfo: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    ram_bytes: int | None = None
    flash_bytes: int | None = None

    @property
    def compiler(self) -> str:
        """Return the name of the C compiler."""
        return self._tool("gcc")

    @property
    def archiver(self) -> str:
        """Return the name of the program that writes static libraries."""
        return self._tool("ar")

    @property
    def symbol_lister(self) -> str:
        """Return the name of the program that lists what a library defines and needs."""
        return self._tool("nm")

    @property
    def pointer_bytes(self) -> int:
        """Return the size of a pointer: what the runtime's tables are made of."""
        return 8 if self.triple.startswith(("aarch64", "x86_64")) else 4

    def _tool(self, name: str) -> str:
        return (f"{self.triple}-" if self.tool_prefix is None else self.tool_prefix) + name

    def expected_isas(self, core: str) -> tuple[str, ...]:
        """Return the instruction sets that must be seen to run on one core.

        All that the core lists; of those that no emulator has, what this machine has.  A board
        that nobody emulates is named as its target.
        """
        if core == self.name and self.os == "none":
            return self.isas  # a board of somebody's own
        if core not in self.cores:
            message = f"target `{self.name}` has no core `{core}`"
            raise TargetError(message, hint=_which(core, self.cores, "cores"))
        return tuple(isa for isa in self.cores[core] if not self.lacks(isa))

    def lacks(self, isa: str) -> bool:
        """Return whether no emulator has this instruction set, and this machine neither."""
        return not machine_flags().issuperset(self.cpuinfo.get(isa, ()))

    def flags_of(self, isa: Isa) -> tuple[str, ...]:
        """Return what a kernel file for this instruction set is compiled with besides `flags`."""
        return isa.flags.get(self.triple, ())


def load_targets(root: Path | None = None) -> dict[str, Target]:
    """Read every target, by name: a folder is a target if and only if it holds a target.toml."""
    folder = root or targets_root()
    isas = load_isas(folder)
    loaded = (load_target(path, isas) for path in sorted(folder.glob("*/target.toml")))
    return {target.name: target for target in loaded}


def find_target(name: str, root: Path | None = None) -> Target:
    """Read the target of that name, or say which ones there are."""
    targets = load_targets(root)
    if name not in targets:
        raise TargetError(f"there is no target `{name}`", hint=_which(name, targets, "targets"))
    return targets[name]


def load_target(path: Path, isas: Mapping[str, Isa]) -> Target:
    """Read one target file.  The folder it lies in is its name."""
    target = _record(Target, _read(path), name=path.parent.name, where=str(path))
    if target.os not in OPERATING_SYSTEMS:
        raise TargetError(
            f"{path}: `os` is `{target.os}`", hint=f"it is one of {', '.join(OPERATING_SYSTEMS)}"
        )
    for isa in (*target.isas, *target.cpuinfo):
        if isa not in isas:
            raise TargetError(
                f"{path}: there is no instruction set `{isa}`", hint=_which(isa, isas, "tables")
            )
    for core, runs in target.cores.items():
        if beyond := [isa for isa in runs if isa not in target.isas]:
            raise TargetError(
                f"{path}: core `{core}` is to run `{beyond[0]}`, which the target lacks",
                hint=f"its `isas` are {', '.join(target.isas)}",
            )
    return target


@functools.cache
def machine_flags() -> frozenset[str]:
    """Return what the kernel of this machine says of its processor: Linux on x86-64 does."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    every = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(every, ()))  # all cores of a machine say the same


def find_runner(name: str, root: Path | None = None) -> Runner | LineRunner:
    """Read how to reach a device: runners/<name>.toml, or say which ones there are."""
    folder = (root or targets_root()) / "runners"
    path = folder / f"{name}.toml"
    known = [each.stem for each in folder.glob("*.toml")]
    if name not in known:
        raise TargetError(f"there is no runner `{name}`", hint=_which(name, known, "runners"))
    said = _read(path)
    if "baud" in said:
        return _record(LineRunner, said, name=name, where=str(path))
    return _record(Runner, said, name=name, where=str(path))


def load_isas(root: Path | None = None) -> dict[str, Isa]:
    """Read isa.toml: the instruction sets by name, in the order of the file."""
    path = (root or targets_root()) / "isa.toml"
    return {
        name: _record(Isa, table, name=name, where=f"{path}: [{name}]")
        for name, table in _read(path).items()
    }


def load_flags(root: Path | None = None) -> Flags:
    """Read flags.toml."""
    path = (root or targets_root()) / "flags.toml"
    return _record(Flags, _read(path), where=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{path}: {error}", hint="this file is TOML 1.0") from error


def _record(kind: type[Record], said: Any, *, where: str, **given: str) -> Record:
    """Make a dataclass of what a file said: every key known, none missing, each of its type."""
    if not isinstance(said, dict):
        raise TargetError(f"{where}: is no table")
    fields = [f for f in dataclasses.fields(kind) if f.name not in given]  # type: ignore[arg-type]
    known = {field.name for field in fields}
    needed = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for problem, keys in (("unknown", said.keys() - known), ("missing", needed - said.keys())):
        if keys:
            raise TargetError(
                f"{where}: {problem} key `{min(keys)}`",
                hint=f"the keys are {', '.join(sorted(known))}",
            )
    hints = get_type_hints(kind)
    values = {key: _typed(value, hints[key], f"{where}: `{key}`") for key, value in said.items()}
    return kind(**given, **values)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return the value frozen; refuse one that is not of the field's type."""
    wanted, frozen = "a string", value
    match str(hint):
        case "<class 'str'>" | "str | None":
            right = isinstance(value, str)
        case "<class 'bool'>":
            wanted, right = "true or false", isinstance(value, bool)
        case "int | None" | "<class 'int'>":
            wanted, right = "a number", isinstance(value, int) and not isinstance(value, bool)
        case "tuple[str, ...]":
            wanted, right = "a list of strings", _is_list_of_strings(value)
            frozen = tuple(value) if right else value
        case _:
            wanted = "a table of lists of strings"
            right = isinstance(value, dict) and all(map(_is_list_of_strings, value.values()))
            if right:
                frozen = types.MappingProxyType({key: tuple(v) for key, v in value.items()})
    if not right:
        raise TargetError(f"{where} is `{value!r}`", hint=f"it is {wanted}")
    return frozen


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _which(name: str, known: Iterable[str], what: str) -> str:
    """Return a hint that names what there is, and what was probably meant."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean `{near[0]}`?  " if near else "") + f"the {what} are {', '.join(names)}"
