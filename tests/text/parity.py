"""Compares compiled tokenizers with the models' own, at length: the parity table of the README.

    python -m tests.text.parity [--strings N] [--text FILE] TOKENIZER...

TOKENIZER is a folder with tokenizer.json or tokenizer.model, or a GGUF file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from tests.text.oracles import HuggingFace, Oracle, Ours, SentencePiece, compiled, of_gguf
from tests.text.strings import strings

from bitexport.tokenizer.find import find_description
from bitexport_ref.text.stream import decode

LINES = 64  # of a long text that are compared at once


def metadata_of(path: Path) -> dict[str, Any]:
    """Return the metadata of a GGUF file; none of a folder."""
    if path.is_dir():
        return {}
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def oracle_of(folder: Path, metadata: Mapping[str, Any], ours: Ours) -> Oracle:
    """Return the implementation that the files are made for."""
    if metadata:
        return of_gguf(metadata)
    if (folder / "tokenizer.json").is_file():
        return HuggingFace.of_file(folder / "tokenizer.json")
    return SentencePiece((folder / "tokenizer.model").read_bytes(), ours.tables.prefix_tokens)


def differing(ours: Ours, oracle: Oracle, texts: Iterable[str]) -> tuple[int, int, int]:
    """Return how many texts and tokens there were and how many texts differ; print the first."""
    count = tokens = wrong = 0
    for text in texts:
        count += 1
        expected = list(oracle.encode(text))
        found = list(ours.tokenizer.encode(text, special=oracle.shows_control))
        tokens += len(expected)
        if found != expected:
            wrong += 1
            if wrong == 1:
                print(f"{text!r}\n  {oracle.name}: {expected}\n  found: {found}", file=sys.stderr)
    return count, tokens, wrong


def differing_tokens(ours: Ours, oracle: Oracle) -> tuple[int, int]:
    """Return how many tokens there are, and how many differ as text or from their text."""
    wrong = 0
    for token in range(len(ours.tables.tokens)):
        expected = oracle.decode(token)
        found = decode(ours.tables, [token], show_control=oracle.shows_control)
        if found != expected or differing(ours, oracle, [expected])[2]:
            wrong += 1
            if wrong == 1:
                print(f"token {token}: {expected!r}, found {found!r}", file=sys.stderr)
    return len(ours.tables.tokens), wrong


def passages(path: Path) -> Iterable[str]:
    """Yield a text in pieces of some lines."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for start in range(0, len(lines), LINES):
        yield "".join(lines[start : start + LINES])


def main() -> int:
    """Print the table; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.text.parity")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--text", type=Path)
    parser.add_argument("folders", type=Path, nargs="+", metavar="TOKENIZER")
    asked = parser.parse_args()
    failed = False
    print("| tokenizer | against | tokens, each there and back | random strings | text | differ |")
    print("|---|---|---|---|---|---|")
    for folder in asked.folders:
        start = time.monotonic()
        metadata = metadata_of(folder)
        description = find_description(folder, metadata)
        if description is None:
            parser.error(f"{folder} holds no tokenizer")
        ours = compiled(description)
        oracle = oracle_of(folder, metadata, ours)
        special = [added.content for added in description.added][:16]
        count, token_wrong = differing_tokens(ours, oracle)
        texts, tokens, wrong = differing(ours, oracle, strings(5, asked.strings, special))
        read, read_wrong = 0, 0
        if asked.text is not None:
            _, read, read_wrong = differing(ours, oracle, passages(asked.text))
        failed |= bool(token_wrong or wrong or read_wrong)
        print(
            f"| {folder.stem} | {oracle.name} | {count:,} | {texts:,} ({tokens:,} tokens) "
            f"| {read:,} tokens | {token_wrong + wrong + read_wrong} |", flush=True,
        )  # fmt: skip
        print(f"{folder.name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
