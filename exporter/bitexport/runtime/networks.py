"""Run a network of a bundle on this machine, or on an emulated core of its target."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError
from bitexport.package.native import native_bundle
from bitexport.targets import find_target
from bitexport.verify.cores import Machine, machine
from bitexport.verify.inputs import one_sample_a_call
from bitexport.verify.networks import run_network
from bitexport_ref.evaluator import ReferenceModel

NATIVE = "native"
MOST_SAMPLES = 16  # of a call


def run_samples(
    bundle: Bundle, model: ReferenceModel, inputs: Mapping[str, NDArray[Any]], core: str | None,
    threads: int = 1,
) -> dict[str, NDArray[np.float32]]:  # fmt: skip
    """Return every output (samples, columns) by name; `model` says their sizes, no more."""
    count = len(next(iter(inputs.values())))
    chunk = 1 if one_sample_a_call(model) else min(count, MOST_SAMPLES)
    words = ["--threads", str(threads)] if threads > 1 else []
    with _machine(bundle, core) as device:
        observed = run_network(device, core or NATIVE, inputs, words, chunk)
    if observed.stopped:
        raise BundleError(
            f"{bundle.path}: the run stopped: {observed.stopped}",
            hint="`bitexport verify` says whether bundle and runtime are sound",
        )
    return {
        name: np.frombuffer(data, np.float32).reshape(count, -1)
        for name, data in observed.results.items()
    }


@contextlib.contextmanager
def _machine(bundle: Bundle, core: str | None) -> Iterator[Machine]:
    if core:
        with machine(bundle, find_target(bundle.target_name)) as device:
            yield device
        return
    with native_bundle(bundle) as here, machine(here, find_target("host")) as device:
        yield device
