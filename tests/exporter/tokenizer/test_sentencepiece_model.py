"""A tokenizer.model gives the tokens that sentencepiece gives, or is refused by name."""

import io
import re
from pathlib import Path

import pytest
import sentencepiece
from tests.text.oracles import SentencePiece, compiled, sentencepiece_model
from tests.text.parity import differing, differing_tokens
from tests.text.strings import strings

from bitexport.errors import CheckpointError
from bitexport.tokenizer.sentencepiece_model import read_sentencepiece

CORPUS = Path(__file__).parents[3] / "samples" / "stories" / "held-out.txt"
PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("\u2581", -1.0, 1), ("a", -2.0, 1)]


@pytest.fixture(scope="module", params=[True, False], ids=["bytes", "unknown"])
def model(request: pytest.FixtureRequest) -> bytes:
    """Return a BPE model trained on stories, with and without tokens for bytes."""
    lines = CORPUS.read_text(encoding="utf-8").splitlines()[:400] + ["aaa aaaa aaaaa"] * 20
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, model_type="bpe", vocab_size=600,
        byte_fallback=request.param, normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    return file.getvalue()


def test_tokens_are_those_of_sentencepiece(model: bytes) -> None:
    ours = compiled(read_sentencepiece(model, {}))
    oracle = SentencePiece(model, ours.tables.prefix_tokens)
    texts = ["", " ", "aaaaaaaaaaa", "a" * 500, " aaa  aaaa", *strings(23, 3000)]
    assert differing(ours, oracle, [text for text in texts if "\0" not in text])[2] == 0
    assert differing_tokens(ours, oracle, len(ours.tables.tokens)) == 0


def test_the_config_beside_it_says_what_is_put_around_a_text(model: bytes) -> None:
    said = {"add_bos_token": False, "add_eos_token": True}
    found = read_sentencepiece(model, said)
    assert (found.prefix_tokens, found.suffix_tokens) == ((), (2,))


def test_merges_that_give_one_piece_are_equals() -> None:
    pieces = [*PIECES, ("aa", -3.0, 1), ("aaa", -4.0, 1), ("aaaa", -4.0, 1)]
    model = sentencepiece_model(pieces, fallback=False)
    ours, oracle = (
        compiled(read_sentencepiece(model, {"add_bos_token": False})),
        SentencePiece(model),
    )
    assert differing(ours, oracle, ["a" * size for size in range(40)])[2] == 0


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (sentencepiece_model(PIECES, kind=1), "is of type Unigram, not BPE"),
        (sentencepiece_model(PIECES, kind=4), "is of type Char, not BPE"),
        (sentencepiece_model(PIECES, normalizer=b"\x20\x01"), "removes spaces that follow a space"),
        (sentencepiece_model(PIECES, normalizer=b"\x12\x01x\x20\x00"), "a map of characters"),
        (sentencepiece_model(PIECES, normalizer=b"\x20\x00\x28\x00"), "leaves spaces as they are"),
        (sentencepiece_model([*PIECES, ("<u>", 0.0, 4)]), "the user-defined piece `<u>`"),
        (sentencepiece_model([*PIECES, ("u", 0.0, 5)]), "the unused piece `u`"),
        (sentencepiece_model([*PIECES, ("ab", 0.0, 1)]), "none for its character `b`"),
        (sentencepiece_model([*PIECES, ("a", 0.0, 1)]), "the piece `a` twice"),
        (sentencepiece_model([*PIECES, ("<0x41>", 0.0, 6)]), "no token for the byte 0x00"),
        (sentencepiece_model(PIECES)[:-3], "not a SentencePiece model"),
        (b"\xff" * 40, "not a SentencePiece model"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(model: bytes, why: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(why)):
        read_sentencepiece(model, {})
