"""Compiles a chat template in a process of its own, with an end to its time and its memory.

A template is a program that came with a file: it may loop for ever, or ask for all memory there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping

from bitexport.errors import CheckpointError
from bitexport.tokenizer.chat_template import WAY_OUT, Chat, Strip, compile_chat

SECONDS, MEGABYTES = 60, 2048


def compile_confined(template: str, tokens: Mapping[str, str], *, seconds: float = SECONDS) -> Chat:
    """Return what `compile_chat` returns, or a CheckpointError when it takes too much."""
    command = [sys.executable, "-m", __name__]
    paths = os.pathsep.join(filter(None, sys.path))
    try:
        ended = subprocess.run(
            command, input=json.dumps([template, dict(tokens)]), capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": paths}, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            f"the chat template does not end within {seconds:g} seconds", hint=WAY_OUT
        ) from None
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise CheckpointError(
            f"the chat template cannot be run, in {MEGABYTES} MB: {last or ended.returncode}",
            hint=WAY_OUT,
        )
    said = json.loads(ended.stdout)
    if "refused" in said:
        raise CheckpointError(said["refused"], hint=said["hint"])
    return Chat(
        {(before, behind): text for before, behind, text in said["segments"]},
        {(before, behind): Strip(strip) for before, behind, strip in said["strips"]},
        tuple(said["remarks"]),
    )


def _compile(asked: str) -> str:
    """Do the work: JSON to JSON."""
    template, tokens = json.loads(asked)
    try:
        chat = compile_chat(template, tokens)
    except CheckpointError as error:
        return json.dumps({"refused": str(error), "hint": error.hint})
    segments = [[*pair, text] for pair, text in chat.segments.items()]
    strips = [[*pair, int(strip)] for pair, strip in chat.strips.items()]
    return json.dumps({"segments": segments, "strips": strips, "remarks": chat.remarks})


def _limit_memory() -> None:
    """Ask the system for a limit, where it has one to give."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on every system

        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))


if __name__ == "__main__":
    _limit_memory()
    sys.stdout.write(_compile(sys.stdin.read()))
