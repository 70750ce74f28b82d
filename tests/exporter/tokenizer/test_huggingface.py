"""A tokenizer.json gives the tokens that tokenizers gives, or is refused by name."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.text.oracles import HuggingFace, compiled
from tests.text.parity import differing, differing_tokens
from tests.text.strings import strings
from tests.tiny_checkpoint import write_tokenizer
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from bitexport.errors import CheckpointError
from bitexport.tokenizer.huggingface import read_tokenizer_json
from bitexport.tokenizer.known_patterns import GPT2, LLAMA3
from bitexport_ref.text.stream import decode

SAMPLE = Path(__file__).parents[3] / "samples" / "stories"
CORPUS = (SAMPLE / "held-out.txt").read_text(encoding="utf-8")[:20_000]
SPECIAL = ("<s>", "</s>", "<|im_start|>")
LLAMA2 = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]


def _trained(
    model: models.BPE, *, size: int = 700, alphabet: bool = True, **parts: Any
) -> Tokenizer:
    """Train a vocabulary on stories and odd strings."""
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
    )
    tokenizer.train_from_iterator([CORPUS, *strings(9, 300)], trainer)
    return tokenizer


def _bytes(pre: Any, **parts: Any) -> Tokenizer:
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cut = pre_tokenizers.Sequence([*pre, last])
    return _trained(models.BPE(), pre_tokenizer=cut, decoder=decoders.ByteLevel(), **parts)


def _characters(**parts: Any) -> Tokenizer:
    """Return a tokenizer like LLaMA-2's, with a token for each byte."""
    trained = _trained(models.BPE(unk_token="<s>"), size=900, alphabet=False, **parts)
    said = json.loads(trained.to_str())
    vocabulary = said["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    kept = {
        text
        for text in vocabulary
        if ord(max(text)) < 0x250 or text == "\u2581" or "\u2581" in text
    }
    missing = [text for text in vocabulary if text not in kept]
    said["model"]["merges"] = [
        m for m in said["model"]["merges"] if not {*m, "".join(m)} & {*missing}
    ]
    for text in missing:
        del vocabulary[text]
    said["model"] |= {"byte_fallback": True, "fuse_unk": True}
    return Tokenizer.from_str(json.dumps(said))


def _split(pattern: str, behavior: str, *, invert: bool = False) -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: _trained(
        models.BPE(),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
    ),
    "gpt2 with a space": lambda: _trained(
        models.BPE(), pre_tokenizer=pre_tokenizers.ByteLevel(), decoder=decoders.ByteLevel()
    ),
    "llama3": lambda: _bytes([_split(LLAMA3, "isolated")]),
    "removed inverted": lambda: _bytes(
        [_split(GPT2.replace("|\\s+(?!\\S)|\\s+", "|\\s"), "removed", invert=True)]
    ),
    "nfc": lambda: _bytes([_split(GPT2, "isolated")], normalizer=normalizers.NFC()),
    "digits": lambda: _bytes(
        [pre_tokenizers.Digits(individual_digits=True), _split(GPT2, "isolated")]
    ),
    "runs of digits": lambda: _bytes([pre_tokenizers.Digits(individual_digits=False)]),
    "punctuation": lambda: _bytes(
        [pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Punctuation("isolated")]
    ),
    "merged": lambda: _bytes(
        [_split(" ", "merged_with_next"), _split("[0-9e]", "merged_with_previous")]
    ),
    "contiguous": lambda: _bytes([_split("[aeiou]|th", "contiguous")]),
    "a text": lambda: _bytes(
        [_split(r"[\r\n]", "isolated"), pre_tokenizers.Split("e ", "isolated")]
    ),
    "llama2": lambda: _characters(
        normalizer=normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        ),
        decoder=decoders.Sequence([*LLAMA2, decoders.Strip(" ", 1, 0)]),
    ),
    "metaspace first": lambda: _characters(
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        decoder=decoders.Sequence([*LLAMA2, decoders.Strip(" ", 1, 0)]),
    ),
    "metaspace always": lambda: _characters(
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
        decoder=decoders.Sequence([*LLAMA2, decoders.Strip(" ", 1, 0)]),
    ),
    "metaspace never": lambda: _characters(
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="never", split=True),
        decoder=decoders.Sequence(LLAMA2),
    ),
}


@pytest.fixture(params=sorted(MAKERS))
def made(request: pytest.FixtureRequest) -> Tokenizer:
    """Return each tokenizer of the list."""
    return MAKERS[request.param]()


def _same(tokenizer: Tokenizer, count: int = 1200) -> None:
    description = read_tokenizer_json(tokenizer.to_str().encode())
    ours, oracle = compiled(description), HuggingFace(tokenizer)
    special = [added.content for added in description.added]
    assert differing(ours, oracle, strings(11, count, special))[2] == 0
    assert differing(ours, oracle, [CORPUS])[2] == 0


def test_tokens_are_those_of_tokenizers(made: Tokenizer) -> None:
    _same(made)


