"""The vectors in a .bitx file, run here: whether this machine returns the reference's bits."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from bitexport.errors import BundleError
from bitexport.runtime import library as c
from bitexport.runtime.model import HostModel
from bitexport.runtime.session import open_session

CHAIN_BYTES = 32  # of an op output
NONE = 0xFFFFFFFF


class SelfTest(NamedTuple):
    """What the vectors say of this machine."""

    passed: bool
    """Whether every bit is the reference's."""
    position: int
    """How many positions were compared, or the first that chose another token."""
    op_output: str | None
    """Which op output differs first, as the plan calls it."""
    status: str
    """What the runtime calls the result."""


def self_test(model: HostModel) -> SelfTest:
    """Run the model's own prompt op by op, and compare every op output and every token."""
    if not model.model.self_test.records:
        raise BundleError(
            f"{model.data}: was built without a self-test", hint="build it without --no-selftest"
        )
    model.require(model.library.bitx_model_check_hashes(ctypes.byref(model.model)))
    config: c.Config = model.library.bitx_config_default()
    config.keep_all_rows = config.unfused = 1
    session, arena = open_session(model, config)
    chains = c.Block(CHAIN_BYTES * model.model.values.count)  # no op output without a value
    result = c.SelfTestResult()
    status = model.library.bitx_self_test(
        session, chains.address, chains.size, ctypes.byref(result)
    )
    del arena
    if status not in (c.OK, c.SELF_TEST):
        model.require(status)
    differs = None if result.op_output == NONE else _name_of(model, result.op_output)
    return SelfTest(status == c.OK, result.position, differs, model.name(status))


def _name_of(model: HostModel, op_output: int) -> str:
    """Return what the plan calls an op output: a traced step passes all of them."""
    names: dict[int, str] = {}

    def note(_: int, event: ctypes._Pointer[c.TraceEvent]) -> None:
        names[event.contents.op_output] = event.contents.value.decode()

    callback = c.Trace(note)
    config: c.Config = model.library.bitx_config_default()
    config.context_tokens = config.chunk_rows = 1
    config.trace = ctypes.cast(callback, ctypes.c_void_p)
    session, arena = open_session(model, config)
    model.library.bitx_step(session, 0, None)  # what it computes is of no interest
    del arena
    return names.get(op_output, str(op_output))
