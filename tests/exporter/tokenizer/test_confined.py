"""A template that does not end, or asks for too much memory, is a sentence."""

import pytest
from tests.exporter.tokenizer.test_chat_template import CHATML, TOKENS

from bitexport.errors import CheckpointError
from bitexport.tokenizer.chat_template import compile_chat
from bitexport.tokenizer.confined import compile_confined


def test_a_confined_template_gives_the_same_segments() -> None:
    assert compile_confined(CHATML, TOKENS) == compile_chat(CHATML, TOKENS)


def test_an_endless_template_is_ended() -> None:
    many = "{% for i in range(99999) %}"
    with pytest.raises(CheckpointError, match="does not end within 2 seconds"):
        compile_confined(many + many + "{% endfor %}{% endfor %}" + CHATML, TOKENS, seconds=2)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10 ** 11 }}",
        "{{ '{:>9000000000}'.format(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
        "{% break %}",
        "\ud800",
        "{{ 1e400|int }}",
    ],
)
def test_a_hostile_template_is_a_sentence(template: str) -> None:
    with pytest.raises(CheckpointError, match="the chat template"):
        compile_confined(template + CHATML, TOKENS)
