"""--android: an AAR with a Java API, its symbols and sources, and the model to be delivered."""

from __future__ import annotations

from bitexport.package.android.aar import write_android
from bitexport.package.delivery import refuse_boards
from bitexport.package.kind import Kind, Order


def write(order: Order) -> None:
    """Write what `write_android` does, of bundles for cores that Android runs on."""
    refuse_boards("--android", order.bundles)
    write_android(order.bundles, order.folder, order.progress)


KIND = Kind(
    summary="An AAR: libraries of three ABIs, a Java API, headers, rules; the model beside it.",
    write=write,
    several=True,
)
