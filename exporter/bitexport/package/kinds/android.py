"""--android: an AAR with a Java API, its symbols and sources, and the model to be delivered."""

from __future__ import annotations

from bitexport.errors import TargetError
from bitexport.package.android.aar import write_android
from bitexport.package.kind import Kind, Order
from bitexport.targets import find_target


def write(order: Order) -> None:
    """Write what `write_android` does, of bundles for cores that Android runs on."""
    for bundle in order.bundles:
        if find_target(bundle.target_name).os != "linux":
            raise TargetError(
                f"--android: {bundle.path} is for target `{bundle.target_name}`, a board",
                hint="build the checkpoint for arm64, and for arm64-v8.0 if old phones matter",
            )
    write_android(order.bundles, order.folder, order.progress)


KIND = Kind(
    summary="An AAR: libraries of three ABIs, a Java API, headers, rules; the model beside it.",
    write=write,
    several=True,
)
