"""A text becomes windows: every token once, every byte once, nothing cut off in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from bitexport.errors import CheckpointError
from bitexport.evaluate.windows import Text, read_text, tokenize
from bitexport.tokenizer.text import load_tokenizer

SAMPLE = Path(__file__).parents[3] / "samples" / "stories"
VOCABULARY = 512


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Return the tokenizer of the story model: it begins a text with token 1, and knows bytes."""
    return load_tokenizer(SAMPLE / "model")


@pytest.fixture
def bare(tokenizer: Tokenizer) -> Tokenizer:
    """Return the same without a begin token."""
    tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    return tokenizer


def text_of(tokens: int, prefix: tuple[int, ...]) -> Text:
    """Return a text of tokens 10, 11 and so on, of one byte each."""
    return Text("t", "", prefix, tuple(range(10, 10 + tokens)), (1,) * tokens)


def test_with_a_begin_token_every_token_is_predicted_once() -> None:
    windows = text_of(8, (1,)).windows(4)
    assert [window.tokens for window in windows] == [(1, 10, 11, 12), (1, 13, 14, 15), (1, 16, 17)]
    predicted = [token for window in windows for token in window.tokens[window.first :]]
    assert predicted == list(range(10, 18))
    assert [window.predicted_bytes for window in windows] == [3, 3, 2]


def test_without_one_the_first_token_of_each_window_is_not() -> None:
    windows = text_of(8, ()).windows(4)
    assert [window.tokens for window in windows] == [(10, 11, 12, 13), (14, 15, 16, 17)]
    assert [window.first for window in windows] == [1, 1]
    assert [window.predicted for window in windows] == [3, 3]
    assert [window.predicted_bytes for window in windows] == [3, 3]


def test_a_last_window_of_one_token_predicts_nothing_and_is_left_out() -> None:
    assert len(text_of(9, ()).windows(4)) == 2
    assert text_of(7, (1,)).windows(4)[-1].tokens == (1, 16)


@pytest.mark.parametrize(("prefix", "context"), [((), 1), ((1,), 1), ((1, 2), 2)])
def test_a_window_that_predicts_nothing_is_refused(prefix: tuple[int, ...], context: int) -> None:
    with pytest.raises(CheckpointError, match=f"a window of {context} tokens predicts none"):
        text_of(9, prefix).windows(context)


def test_the_begin_token_is_the_tokenizers_not_one_that_the_text_spells(
    tokenizer: Tokenizer,
) -> None:
    text = tokenize("t", "<s>Once", tokenizer, VOCABULARY)
    assert text.prefix == (1,)
    assert text.tokens[:1] == (1,)
    assert text.tokens == tuple(tokenizer.encode("<s>Once", add_special_tokens=False).ids)


@pytest.mark.parametrize("words", ["Once upon a time", "é 日本\n\n😀 x", "日", "a\r\nb\tc  d"])
def test_tokens_stand_for_every_byte_of_the_text(words: str, tokenizer: Tokenizer) -> None:
    text = tokenize("t", words, tokenizer, VOCABULARY)
    assert sum(text.token_bytes) == len(words.encode())
    assert min(text.token_bytes) >= 0
    windows = text.windows(3)
    assert sum(window.predicted_bytes for window in windows) == len(words.encode())


def test_a_tokenizer_that_cuts_training_examples_does_not_cut_a_text(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4096)
    assert len(tokenize("t", "a b c d e f g h", tokenizer, VOCABULARY).tokens) > 7


def test_only_the_first_tokens_are_kept_when_asked(tokenizer: Tokenizer) -> None:
    whole = tokenize("t", "Once upon a time", tokenizer, VOCABULARY)
    part = tokenize("t", "Once upon a time", tokenizer, VOCABULARY, most=2)
    assert part.tokens == whole.tokens[:2]
    assert part.prefix == whole.prefix


def test_a_text_without_a_token_to_predict_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="t: holds 0 tokens, of which none can be predicted"):
        tokenize("t", "", tokenizer, VOCABULARY)
    assert tokenize("t", "a", tokenizer, VOCABULARY).windows(8)[0].predicted == 1


def test_without_begin_token_one_token_is_too_few(bare: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="holds 1 tokens, of which none"):
        tokenize("t", "Once", bare, VOCABULARY, most=1)


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="gives token 403, the model knows 100"):
        tokenize("t", "Once", tokenizer, 100)


def test_a_file_is_read_as_its_bytes_say(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"a\r\nb")
    assert sum(read_text(path, tokenizer, VOCABULARY).token_bytes) == 4
    path.write_bytes(b"abc\xff")
    with pytest.raises(CheckpointError, match=r"t\.txt: is no text in UTF-8: byte 3 is 0xff"):
        read_text(path, tokenizer, VOCABULARY)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_text(tmp_path / "none", tokenizer, VOCABULARY)
