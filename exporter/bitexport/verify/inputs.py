"""What a network is run on: numbers from a file, or fixed ones."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import BundleError
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.graph import GraphInput

Array = NDArray[Any]

FIXED_SAMPLES = 5
SEED = 7919


def one_sample_a_call(model: ReferenceModel) -> bool:
    """Return whether a network computes one sample in a call, whatever the batch is."""
    return all(given.shape[0] is not None for given in model.graph.inputs)


def fixed_inputs(model: ReferenceModel) -> dict[str, Array]:
    """Return numbers of many sizes for every input, the same on every machine: zeros come first."""
    draw = np.random.Generator(np.random.Philox(SEED))
    found = {}
    for given in model.graph.inputs:
        numbers = draw.standard_normal((FIXED_SAMPLES, *_sample_shape(given)))
        numbers[0] = 0
        found[given.name] = numbers.astype(given.dtype)
    return found


def read_inputs(path: Path, model: ReferenceModel) -> dict[str, Array]:
    """Return the arrays of a .npy file, or of a .npz by the names of the inputs, as samples.

    An array holds one sample or a batch of them, in the shape of the input or flat.
    """
    inputs = model.graph.inputs
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or 'is no .npy or .npz file'}",
                          hint="numpy.save writes one") from error  # fmt: skip
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"{path}: is no .npy or .npz file of numbers", hint="numpy.save writes one"
        ) from error
    if isinstance(loaded, np.ndarray):
        if len(inputs) > 1:
            names = ", ".join(given.name for given in inputs)
            raise BundleError(
                f"{path}: one array for a network with the inputs {names}",
                hint="numpy.savez writes several, by name",
            )
        arrays: Mapping[str, Array] = {inputs[0].name: loaded}
    else:
        arrays = dict(loaded)
        if len(arrays) == len(inputs) == 1:
            arrays = {inputs[0].name: next(iter(arrays.values()))}
    found = {given.name: _samples(path, given, arrays) for given in inputs}
    if len({len(array) for array in found.values()}) > 1:
        raise BundleError(f"{path}: its arrays differ in length", hint="give as many of each input")
    return found


def _samples(path: Path, given: GraphInput, arrays: Mapping[str, Array]) -> Array:
    shape = _sample_shape(given)
    array = arrays.get(given.name)
    if array is None:
        raise BundleError(
            f"{path}: holds no array `{given.name}`", hint=f"it holds {', '.join(arrays) or 'none'}"
        )
    size = int(np.prod(shape))
    fits = array.size and array.size % size == 0 and (array.ndim < 2 or array[0].size <= size)  # noqa: PLR2004
    if not fits or array.dtype.kind not in "fiu":
        raise BundleError(
            f"{path}: `{given.name}` is {array.dtype} {list(array.shape)}",
            hint=f"a sample has {size} numbers, {list(shape)}",
        )
    return np.ascontiguousarray(array.astype(given.dtype).reshape(-1, *shape))


def _sample_shape(given: GraphInput) -> tuple[int, ...]:
    return tuple(int(size or 1) for size in given.shape[1:])
