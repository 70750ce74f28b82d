"""A model called from Python: what it refuses is said in a sentence, with the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, TextError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import HostModel, Message, open_model
from bitexport.runtime.emulated import MOST_MESSAGES, MOST_STOPS, EmulatedModel
from bitexport.runtime.session import Answer
from bitexport.targets import find_target

TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %} {% endif %}"
    "{{ message['content'] | trim }}{% endfor %}"
)
USER, ASSISTANT, SYSTEM = (Message(role, "Once") for role in ("user", "assistant", "system"))


@pytest.fixture(scope="module")
def model(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostModel]:
    """Return a tiny model with a chat template that lets every role but a second system speak."""
    folder = tmp_path_factory.mktemp("model")
    checkpoint = Path(shutil.copytree(tiny.path, folder / "checkpoint"))
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
        "{{ raise_exception('too late') }}{% endif %}{% endfor %}" + TEMPLATE
    )
    settings = json.dumps({"chat_template": template})
    (checkpoint / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    wanted = Wanted(self_test=False)
    build_bundle(checkpoint, find_target("host"), Options(), folder / "out", wanted)
    with open_model(folder / "out") as opened:
        yield opened


def test_text_there_and_back(model: HostModel) -> None:
    tokens = model.encode("Once upon a time, there was")
    assert model.decode(tokens) == "Once upon a time, there was"
    assert model.encode("") == []
    assert model.decode([]) == ""


@pytest.mark.parametrize(
    ("text", "at"), [(b"Once \xff", 5), ("Once \ud800", 5), ("\u00e9\udcff", 2), (b"\xc3", 0)]
)
def test_ill_formed_text_is_refused_and_the_byte_named(
    text: str | bytes, at: int, model: HostModel
) -> None:
    with pytest.raises(TextError, match=f"byte {at} of the text is not UTF-8"):
        model.encode(text)


def test_tokens_that_the_model_does_not_have_are_refused(model: HostModel) -> None:
    for token in (-1, model.vocabulary):
        with pytest.raises(BundleError, match=rf"outside the vocabulary \(token {token}\)"):
            model.decode([3, token])


def test_a_conversation_goes_on_with_its_new_messages_alone(model: HostModel) -> None:
    begun = model.chat_tokens([SYSTEM, USER, ASSISTANT], generate=False)
    assert begun + model.chat_tokens([USER], after="assistant") == model.chat_tokens(
        [SYSTEM, USER, ASSISTANT, USER]
    )


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ([Message("robot", "x")], "there is no role `robot`"),  # type: ignore[arg-type]
        ([USER, SYSTEM], "no form for these roles: user, system"),
        ([USER, Message("user", "\udcff")], "message 2 is not UTF-8"),
    ],
)
def test_a_conversation_without_form_is_refused(
    said: list[Message], says: str, model: HostModel
) -> None:
    with pytest.raises(TextError, match=says) as caught:
        model.chat_tokens(said)
    assert caught.value.hint


def test_a_model_without_a_template_says_so(host_bundle: Bundle) -> None:
    with open_model(host_bundle.path) as mute:
        assert not mute.has_chat
        with pytest.raises(BundleError, match="holds no chat template") as caught:
            mute.chat_tokens([USER])
    assert "--chat-template" in str(caught.value.hint)


def test_a_model_that_asks_for_nothing_chooses_greedily(model: HostModel) -> None:
    assert model.sampler().temperature == 0
    assert model.sampler(temperature=0.5, seed=7).seed == 7


@pytest.mark.parametrize(
    ("prompt", "answer", "says"),
    [
        ([Message("robot", "x")], Answer(), "there is no role `robot`"),  # type: ignore[arg-type]
        ([USER] * (MOST_MESSAGES + 1), Answer(), "49 messages, an emulated core takes 48"),
        ("Once", Answer(stop=["x"] * (MOST_STOPS + 1)), "9 stop strings, an emulated core takes 8"),
    ],
)
def test_what_an_emulated_core_is_not_asked(prompt: Any, answer: Answer, says: str) -> None:
    core = EmulatedModel(find_target("host"), "native", Path("absent"), Path("absent"))
    with pytest.raises(TextError, match=says):
        list(core.answer(prompt, {}, answer))
