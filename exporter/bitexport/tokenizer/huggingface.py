"""Reads tokenizer.json, the form of the Hugging Face `tokenizers` package.

Each part of the file is translated or refused by name.  Truncation and padding concern batches of
training examples and are not asked.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import unicodedata2

from bitexport.errors import CheckpointError
from bitexport.tokenizer.automaton import always_matches, compile_pattern, partition, sets_of
from bitexport.tokenizer.byte_level import (
    NEVER_IN_UTF8,
    byte_level,
    numbered_merges,
    with_digits_of_bytes,
)
from bitexport.tokenizer.characters import numeric, of_ranges, of_text, punctuation
from bitexport.tokenizer.description import (
    MARK,
    Added,
    Description,
    Kind,
    Pattern,
    Prefix,
    Tail,
    with_words,
)
from bitexport.tokenizer.known_patterns import GPT2
from bitexport.tokenizer.pattern import (
    Ahead,
    Either,
    Node,
    One,
    Repeat,
    Row,
    literal,
    parse_pattern,
)
from bitexport.tokenizer.refusal import refuse
from bitexport.tokenizer.scored_pieces import BYTE_TOKENS

FILE = "tokenizer.json"
VISIBLE_ASCII = of_ranges([(0x21, 0x7E)])


def read_tokenizer_json(text: bytes) -> Description:
    """Return what a tokenizer.json describes; what cannot be expressed is a CheckpointError."""
    try:
        said = json.loads(text)
        return _read(said)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{FILE}: not a tokenizer: {type(error).__name__}: {error}",
            hint="copy the tokenizer.json that the model was trained with",
        ) from None


def _read(said: Mapping[str, Any]) -> Description:
    model = said["model"]
    _check_model(model)
    text = _Preparation()
    text.normalize(said.get("normalizer"))
    text.cut(said.get("pre_tokenizer"))
    if text.bytes_at is not None and model.get("byte_fallback"):
        refuse("has byte fallback beside the pre-tokenizer `ByteLevel`")
    read = _read_bytes if text.bytes_at is not None else _read_characters
    plain = read(model, text)
    added = _added(said.get("added_tokens") or [], model["vocab"], text)
    prefix, suffix = _fixed_tokens(said.get("post_processor"))
    drop = _drops_space(said.get("decoder"), plain)
    described = dataclasses.replace(
        plain, added=added, nfc=text.nfc, spaces_marked=text.marked, prefix=text.prefix,
        prefix_unless_there=text.unless_there, stages=tuple(text.stages), prefix_tokens=prefix,
        suffix_tokens=suffix, drop_first_space=drop,
    )  # fmt: skip
    return with_digits_of_bytes(described) if text.digits_of_bytes else with_words(described)


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type", "BPE" if "merges" in model else "of a type it does not name")
    if kind != "BPE":
        refuse(f"is of type {kind}, not BPE")
    if model.get("dropout"):
        refuse(f"drops merges at random (`dropout` is {model['dropout']})")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            refuse(f"has `{key}`")


class _Preparation:
    """What happens to text before merging, in the order of TEXT.md."""

    def __init__(self) -> None:
        self.nfc = False
        self.marked = False
        self.prefix = Prefix.NEVER
        self.unless_there = False
        self.normalizer_prefixes = False
        self.stages: list[Pattern | Tail] = []
        self.bytes_at: int | None = None
        """How many stages come before ByteLevel."""
        self.digits_of_bytes = False

    def normalize(self, said: Mapping[str, Any] | None) -> None:
        for step in _flat(said, "normalizers"):
            match step:
                case {"type": "NFC"} if not (self.marked or self.prefix):
                    self.nfc = True
                case {"type": "Prepend", "prepend": " " | "\u2581" as sign} if not self.prefix:
                    self.prefix = Prefix.EVERY_SEGMENT
                    self.normalizer_prefixes = True
                    prefixes_mark = sign == MARK
                    if not prefixes_mark and self.marked:
                        refuse("has a normalizer that prepends a space and leaves it")
                case {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}:
                    self.marked = True
                case _:
                    refuse(f"has the normalizer {_named(step)}")
        if (
            self.prefix
            and not self.marked
            and any(step.get("prepend") == MARK for step in _flat(said, "normalizers"))
        ):
            refuse("prepends U+2581 and leaves spaces as they are")

    def cut(self, said: Mapping[str, Any] | None) -> None:
        for step in _flat(said, "pretokenizers"):
            match step:
                case {"type": "ByteLevel"}:
                    self._byte_level(step)
                case {"type": "Metaspace"}:
                    self._metaspace(step)
                case {"type": "Digits"}:
                    self._digits(bool(step.get("individual_digits")))
                case {"type": "Punctuation"}:
                    behavior = step.get("behavior", "Isolated")
                    self._split(One(punctuation()), "Punctuation", behavior, False)
                case {"type": "Split", "pattern": {"Regex": str(regex)}}:
                    node = parse_pattern(regex)
                    self._split(node, regex, step["behavior"], bool(step.get("invert")))
                case {"type": "Split", "pattern": {"String": str(text)}}:
                    if text:
                        invert = bool(step.get("invert"))
                        self._split(literal(text), text, step["behavior"], invert)
                case _:
                    refuse(f"has the pre-tokenizer {_named(step)}")

    def _byte_level(self, step: Mapping[str, Any]) -> None:
        if self.bytes_at is not None:
            refuse("turns text into bytes twice")
        if step.get("add_prefix_space", True):
            if self.stages or self.prefix:
                refuse("has the pre-tokenizer ByteLevel add a space inside a text")
            self.prefix, self.unless_there = Prefix.EVERY_SEGMENT, True
            if self.marked:
                refuse("has the pre-tokenizer ByteLevel beside U+2581 for spaces")
        if step.get("use_regex", True):
            self.stages.append(Pattern(parse_pattern(GPT2), GPT2))
        self.bytes_at = len(self.stages)

    def _metaspace(self, step: Mapping[str, Any]) -> None:
        if self.stages or self.bytes_at is not None or step.get("replacement") != MARK:
            refuse(f"has the pre-tokenizer {_named(step)} there")
        scheme = _scheme(step)
        if scheme != "never":
            if self.prefix:
                refuse("puts a space before a text twice")
            every = scheme == "always"
            self.prefix = Prefix.EVERY_SEGMENT if every else Prefix.START_OF_TEXT
            self.unless_there = True
        self.marked = True
        if step.get("split", True):
            self._split(One(of_text(MARK)), MARK, "MergedWithNext", False)

    def _digits(self, single: bool) -> None:
        if self.bytes_at is None:
            digits: Node = One(numeric())
            self.stages.append(Pattern(digits if single else Repeat(digits, 1, None), "Digits"))
            return
        self.digits_of_bytes = True
        digits = One(of_ranges([(0x30, 0x39)]))
        self.stages.append(Pattern(digits if single else Repeat(digits, 1, None), "Digits"))

    def _split(self, node: Node, name: str, behavior: str, invert: bool) -> None:
        if self.bytes_at is not None and not _visible(node):
            refuse(f"cuts bytes at the pattern `{name}`")
        tail = _tail(node)
        if behavior == "Isolated":
            if tail is not None:
                self.stages.append(Tail(tail))
                return
        elif behavior == "Removed" and invert:
            parts = partition(list(sets_of(node)))
            if not always_matches(compile_pattern(node, parts, name)):
                refuse(f"removes what the pattern `{name}` does not match")
        elif behavior == "Contiguous" and not invert:
            node = Repeat(node, 1, None)
        elif behavior in {"MergedWithPrevious", "MergedWithNext"} and not invert:
            node = _merged_with(node, name, behavior == "MergedWithNext")
        else:
            refuse(f"splits at `{name}` with {behavior}{' inverted' if invert else ''}")
        self.stages.append(Pattern(node, name))


def _scheme(step: Mapping[str, Any]) -> str:
    """Return where Metaspace puts a space; files of old say it otherwise."""
    old = "always" if step.get("add_prefix_space") else "never"
    return str(step.get("prepend_scheme", old))


def _flat(said: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a Sequence, of one in it too."""
    if said is None:
        return
    if said["type"] != "Sequence":
        yield said
        return
    for step in said[key]:
        yield from _flat(step, key)


