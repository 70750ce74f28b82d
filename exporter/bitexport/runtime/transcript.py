"""A transcript: what was given and what was chosen, on any device, so that it can be proven."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError
from bitexport_ref.arithmetic import check_arithmetic, stored_arithmetic
from bitexport_ref.bitx import BitxError, open_bitx

VERSION = 2
_FLOATS = ("temperature", "top_p", "min_p", "repetition", "presence", "frequency")
_WHOLE = ("top_k", "window", "seed")


@dataclasses.dataclass(frozen=True)
class Transcript:
    """Tokens before an answer, those of the answer, and how they were chosen.

    `sampler` has the fields of NUMERICS.md, section 8; `arithmetic` is what model.bitx says in the
    section of that name (FORMAT.md, 3.12), in hex: equal for every target and layout.
    """

    arithmetic: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    sampler: Mapping[str, float]

    def to_json(self) -> str:
        """Return the text of a transcript file."""
        facts = {"transcript": VERSION, **dataclasses.asdict(self)}
        facts["sampler"] = dict(sorted(self.sampler.items()))
        return json.dumps(facts, indent=2) + "\n"


def read_transcript(path: Path) -> Transcript:
    """Read a transcript file; what it lacks is named."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", hint="`run --record` writes one") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not valid JSON: {error}", hint="record it again") from error
    match facts:
        case {"transcript": 2, "arithmetic": str(), "prompt": [*prompt], "tokens": [*tokens],
              "sampler": dict() as sampler}:  # fmt: skip
            pass
        case _:
            raise BundleError(
                f"{path}: not a transcript that this version understands",
                hint="it has transcript 2, arithmetic, prompt, tokens and sampler (README)",
            )
    for token in (*prompt, *tokens):
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            raise BundleError(f"{path}: `{token}` is not a token", hint="record it again")
    if not prompt or not tokens:
        raise BundleError(
            f"{path}: holds no {'tokens' if prompt else 'prompt'}: there is nothing to prove",
            hint="record an answer of at least one token",
        )
    return Transcript(facts["arithmetic"], tuple(prompt), tuple(tokens), _numbers(path, sampler))


def require_fitting(path: Path, transcript: Transcript, bundle: Bundle) -> None:
    """Refuse a transcript of another model, of other options of numbers, or of other tokens."""
    limits = bundle.manifest["model"]
    ours = arithmetic_of(bundle)
    if transcript.arithmetic != ours:
        raise BundleError(
            f"{path}: recorded with another model, or with other options of numbers (arithmetic "
            f"{transcript.arithmetic[:16]}..., the bundle's is {ours[:16]}...)",
            hint="verify it with a bundle of the checkpoint and options that were on the device; "
            "its target and layout may be others",
        )
    if (most := max(*transcript.prompt, *transcript.tokens)) >= int(limits["vocabulary"]):
        raise BundleError(
            f"{path}: token {most} is outside the vocabulary of {limits['vocabulary']}",
            hint="record it again",
        )
    if len(transcript.prompt) + len(transcript.tokens) > int(limits["context"]) + 1:
        raise BundleError(
            f"{path}: {len(transcript.prompt)} and {len(transcript.tokens)} tokens pass the "
            f"context of {limits['context']}",
            hint="an answer that shifted its context cannot be proven in one pass",
        )


def arithmetic_of(bundle: Bundle) -> str:
    """Return the identity of what a bundle computes, after finding it again in its weights."""
    try:
        bitx = open_bitx(bundle.data)
        check_arithmetic(bitx)
        said = stored_arithmetic(bitx)
    except (BitxError, OSError) as error:
        raise BundleError(f"{bundle.data}: {error}", hint="build the bundle again") from error
    if said is None:
        raise BundleError(
            f"{bundle.data}: does not say what it computes",
            hint="build the bundle again with this version of bitexport",
        )
    return said.hex()


def _numbers(path: Path, sampler: Mapping[str, Any]) -> dict[str, float]:
    for name, value in sampler.items():
        whole = name in _WHOLE and isinstance(value, int)
        real = name in _FLOATS and isinstance(value, int | float) and math.isfinite(value)
        if isinstance(value, bool) or not (whole or real):
            raise BundleError(
                f"{path}: sampler: `{name}` = {value} means nothing",
                hint=f"known are {', '.join((*_FLOATS, *_WHOLE))}",
            )
    return dict(sampler)
