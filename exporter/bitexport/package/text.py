"""Sections 9 to 11 of the file: what a device needs to read and write text.

The second reader checks what was written, so a bundle never holds tables that a device refuses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.emit.bitx import CHAT, GENERATION, TOKENIZER
from bitexport.errors import CheckpointError, MismatchError
from bitexport.models.parts.facts import Facts
from bitexport.tokenizer.chat_section import chat_section, stop_tokens_of
from bitexport.tokenizer.confined import compile_confined
from bitexport.tokenizer.description import Description
from bitexport.tokenizer.find import GENERATION as GENERATION_FILE
from bitexport.tokenizer.find import (
    find_description,
    find_generation,
    find_special_tokens,
    find_template,
    read_template,
)
from bitexport.tokenizer.generation_section import (
    GGUF,
    generation_of_gguf,
    generation_section,
    left_out_of_gguf,
)
from bitexport.tokenizer.section import tokenizer_section
from bitexport_ref.bitx import BitxError
from bitexport_ref.text.chat import read_chat
from bitexport_ref.text.tables import read_tables

Depth = Literal["chat", "tokenizer", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WantedText:
    """How much of what a checkpoint says about text is wanted in the bundle."""

    depth: Depth = "chat"
    chat_template: Path | None = None
    """A template to take instead of the checkpoint's."""


EVERY_TEXT = WantedText()


def text_sections(
    checkpoint: Checkpoint, origin: Path, facts: Facts, wanted: WantedText,
    say: Callable[[str], None],
) -> Mapping[int, bytes]:  # fmt: skip
    """Return the sections by their numbers; `say` is told what a device does otherwise."""
    sections: dict[int, bytes] = {}
    generation = find_generation(origin)
    embedded = generation_of_gguf(checkpoint.metadata)
    if generation is not None:
        sections[GENERATION] = generation_section(generation)
    elif embedded is not None:
        sections[GENERATION] = generation_section(embedded, f"{checkpoint.path}: {GGUF}*")
        if left_out := left_out_of_gguf(checkpoint.metadata):
            say(f"sampling: not done on a device: {', '.join(left_out)}")
    description = None
    if wanted.depth != "none":
        description = find_description(origin, checkpoint.metadata)
    if description is None:
        if wanted.chat_template is not None:
            raise CheckpointError(
                f"{wanted.chat_template}: a chat template needs a tokenizer, and there is none",
                hint="put the model's tokenizer.json beside the checkpoint",
            )
        return sections
    sections[TOKENIZER] = tokenizer_section(description, facts.vocabulary)
    template = find_template(origin, checkpoint.metadata)
    if wanted.chat_template is not None:
        template = read_template(wanted.chat_template)
    if template is not None and wanted.depth == "chat":
        chat = compile_confined(template, find_special_tokens(origin, checkpoint.metadata))
        for remark in chat.remarks:
            say(f"chat: {remark}")
        stops = [*stop_tokens_of(chat, description), *_ends(generation or {}, facts, description)]
        sections[CHAT] = chat_section(chat, list(dict.fromkeys(stops)))
    _check(sections, facts.vocabulary)
    return dict(sorted(sections.items()))


def _ends(generation: Mapping[str, Any], facts: Facts, description: Description) -> list[int]:
    """Return the tokens that end a text by generation_config.json and not by config.json."""
    said = generation.get("eos_token_id")
    ends = said if isinstance(said, list) else [] if said is None else [said]
    if not all(type(end) is int for end in ends):
        raise CheckpointError(
            f"{GENERATION_FILE}: `eos_token_id` is {said!r}", hint="a token or a list is asked"
        )
    return [end for end in ends if end in description.tokens and end not in facts.eos]


def _check(sections: Mapping[int, bytes], vocabulary: int) -> None:
    try:
        read_tables(sections[TOKENIZER], vocabulary)
        if CHAT in sections:
            read_chat(sections[CHAT], vocabulary)
    except BitxError as error:
        raise MismatchError(
            f"the reference refuses the tokenizer just compiled: {error}",
            hint="its tables are written wrongly, a bug of bitexport",
        ) from error