def _named(step: Mapping[str, Any]) -> str:
    said = ", ".join(f"{key} {value!r}" for key, value in step.items() if key != "type")
    return f"{step['type']}" + (f" ({said})" if said else "")


def _visible(node: Node) -> bool:
    """Return whether a pattern speaks only of characters that are the same among bytes."""
    match node:
        case Ahead():
            return False
        case One():
            return not (node.characters & ~VISIBLE_ASCII).any()
        case Row():
            return all(map(_visible, node.parts))
        case Either():
            return all(map(_visible, node.branches))
        case Repeat():
            return _visible(node.body)


def _tail(node: Node) -> Node | None:
    r"""Return the set of a pattern like `\s+$`, which a search would be slow for."""
    match node:
        case Row((Repeat(One() as one, 1, None, greedy=True), Ahead() as ahead)):
            if ahead.end and not (ahead.characters & ~one.characters).any():
                return _ends_text(one, ahead)
    return None


def _ends_text(one: One, ahead: Ahead) -> Node | None:
    return None if ahead.characters.any() else one


def _merged_with(node: Node, name: str, next_: bool) -> Node:
    while isinstance(node, Row) and len(node.parts) == 1:
        node = node.parts[0]
    if not isinstance(node, One):
        refuse(f"merges the matches of `{name}`, more than a character, with what is beside them")
    others = One(~node.characters)
    some: Node = Repeat(others, 0, None)
    return Either((Row((node, some) if next_ else (some, node)), Repeat(others, 1, None)))


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = {str(text): int(token) for text, token in model["vocab"].items()}
    if len(set(vocabulary.values())) < len(vocabulary) or min(vocabulary.values(), default=0) < 0:
        refuse("has one number for two tokens")
    return vocabulary


