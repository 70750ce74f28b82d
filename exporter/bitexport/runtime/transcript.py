"""A transcript: what was given and what was chosen, on any device, so that it can be proven."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.errors import BundleError

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