def test_whole_pieces_and_fixed_tokens(made: Tokenizer) -> None:
    said = json.loads(made.to_str())
    said["model"]["ignore_merges"] = not said["model"]["byte_fallback"]
    said["model"]["merges"] = said["model"]["merges"][::-1]  # many tokens that merges do not give
    whole = Tokenizer.from_str(json.dumps(said))
    whole.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    _same(whole)


def test_whole_pieces_of_characters(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", 96)
    _same(Tokenizer.from_file(str(tmp_path / "tokenizer.json")))


def test_added_tokens_strip_and_overlap(made: Tokenizer) -> None:
    tokens = [
        AddedToken("<|l|>", lstrip=True, special=True, normalized=False),
        AddedToken("<|r|>", rstrip=True, normalized=False),
        AddedToken("<|b|>", lstrip=True, rstrip=True, special=True, normalized=False),
        AddedToken("<|r|><|b|>", normalized=False),
        AddedToken("the", normalized=False),
    ]
    made.add_tokens(tokens)
    _same(made)


def test_the_sample_there_and_back() -> None:
    path = SAMPLE / "model" / "tokenizer.json"
    ours = compiled(read_tokenizer_json(path.read_bytes()))
    assert len(ours.tables.tokens) == 512
    assert differing_tokens(ours, HuggingFace.of_file(path), 512) == 0
    for text in strings(13, 500):
        assert decode(ours.tables, ours.tokenizer.encode(text, special=False)) == text.replace(
            "\u2581", " "
        )


STORIES = compiled(read_tokenizer_json((SAMPLE / "model" / "tokenizer.json").read_bytes()))
STORIES_ORACLE = HuggingFace.of_file(SAMPLE / "model" / "tokenizer.json")


@given(st.text())
def test_any_text_has_the_tokens_of_tokenizers(text: str) -> None:
    assert list(STORIES.tokenizer.encode(text)) == STORIES_ORACLE.encode(text)


def test_normalized_tokens_are_found_in_normalized_text() -> None:
    made = MAKERS["nfc"]()
    made.add_tokens([AddedToken("\xe9t\xe9", normalized=True), AddedToken("  ", normalized=True)])
    _same(made)
    ours = compiled(read_tokenizer_json(made.to_str().encode())).tokenizer
    assert list(ours.encode("un e\u0301te\u0301")) == made.encode("un \xe9t\xe9").ids


def _changed(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(said: dict[str, Any]) -> None:
        at = said
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "unigram": (_changed(("model", "type"), "Unigram"), "is of type Unigram, not BPE"),
    "wordpiece": (_changed(("model", "type"), "WordPiece"), "is of type WordPiece, not BPE"),
    "dropout": (_changed(("model", "dropout"), 0.1), "drops merges at random"),
    "suffix": (_changed(("model", "end_of_word_suffix"), "</w>"), "has `end_of_word_suffix`"),
    "normalizer": (_changed(("normalizer",), {"type": "NFKC"}), "has the normalizer NFKC"),
    "lowercase": (_changed(("normalizer",), {"type": "Lowercase"}), "has the normalizer Lowercase"),
    "pre-tokenizer": (
        _changed(("pre_tokenizer",), {"type": "BertPreTokenizer"}),
        "has the pre-tokenizer BertPreTokenizer",
    ),
    "removed": (
        _changed(
            ("pre_tokenizer",),
            {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Removed", "invert": False},
        ),
        "splits at ` ` with Removed",
    ),
    "spaces": (_changed(("normalizer",), None), "leaves spaces as they are"),
    "single word": (_changed(("added_tokens", 1, "single_word"), True), "as a single word only"),
    "normalized": (
        _changed(("added_tokens", 1, "normalized"), True),
        "behind a space of its own making",
    ),
    "decoder": (
        _changed(("decoder",), {"type": "WordPiece", "prefix": "##", "cleanup": True}),
        "has no decoder ByteFallback",
    ),
    "post-processor": (
        _changed(("post_processor",), {"type": "Odd"}),
        "has the post-processor Odd",
    ),
    "unknown": (_changed(("model", "unk_token"), "<none>"), "the unknown token `<none>`"),
    "byte": (_changed(("model", "vocab", "<0x41>"), None), "not a tokenizer"),
    "whole pieces": (_changed(("model", "ignore_merges"), True), "takes whole pieces for tokens"),
    "merge": (_changed(("model", "merges", 0), ["x", "yz"]), "but has no token"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_expressed_is_refused_by_name(name: str) -> None:
    change, why = REFUSED[name]
    said = copy.deepcopy(json.loads((SAMPLE / "model" / "tokenizer.json").read_text()))
    change(said)
    with pytest.raises(CheckpointError, match=re.escape(why)):
        read_tokenizer_json(json.dumps(said).encode())


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"model": {"vocab": 3, "merges": 4}}', b"\xff"]
)
def test_a_damaged_file_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_tokenizer_json(text)
