"""--mcu: a CMake project and a Zephyr module for a board without an operating system."""

from __future__ import annotations

import dataclasses

from bitexport.emit.manifest import DATA, Bundle
from bitexport.emit.source import copy_runtime
from bitexport.errors import TargetError
from bitexport.package.check.elf import archive_members, read_elf
from bitexport.package.kind import Kind, Order, copy, licences, slug, write_filled
from bitexport.paths import packages_root, runtime_root, targets_root
from bitexport.targets import Target
from bitexport.toolchain.compile import find_library, sources

MACHINE = (
    "start_cortex_m.c", "runner_bare.c", "runner_bare.h", "runner.h", "runner_semihosting.c",
    "runner_serial.c", "runner_uart.h", "uart_cmsdk.c", "runner.c", "runner_print.h", "talk.c",
    "talk_serial.c",
)  # fmt: skip
STACK_BYTES = 16384
"""Of a session that opens (12 KiB: the kernels are compared there) and runs; the self-test on the
emulated board measures it."""
CHUNKS = (16, 1)
"""Rows of a chunk for which a manifest has the arena; the larger one that fits is taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a model takes of a part, in bytes."""

    code: int
    """At most: of the whole library, of which a linker takes what is called."""
    model: int
    arena: int
    stack: int
    chunk_rows: int

    @property
    def flash(self) -> int:
        """Code and constants."""
        return self.code + self.model

    @property
    def ram(self) -> int:
        """What is written."""
        return self.arena + self.stack

    def __str__(self) -> str:
        return (
            f"flash {self.flash}: code at most {self.code}, model {self.model}, used in place\n"
            f"RAM   {self.ram}: arena {self.arena} (whole context, chunks of {self.chunk_rows}), "
            f"stack {self.stack}"
        )


def write(order: Order) -> None:
    """Write runtime/, model/, machine/, zephyr/, memory.cmake, and the two programs.

    They are the self-test, and what `bitexport verify --on serial:PORT` talks to.
    """
    target, bundle, folder = order.target, order.bundle, order.folder
    if target.os != "none":
        raise TargetError(
            f"--mcu: target `{target.name}` has an operating system",
            hint="build the bundle for cortex-m4 or cortex-m55, or use --linux or --cmake",
        )
    plan = plan_memory(bundle, target, order.limits.get("flash"), order.limits.get("ram"))
    order.progress.say(str(plan))
    copy_runtime(
        [each.path for each in sources(target, bundle.path)], folder / "runtime", bundle.path
    )
    copy(bundle.path / "sources.cmake", folder / "runtime" / "sources.cmake")
    copy(bundle.data, folder / "model" / DATA)
    for name, path in licences(bundle).items():
        copy(path, folder / name)
    for name in MACHINE:
        copy(runtime_root() / "runner" / name, folder / "machine" / name)
    script = f"{target.name}.ld"
    copy(targets_root() / target.name / script, folder / "machine" / script)
    templates = packages_root() / "mcu"
    copy(templates / "model.S", folder / "model" / "model.S")
    copy(templates / "self_test_board.c", folder / "self_test_board.c")
    for name in ("module.yml", "CMakeLists.txt"):
        copy(templates / "zephyr" / name, folder / "zephyr" / name)
    values = {
        **_values(order, plan),
        "FLASH": order.limits.get("flash", '""'),
        "RAM": order.limits.get("ram", '""'),
    }
    for name in ("CMakeLists.txt", "memory.cmake", "toolchain.cmake", "zephyr/Kconfig"):
        write_filled(folder / name, f"mcu/{name}.in", values)


def plan_memory(bundle: Bundle, target: Target, flash: int | None, ram: int | None) -> Plan:
    """Return what a bundle takes; refuse a part that has less.

    Where none is described it is the emulated board, which has the model beside the arena.
    """
    library = find_library(target, bundle.path).archive.read_bytes()
    code = sum(read_elf(body).loaded_bytes for _, body in archive_members(library))
    memory = bundle.manifest["memory"]
    plans = [
        Plan(
            code=code, model=memory["data_bytes"], arena=memory[f"arena_bytes_{rows}_rows"],
            stack=STACK_BYTES, chunk_rows=rows,
        )
        for rows in CHUNKS
    ]  # fmt: skip
    plan = next((each for each in plans if not _lacking(each, target, flash, ram)), plans[-1])
    if lacking := _lacking(plan, target, flash, ram):
        raise TargetError(
            f"{bundle.manifest['model']['name']} needs {lacking}\n{plan}",
            hint="build it with a smaller --context, or with --kv-cache int8 or --embedding q4",
        )
    return plan


def _lacking(plan: Plan, target: Target, flash: int | None, ram: int | None) -> str:
    """Say what a part has too little of; nothing where all fits."""
    if flash is None and ram is None:
        board = target.ram_bytes
        if board is not None and plan.model + plan.ram > board:
            return f"{plan.model + plan.ram} bytes of memory, the emulated board has {board}"
        return ""
    if flash is not None and plan.flash > flash:
        return f"{plan.flash} bytes of flash, the part has {flash}"
    if ram is not None and plan.ram > ram:
        return f"{plan.ram} bytes of RAM, the part has {ram}"
    return ""


def _values(order: Order, plan: Plan) -> dict[str, object]:
    target = order.target
    (core, *_) = target.cores
    program = "$<TARGET_FILE:self_test>"
    words = [word.format(core=core, program=program, semihosting="") for word in target.runner]
    return {
        "NAME": order.bundle.manifest["model"]["name"],
        "TARGET": target.name,
        "TRIPLE": target.triple,
        "PROJECT": f"bitexport_{slug(order.bundle).replace('-', '_')}",
        "CPU": target.name.upper().replace("-", "_"),
        "CODE": plan.code,
        "MODEL": plan.model,
        "ARENA": plan.arena,
        "STACK": plan.stack,
        "ROWS": plan.chunk_rows,
        "FLAGS": " ".join(flag for flag in target.flags if flag.startswith("-m")),
        "LINK": " ".join(target.link),
        "RUNNER": " ".join(words),
    }


KIND = Kind(
    summary="A CMake project and a Zephyr module for a board, the model used in place.",
    write=write,
)
