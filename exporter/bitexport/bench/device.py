"""Devices are data: one TOML file each in devices/, and every number in it has its source."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from bitexport.errors import TargetError

GIGA, MEGA, PICO = 1e9, 1e6, 1e-12
SUFFIX = ".toml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Equal cores."""

    core: str
    isas: tuple[str, ...]  # of targets/isa.toml, besides scalar
    count: int
    clock: float  # cycles a second
    issue: float  # instructions a cycle, of any kind
    vector: float  # vector arithmetic a cycle, of the widest vectors of its instruction sets
    instruction_joules: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """What holds the model; sizes in bytes, rates in bytes a second, read in order."""

    ram: float
    usable: float  # of `ram`, by one program
    flash: float | None  # where the model lies in flash, and only the arena in `ram`
    one_core: float
    all_cores: float
    cache: float  # the last level
    byte_joules: float

    def rate(self, cores: int) -> float:
        """Return the bytes a second that so many cores read together."""
        return min(cores * self.one_core, self.all_cores)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """A board, phone or chip; the fastest cluster comes first."""

    key: str  # its file's name
    name: str
    summary: str
    targets: tuple[str, ...]  # whose libraries run on it, the best first
    reference: bool  # here only because others published figures of it
    clusters: tuple[Cluster, ...]
    memory: Memory
    idle_watts: float
    sources: Mapping[str, str]  # by the place of a number, such as `memory.ram_gb`

    @property
    def cores(self) -> int:
        """Return how many cores it has."""
        return sum(cluster.count for cluster in self.clusters)

    def working(self, threads: int) -> tuple[tuple[Cluster, int], ...]:
        """Return how many cores of each cluster work when so many threads do: the fastest."""
        chosen, left = [], threads
        for cluster in self.clusters:
            taken = min(left, cluster.count)
            if taken:
                chosen.append((cluster, taken))
            left -= taken
        return tuple(chosen)


@functools.cache
def load_devices() -> Mapping[str, Device]:
    """Read every device, by the name of its file."""
    folder = files("bitexport.bench").joinpath("devices")
    paths = sorted(
        (path for path in folder.iterdir() if path.name.endswith(SUFFIX)),
        key=lambda path: path.name,
    )
    keys = (path.name.removesuffix(SUFFIX) for path in paths)
    return {
        key: read_device(key, tomllib.loads(path.read_text(encoding="utf-8")))
        for key, path in zip(keys, paths, strict=True)
    }


def find_device(key: str) -> Device:
    """Return the device of that name, or say which ones there are."""
    devices = load_devices()
    if key not in devices:
        raise TargetError(
            f"there is no device `{key}`", hint=f"devices: {', '.join(sorted(devices))}"
        )
    return devices[key]


def read_device(key: str, facts: Mapping[str, Any]) -> Device:
    """Turn what a device file says into a device."""
    memory = facts["memory"]
    return Device(
        key=key,
        name=facts["name"],
        summary=facts["summary"],
        targets=tuple(facts["targets"]),
        reference=facts.get("reference", False),
        clusters=tuple(_cluster(table) for table in facts["cluster"]),
        memory=Memory(
            ram=GIGA * memory["ram_gb"],
            usable=GIGA * memory["usable_gb"],
            flash=GIGA * memory["flash_gb"] if "flash_gb" in memory else None,
            one_core=GIGA * memory["one_core_gbs"],
            all_cores=GIGA * memory["all_cores_gbs"],
            cache=MEGA * memory["cache_mb"],
            byte_joules=PICO * memory["pj_per_byte"],
        ),
        idle_watts=facts["power"]["idle_watts"],
        sources=dict(_sources(facts)),
    )


def _cluster(table: Mapping[str, Any]) -> Cluster:
    return Cluster(
        core=table["core"],
        isas=tuple(table["isas"]),
        count=table["count"],
        clock=GIGA * table["clock_ghz"],
        issue=table["issue"],
        vector=table["vector"],
        instruction_joules=PICO * table["pj_per_instruction"],
    )


def _sources(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tables = [(table["core"], table) for table in facts["cluster"]]
    tables += [("memory", facts["memory"]), ("power", facts["power"])]
    for name, table in tables:
        for key, source in table["source"].items():
            yield f"{name}.{key}", source
