"""--apple: a Swift package with its C code as source, and an XCFramework of the same code."""

from __future__ import annotations

from bitexport.package.apple.swift_package import write_apple
from bitexport.package.delivery import refuse_boards
from bitexport.package.kind import Kind, Order


def write(order: Order) -> None:
    """Write what `write_apple` does, of bundles for cores that phones are like."""
    refuse_boards("--apple", order.bundles)
    write_apple(order.bundles, order.folder, order.progress)


KIND = Kind(
    summary="A Swift package: C source, a Swift API; an XCFramework beside it; the model.",
    write=write,
    several=True,
)
