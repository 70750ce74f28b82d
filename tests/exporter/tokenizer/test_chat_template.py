"""A compiled chat template says what transformers' apply_chat_template says, or is refused."""

import itertools
import random
import re

import pytest
from tests.text.strings import strings
from transformers.utils.chat_template_utils import render_jinja_template

from bitexport.errors import CheckpointError
from bitexport.tokenizer.chat_section import chat_section
from bitexport.tokenizer.chat_template import ROLES, Strip, compile_chat
from bitexport_ref.errors import BadRole
from bitexport_ref.text.chat import Message, Role, read_chat

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
WITH_SYSTEM = CHATML.replace(
    "{{ '<|im_start|>' +",
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' +",
)
TRIMMING = (
    "{% for message in messages %}\n  {%- if loop.first %}{{ bos_token }}{% endif %}\n"
    "    {% set content = message['role'] | capitalize + ': ' + message['content'] | trim"
    " + '<|eot_id|>' %}\n"
    "{{- content }}\n{%- endfor %}{%- if add_generation_prompt %}{{ 'Assistant: ' }}{%- endif %}"
)
ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
DATED = (
    "{% if strftime_now is defined %}{% set day = strftime_now('%d') %}"
    "{% else %}{% set day = '26' %}{% endif %}"
    "{{ 'day ' + day + '\n' }}" + CHATML
)
# What LLaMA-2 does: a system message is part of what the user says first, and both are stripped.
FOLDING = (
    "{% set told = messages[0].role == 'system' %}"
    "{% for message in (messages[1:] if told else messages) %}"
    "{% if message.role != ('user', 'assistant')[loop.index0 % 2] %}"
    "{{ raise_exception('in turns') }}{% endif %}"
    "{% set said = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' + message.content"
    " if told and loop.first else message.content %}"
    "{{ bos_token + '[INST] ' + said.strip() + ' [/INST]' if message.role == 'user'"
    " else ' ' + said.strip() + ' ' + eos_token }}{% endfor %}"
)
# What DeepSeek does: every system message goes to the front.
GATHERING = (
    "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<U>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<A>' + m.content + eos_token }}{% endif %}{% endfor %}"
    "{{ '<A>' if add_generation_prompt }}"
)
# What Qwen3 does: thoughts stand in the last answer alone.
THINKING = CHATML.replace(
    "message['content']",
    "('<think></think>' if loop.last and message.role == 'assistant' else '') + message['content']",
)
UNDATED = "the template writes the day of a conversation (`strftime_now`)"
TEMPLATES = {
    "chatml": CHATML,
    "with system": WITH_SYSTEM,
    "trimming": TRIMMING,
    "alternating": ALTERNATING,
}


def _expected(template: str, messages: list[Message], generate: bool) -> str | None:
    said = [{"role": str(m.role), "content": m.content} for m in messages]
    try:
        texts, _ = render_jinja_template(
            [said], chat_template=template, add_generation_prompt=generate, **TOKENS
        )
    except Exception:  # whatever the template raises
        return None
    return str(texts[0])


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_conversations_are_those_of_transformers(name: str) -> None:
    template = TEMPLATES[name]
    chat = read_chat(chat_section(compile_chat(template, TOKENS), [0]), 1)
    rng = random.Random(41)
    contents = list(strings(43, 400, ["<s>", "<|im_end|>"]))
    accepted = 0
    for size in range(1, 6):
        for roles in itertools.product(Role, repeat=size):
            messages = [Message(role, rng.choice(contents)) for role in roles]
            for generate in (True, False):
                expected = _expected(template, messages, generate)
                try:
                    found = chat.join(messages, generate=generate)
                except BadRole:
                    assert expected is None or (name == "alternating" and "system" in roles)
                    continue
                if expected is not None:
                    accepted += 1
                    assert found.text == expected
    assert accepted >= 10


def test_the_day_is_the_one_that_the_template_falls_back_to_and_that_is_said() -> None:
    chat = compile_chat(DATED, TOKENS)
    assert chat.segments["start", "user"].startswith("day 26\n")
    assert any(remark.startswith(UNDATED) for remark in chat.remarks)
    assert not any(UNDATED in remark for remark in compile_chat(CHATML, TOKENS).remarks)


