"""A tiny random model that can be called from Python, and the story model on every core."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_checkpoint import write_checkpoint

from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import HostModel, open_model
from bitexport.targets import Target, find_target
from bitexport_ref.bitx import CHAT, TOKENIZER, open_bitx
from bitexport_ref.evaluator import ReferenceModel, load
from bitexport_ref.generator import Chosen, Ended, Generator
from bitexport_ref.sampler import Sampler
from bitexport_ref.text.chat import ChatTemplate, read_chat
from bitexport_ref.text.stream import TextStream
from bitexport_ref.text.tables import TokenizerTables, read_tables
from bitexport_ref.text.tokenizer import Tokenizer

STORIES = Path(__file__).parents[2] / "samples" / "stories" / "model"
TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %} {% endif %}"
    "{{ message['content'] | trim }}{% endfor %}"
)

Build = Callable[[Target], Bundle]


@dataclasses.dataclass(frozen=True)
class Reference:
    """A bundle as the reference reads it."""

    model: ReferenceModel
    tables: TokenizerTables
    chat: ChatTemplate
    context: int
    vocabulary: int
    ends: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return Tokenizer(self.tables).encode(text)

    def answer(
        self, given: Sequence[int], sampler: Sampler, most: int, *, stop: Sequence[str] = ()
    ) -> tuple[list[int], str, Ended]:
        """Return every token, the text of the answer, and its end."""
        generator = Generator(self.model, self.vocabulary, self.context)
        generator.give(given)
        stream = TextStream(self.tables, stop=stop, continues=True)
        events = list(generator.answer(sampler, ends=self.ends, most_tokens=most, stream=stream))
        ended = events[-1]
        assert isinstance(ended, Ended)
        assert all(isinstance(event, Chosen) for event in events[:-1])
        return generator.tokens, "".join(event.text for event in events), ended


def read(bundle: Bundle) -> Reference:
    """Read a bundle: the graph, and the sections of text."""
    bitx = open_bitx(bundle.data)
    vocabulary = int(bundle.manifest["model"]["vocabulary"])
    section = {each.id: bytes(bitx.blob[each.offset : each.end]) for each in bitx.sections}
    return Reference(
        load(bundle.graph),
        read_tables(section[TOKENIZER], vocabulary),
        read_chat(section[CHAT], vocabulary),
        int(bundle.manifest["model"]["context"]),
        vocabulary,
        frozenset(bundle.manifest["model"]["eos"]),
    )


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of a tiny random model with a chat template, for this machine."""
    return build_tiny(tmp_path_factory.mktemp("tiny"), Options())


def build_tiny(folder: Path, options: Options) -> Bundle:
    """Build the tiny random model for this machine."""
    checkpoint = write_checkpoint(folder / "model").path
    settings = json.dumps({"chat_template": TEMPLATE})
    (checkpoint / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    return build_bundle(checkpoint, find_target("host"), options, folder / "out")


@pytest.fixture(scope="session")
def tiny_model(tiny_bundle: Bundle) -> Iterator[HostModel]:
    """Return the tiny model, opened."""
    with open_model(tiny_bundle.path) as model:
        yield model


def manifest_of(model: HostModel) -> Mapping[str, Any]:
    """Return the manifest of the bundle that a model lies in."""
    return open_bundle(model.data.parent).manifest


@pytest.fixture(scope="session")
def tiny_reference(tiny_bundle: Bundle) -> Reference:
    """Return the tiny model as the reference reads it."""
    return read(tiny_bundle)


@pytest.fixture(scope="session")
def coded_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the tiny model with a KV cache of int8."""
    return build_tiny(tmp_path_factory.mktemp("coded"), Options(cache="int8"))


@pytest.fixture(scope="session")
def coded_model(coded_bundle: Bundle) -> Iterator[HostModel]:
    """Return the tiny model with a KV cache of int8, opened."""
    with open_model(coded_bundle.path) as model:
        yield model


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds the story model for a target, once."""
    folder = tmp_path_factory.mktemp("stories")

    @functools.cache
    def build(target: Target) -> Bundle:
        wanted = Wanted(self_test=False)
        return build_bundle(STORIES, target, Options(), folder / target.name, wanted)

    return build
