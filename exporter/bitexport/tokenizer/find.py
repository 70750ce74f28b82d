"""Finds the tokenizer that a checkpoint brings along, in whatever file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitexport.errors import CheckpointError
from bitexport.tokenizer import huggingface, sentencepiece_model, tiktoken_ranks
from bitexport.tokenizer.description import Description
from bitexport.tokenizer.gguf_metadata import read_gguf_tokenizer

CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
GENERATION = "generation_config.json"


def find_description(folder: Path, metadata: Mapping[str, Any]) -> Description | None:
    """Return the tokenizer of a checkpoint; None when it has none.

    Files in the folder come before what the metadata of a GGUF says, tokenizer.json before others.
    """
    path = folder / huggingface.FILE
    if path.is_file():
        return huggingface.read_tokenizer_json(_bytes(path))
    path = folder / sentencepiece_model.FILE
    if path.is_file():
        data = _bytes(path)
        if tiktoken_ranks.is_ranks(data):
            return tiktoken_ranks.read_tiktoken(data, path.name)
        return sentencepiece_model.read_sentencepiece(data, read_config(folder))
    for path in sorted(folder.glob("*.tiktoken")):
        return tiktoken_ranks.read_tiktoken(_bytes(path), path.name)
    return read_gguf_tokenizer(metadata)


def find_template(folder: Path, metadata: Mapping[str, Any]) -> str | None:
    """Return the chat template of a checkpoint in Jinja; None when it has none."""
    path = folder / TEMPLATE
    if path.is_file():
        return read_template(path)
    said = read_config(folder).get("chat_template", metadata.get("tokenizer.chat_template"))
    if isinstance(said, list):
        templates = [each for each in said if isinstance(each, dict)]
        named = [each.get("template") for each in templates if each.get("name") == "default"]
        said = named[-1] if named else None
    return said if isinstance(said, str) else None


def read_template(path: Path) -> str:
    """Return the text of a template."""
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: not UTF-8: {error}", hint="a chat template is a text in Jinja"
        ) from None


def find_special_tokens(folder: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the tokens that a chat template may call by name: `bos_token` and the like."""
    found: dict[str, str] = {}
    texts = metadata.get("tokenizer.ggml.tokens", ())
    texts = texts if isinstance(texts, Sequence) else ()
    for name in ("bos", "eos"):
        token = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if type(token) is int and 0 <= token < len(texts):
            found[f"{name}_token"] = str(texts[token])
    for name, said in read_config(folder).items():
        text = said.get("content") if isinstance(said, dict) else said
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def find_generation(folder: Path) -> Mapping[str, Any] | None:
    """Return what generation_config.json says; None when there is none."""
    path = folder / GENERATION
    return _object(path) if path.is_file() else None


def read_config(folder: Path) -> Mapping[str, Any]:
    """Return what tokenizer_config.json says; nothing, if there is none."""
    path = folder / CONFIG
    return _object(path) if path.is_file() else {}


def _object(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not a JSON object: {error}", hint="copy or download the file again"
        ) from None
    if not isinstance(said, dict):
        raise CheckpointError(f"{path}: not a JSON object", hint="copy or download the file again")
    return said


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", hint="is the checkpoint complete?"
        ) from None