def test_a_system_message_may_be_part_of_what_the_user_says_first() -> None:
    found = compile_chat(FOLDING, TOKENS)
    chat = read_chat(chat_section(found, [0]), 1)
    assert found.strips["start", "user"] == Strip.LEFT | Strip.RIGHT
    assert found.strips["system", "user"] == Strip.RIGHT
    assert ("start", "system") not in found.strips
    rng = random.Random(47)
    spaced = ["  a\n", "\t\u3000b ", "c", " d", "e\u00a0", *strings(48, 200)]
    contents = [text for text in spaced if text.strip()]
    for turns in range(4):
        for first in ([], [Role.SYSTEM]):
            roles = [*first, Role.USER, *[Role.ASSISTANT, Role.USER] * turns]
            for _ in range(25):
                messages = [Message(role, rng.choice(contents)) for role in roles]
                expected = _expected(FOLDING, messages, True)
                assert expected is not None
                assert chat.join(messages).text == expected
    assert any("empty contents of `user` in a conv" in remark for remark in found.remarks)


def test_one_end_alone_may_be_stripped() -> None:
    chat = compile_chat(ALTERNATING.replace(".strip()", ".lstrip()", 1), TOKENS)
    assert chat.strips["start", "user"] == Strip.LEFT
    assert chat.strips["user", "assistant"] == Strip.LEFT | Strip.RIGHT


@pytest.mark.parametrize(
    ("template", "without", "with_form"),
    [
        (FOLDING, {("user", "system"), ("user", "user")}, {("system", "user")}),
        (GATHERING, {("user", "system"), ("assistant", "system")}, {("system", "user")}),
        (THINKING, {("assistant", "stop")}, {("system", "user"), ("assistant", "user")}),
        (ALTERNATING, {("start", "system"), ("user", "user")}, {("user", "generate")}),
    ],
)
def test_what_a_template_writes_elsewhere_has_no_form(
    template: str, without: set[tuple[str, str]], with_form: set[tuple[str, str]]
) -> None:
    segments = set(compile_chat(template, TOKENS).segments)
    assert not without & segments
    assert with_form <= segments


def test_roles_that_the_template_does_not_speak_of_have_no_form_and_that_is_said() -> None:
    template = CHATML.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    chat = compile_chat(template, TOKENS)
    assert not any("system" in pair for pair in chat.segments)
    assert any("`system` after `start`" in remark for remark in chat.remarks)


def test_contents_that_the_template_looks_into_are_told() -> None:
    template = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    remarks = compile_chat(template, TOKENS).remarks
    assert any("contents of `assistant` that hold '</think>'" in remark for remark in remarks)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for %}", "no Jinja template"),
        (
            "{{ raise_exception('no chat') }}",
            "refuses the conversation user, and an answer to come: no chat",
        ),
        ("{{ messages[0].content }}", "does not hold the messages of user, assistant, user"),
        ("{{ messages | length }}" + CHATML, "cannot be said in segments between messages"),
        (
            CHATML.replace("message['content']", "message['content'] | upper"),
            "does not hold the messages",
        ),
        (
            CHATML.replace("message['content']", "message['content'].replace('\n', ' ')"),
            "with the contents",
        ),
        (
            CHATML.replace("message['content']", "message['content'].strip('\n')"),
            "with the contents",
        ),
        (
            "{{ strftime_now('%d') }}" + CHATML,
            "the day of a conversation (`strftime_now`) and has nothing to write instead",
        ),
        ("{{ messages.__class__.__mro__ }}" + CHATML, "refuses the conversation"),
    ],
)
def test_a_template_that_cannot_be_expressed_is_refused(template: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(why)) as caught:
        compile_chat(template, TOKENS)
    assert caught.value.hint is not None
    assert "--chat-template FILE" in caught.value.hint


def test_the_section_is_the_same_every_time() -> None:
    first, second = (chat_section(compile_chat(WITH_SYSTEM, TOKENS), [3, 5]) for _ in range(2))
    assert first == second
    assert set(read_chat(first, 9).segments) <= set(
        itertools.product(("start", *ROLES), (*ROLES, "generate", "stop"))
    )
    assert read_chat(first, 9).stop_tokens == (3, 5)


def test_too_many_ends_of_an_answer_are_refused() -> None:
    with pytest.raises(CheckpointError, match="9 tokens, 8 are kept"):
        chat_section(compile_chat(CHATML, TOKENS), range(9))