def _unknown(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> int | None:
    token = model.get("unk_token")
    if token is not None and token not in vocabulary:
        refuse(f"has the unknown token `{token}`, which is not in its vocabulary")
    return None if token is None else vocabulary[token]


def _read_bytes(model: Mapping[str, Any], text: _Preparation) -> Description:
    vocabulary = _vocabulary(model)
    plain = byte_level(vocabulary, map(_pair, model["merges"]), bool(model.get("ignore_merges")))
    return dataclasses.replace(
        plain, unknown=_unknown(model, vocabulary), fuse_unknown=bool(model.get("fuse_unk"))
    )


def _pair(merge: Any) -> str | tuple[str, str]:
    if isinstance(merge, str):
        return merge
    first, second = merge
    return first, second


def _read_characters(model: Mapping[str, Any], text: _Preparation) -> Description:
    vocabulary = _vocabulary(model)
    byte_tokens: dict[int, int] = {}
    if model.get("byte_fallback"):
        byte_tokens = {b: vocabulary[name] for name, b in BYTE_TOKENS.items() if name in vocabulary}
        missing = [b for b in range(256) if b not in byte_tokens and b not in NEVER_IN_UTF8]
        if byte_tokens and missing:
            refuse(f"falls back to bytes and has no token for the byte {missing[0]:#04x}")
    if byte_tokens and model.get("ignore_merges"):
        refuse("takes whole pieces for tokens (`ignore_merges`) and falls back to bytes")
    of_bytes = {token: bytes([byte]) for byte, token in byte_tokens.items()}
    if not text.marked:
        refuse("has characters for symbols and leaves spaces as they are")
    return Description(
        kind=Kind.CHARACTERS,
        tokens={
            token: of_bytes.get(token, name.replace(MARK, " ").encode())
            for name, token in vocabulary.items()
        },
        merges=numbered_merges(map(_pair, model["merges"]), vocabulary),
        byte_tokens=byte_tokens,
        characters={name: token for name, token in vocabulary.items() if len(name) == 1},
        unknown=_unknown(model, vocabulary),
        fuse_unknown=bool(model.get("fuse_unk")),
        whole={
            name.replace(MARK, " ").encode(): token
            for name, token in vocabulary.items()
            if " " not in name
        }
        if model.get("ignore_merges")
        else None,
    )


def _added(
    said: list[Mapping[str, Any]], vocabulary: Mapping[str, int], text: _Preparation
) -> tuple[Added, ...]:
    found: dict[str, Added] = {}
    for entry in said:
        content = entry["content"]
        if not content:
            continue
        content.encode()  # half a surrogate pair is a ValueError
        if entry.get("single_word"):
            refuse(f"finds its added token `{content}` as a single word only")
        if vocabulary.get(content, entry["id"]) != entry["id"] or content in found:
            refuse(f"has its added token `{content}` under two numbers")
        found[content] = Added(
            token=int(entry["id"]), content=content, control=bool(entry.get("special")),
            lstrip=bool(entry.get("lstrip")), rstrip=bool(entry.get("rstrip")),
            normalized=bool(entry.get("normalized", not entry.get("special"))),
        )  # fmt: skip
    added = tuple(found.values())
    later = [each for each in added if each.normalized]
    if not later:
        return added
    if text.normalizer_prefixes or (text.nfc and text.prefix):
        refuse(f"looks for its added token `{later[0].content}` behind a space of its own making")
    if text.nfc:
        for each in later:
            if unicodedata2.normalize("NFC", each.content) != each.content:
                refuse(f"has the added token `{each.content}`, not in normalization form C")
        return added
    if text.marked and any(" " in each.content or MARK in each.content for each in later):
        refuse("looks for an added token with a space where spaces are U+2581")
    if len(later) < len(added) and _overlap([each.content for each in added]):
        refuse("has added tokens, normalized and not, that overlap")
    return tuple(dataclasses.replace(each, normalized=False) for each in added)


def _overlap(contents: list[str]) -> bool:
    """Return whether two tokens may claim a piece of text both."""
    beginnings = {text[:size] for text in contents for size in range(1, len(text))}
    whole = set(contents)
    for text in contents:
        for start in range(len(text)):
            if start and text[start:] in beginnings:
                return True
            for end in range(start + 1, len(text) + 1):
                if end - start < len(text) and text[start:end] in whole:
                    return True
    return False


def _fixed_tokens(said: Mapping[str, Any] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    before: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()
    for step in _flat(said, "processors"):
        match step:
            case {"type": "ByteLevel"}:
                continue
            case {"type": "TemplateProcessing", "single": list(parts)}:
                first, last = _template(parts, step["special_tokens"])
            case {"type": "BertProcessing" | "RobertaProcessing", "sep": sep, "cls": cls}:
                first, last = (int(cls[1]),), (int(sep[1]),)
            case _:
                refuse(f"has the post-processor {_named(step)}")
        before, behind = first + before, behind + last
    return before, behind


def _template(
    parts: list[Mapping[str, Any]], special: Mapping[str, Any]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sides: tuple[list[int], list[int]] = ([], [])
    texts = 0
    for part in parts:
        match part:
            case {"SpecialToken": {"id": str(name)}}:
                sides[texts].extend(map(int, special[name]["ids"]))
            case {"Sequence": {"id": "A"}} if not texts:
                texts = 1
            case _:
                refuse("has a template that does not put one text among special tokens")
    if not texts:
        refuse("has a template without a text")
    return tuple(sides[0]), tuple(sides[1])


def _drops_space(said: Mapping[str, Any] | None, plain: Description) -> bool:
    """Return whether decoding drops the first space; another decoder is refused."""
    steps = [_decoder_name(step) for step in _flat(said, "decoders")]
    if plain.kind is Kind.BYTES:
        if [step for step in steps if step != "Fuse"] != ["ByteLevel"]:
            refuse(f"has the decoder {' and '.join(steps) or 'of words'} for bytes")
        return False
    rest = list(steps)
    if plain.byte_tokens and "ByteFallback" not in rest:
        refuse("falls back to bytes and has no decoder ByteFallback")
    if "ByteFallback" in rest:
        rest.remove("ByteFallback")
    match rest:
        case ["Replace" | "Metaspace"] | ["Replace", "Fuse"]:
            return False
        case ["Replace", "Fuse", "Strip"]:
            return True
        case ["Metaspace, dropping"]:
            twice = [text for text in plain.tokens.values() if text.count(b" ") > 1]
            if twice:
                refuse(f"drops every space of a first token like `{twice[0].decode()}`")
            return True
    return refuse(f"has the decoder {' and '.join(steps) or 'of words'}")


def _decoder_name(step: Mapping[str, Any]) -> str:
    match step:
        case {"type": "ByteLevel" | "ByteFallback" | "Fuse" as name}:
            return str(name)
        case {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}:
            return "Replace"
        case {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
            return "Strip"
        case {"type": "Metaspace", "replacement": "\u2581"}:
            return "Metaspace" if _scheme(step) == "never" else "Metaspace, dropping"
        case _:
            return _named(step)
