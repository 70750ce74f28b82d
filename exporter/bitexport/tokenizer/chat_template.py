"""A chat template in Jinja, run as transformers runs it, becomes the segments between messages.

A device joins segments; it runs no template.  What the segments cannot say is found by rendering
every row of roles up to six messages and comparing: a row that differs has no form on a device,
and a template without a form for an ordinary conversation is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bitexport.errors import CheckpointError

SYSTEM, USER, ASSISTANT = ROLES = ("system", "user", "assistant")
START, GENERATE, STOP = "start", "generate", "stop"
DAY = "strftime_now"
LONGEST = 6
THOROUGH = 3  # messages of conversations that are tried with all contents in all places
Pair = tuple[str, str]
NEEDED: tuple[Pair, ...] = (
    (START, USER), (USER, ASSISTANT), (ASSISTANT, USER), (USER, GENERATE),
)  # fmt: skip
# Asked for one after the other, each with those that were found before.
OPTIONAL: tuple[tuple[Pair, ...], ...] = (
    ((START, SYSTEM), (SYSTEM, USER)), ((USER, STOP),), ((ASSISTANT, STOP),),
    ((ASSISTANT, GENERATE),), ((SYSTEM, GENERATE),), ((SYSTEM, STOP),), ((SYSTEM, ASSISTANT),),
    ((START, ASSISTANT),), ((USER, USER),), ((ASSISTANT, ASSISTANT),), ((USER, SYSTEM),),
    ((ASSISTANT, SYSTEM),), ((SYSTEM, SYSTEM),),
)  # fmt: skip
SPACED = " \n\tspaced\u3000 out \u00a0\n"
CONTENTS = (
    SPACED, "{{ braces }} {% raw %} {# and more #}",
    "na\u00efve \u6771\u4eac \U0001f468\u200d\U0001f469",
    "two\n\nlines\r\n", "'quoted' \"twice\" \\ <b>&amp;</b>", "plain",
)  # fmt: skip
WAY_OUT = (
    "build with --text tokenizer to leave chat out, or give a template that can be expressed: "
    "--chat-template FILE"
)


class Strip(enum.IntFlag):
    """Which ends of a content lose their spaces."""

    LEFT = 1
    RIGHT = 2


@dataclasses.dataclass(frozen=True)
class Chat:
    """What a device joins, by what came before and what follows."""

    segments: Mapping[Pair, str]
    strips: Mapping[Pair, Strip]
    """The ends that the content of a role loses behind what came before, where it loses any."""
    remarks: tuple[str, ...]
    """What the template does and a device does not, for the one who builds."""


@dataclasses.dataclass(frozen=True)
class _Conversation:
    roles: tuple[str, ...]
    end: str

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What follows what."""
        return tuple(itertools.pairwise((START, *self.roles, self.end)))

    def __str__(self) -> str:
        return ", ".join(self.roles) + (", and an answer to come" if self.end == GENERATE else "")


def compile_chat(template: str, tokens: Mapping[str, str]) -> Chat:
    """Return the segments of a template; `tokens` are bos_token, eos_token and the like."""
    return _Compiler(template, tokens).chat()


class _LostError(Exception):
    """A message is not where it belongs."""


class _Generation(jinja2.ext.Extension):
    """The block `generation`, with which transformers marks answers for training."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: int | None = None,
        separators: tuple[str, str] | None = None, sort_keys: bool = False,
    ) -> str:  # fmt: skip
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
            sort_keys=sort_keys,
        )  # fmt: skip

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


class _Compiler:
    def __init__(self, template: str, tokens: Mapping[str, str]) -> None:
        self.environment = _environment()
        self.tokens = tokens
        self.why = ""
        try:
            self.template = self.environment.from_string(template)
            parsed = self.environment.parse(template)
            self.words = {
                node.value
                for node in parsed.find_all(jinja2.nodes.Const)
                if isinstance(node.value, str)
            }
            self.asks_day = any(node.name == DAY for node in parsed.find_all(jinja2.nodes.Name))
        except (jinja2.TemplateError, SyntaxError, ValueError, RecursionError,
                MemoryError) as error:  # fmt: skip
            raise CheckpointError(
                f"the chat template is no Jinja template: {str(error) or type(error).__name__}",
                hint=WAY_OUT,
            ) from None
        self.remarks: list[str] = []
        self.segments: dict[Pair, str] = {}
        self.strips: dict[Pair, Strip] = {}

    def render(self, conversation: _Conversation, contents: Sequence[str]) -> str | None:
        """Return the template's text; None, if it refuses the conversation."""
        messages = [
            {"role": role, "content": content}
            for role, content in zip(conversation.roles, contents, strict=True)
        ]
        try:
            return self.template.render(
                messages=messages, tools=None, documents=None,
                add_generation_prompt=conversation.end == GENERATE, **self.tokens,
            )  # fmt: skip
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError,
                AttributeError, RecursionError, MemoryError) as error:  # fmt: skip
            self.why = str(error) or type(error).__name__
            return None

    def chat(self) -> Chat:
        """Find the segments, then prove them."""
        if self.asks_day:
            self.remarks.append(
                f"the template writes the day of a conversation (`{DAY}`); a device writes what "
                "the template has for when nobody knows the day"
            )
        found = self._observed(NEEDED)
        if found is None or set(found) != set(NEEDED):
            self._refuse_ordinary()
        assert found is not None
        self._widen(found, NEEDED)
        for group in OPTIONAL:
            wider = self._observed((*self.segments, *group))
            names = " and ".join(f"`{behind}` after `{before}`" for before, behind in group)
            if wider is None:
                self.remarks.append(f"no form on a device for {names}: the template looks further")
                continue
            if not set(group) <= set(wider):
                continue
            before = self.segments, dict(self.strips)
            try:
                self._widen(wider, group)
            except CheckpointError as error:
                self.segments, self.strips = before
                self.remarks.append(f"no form on a device for {names}: {error}")
        self._probe()
        for pair, text in self.segments.items():
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise CheckpointError(
                    f"the chat template writes half a surrogate pair, which is no text, for "
                    f"`{pair[1]}` after `{pair[0]}`",
                    hint=WAY_OUT,
                )
        return Chat(dict(self.segments), dict(self.strips), tuple(self.remarks))

    def _widen(self, segments: dict[Pair, str], fresh: Sequence[Pair]) -> None:
        """Take segments, and prove every conversation that a fresh pair is part of."""
        self.segments = segments
        for pair in fresh:
            if pair[1] in ROLES and (strip := self._strip(pair)):
                self.strips[pair] = strip
        for conversation in _conversations(segments):
            if set(fresh).isdisjoint(conversation.pairs):
                continue
            thorough = len(conversation.roles) <= THOROUGH
            for turn in range(0, len(CONTENTS), 1 if thorough else 3):
                self._prove(conversation, turn)

    def _observed(self, pairs: Sequence[Pair]) -> dict[Pair, str] | None:
        """Return one segment for each pair, or None where one pair has several.

        Pairs in no conversation that the template accepts are not among them.
        """
        found: dict[Pair, str] = {}
        for conversation in _conversations(pairs):
            try:
                parts = self._parts(conversation)
            except _LostError:
                return None
            if parts is None:
                continue
            for pair, part in zip(conversation.pairs, parts, strict=True):
                if found.setdefault(pair, part) != part:
                    return None
        return found

    def _parts(self, conversation: _Conversation) -> list[str] | None:
        """Return what stands around the contents, or None for a conversation that is refused.

        Contents that are not there once, in their order, are a _LostError.
        """
        marks = [f"qz{at}zq" for at in range(len(conversation.roles))]
        text = self.render(conversation, marks)
        if text is None:
            return None
        parts = []
        for mark in marks:
            before, found, text = text.partition(mark)
            if not found or any(other in before for other in marks):
                raise _LostError
            parts.append(before)
        return [*parts, text]

    def _refuse_ordinary(self) -> None:
        for conversation in _conversations(NEEDED):
            try:
                parts = self._parts(conversation)
            except _LostError:
                raise CheckpointError(
                    "the chat template cannot be said in segments between messages: it does not "
                    f"hold the messages of {conversation} once and in their order",
                    hint=WAY_OUT,
                ) from None
            if parts is None and self.asks_day and DAY in self.why:
                raise CheckpointError(
                    f"the chat template writes the day of a conversation (`{DAY}`) and has nothing "
                    "to write instead, and a bundle does not know the day",
                    hint=WAY_OUT,
                )
            if parts is None:
                raise CheckpointError(
                    f"the chat template refuses the conversation {conversation}: {self.why}",
                    hint=WAY_OUT,
                )
        raise CheckpointError(
            "the chat template cannot be said in segments between messages: what it writes around "
            f"the messages of {conversation} is not what it writes in a shorter conversation",
            hint=WAY_OUT,
        )

    def _strip(self, pair: Pair) -> Strip:
        """Return which ends a content behind a pair's first loses, in the shortest conversation."""
        for conversation in _conversations(self.segments):
            if pair not in conversation.pairs:
                continue
            contents = ["qz"] * len(conversation.roles)
            contents[conversation.pairs.index(pair)] = SPACED
            text = self.render(conversation, contents)
            if text is not None:
                left = Strip.LEFT if SPACED.rstrip() not in text else Strip(0)
                return left | (Strip.RIGHT if SPACED.lstrip() not in text else Strip(0))
        return Strip(0)

    def _joined(self, conversation: _Conversation, contents: Sequence[str]) -> str:
        parts = []
        for pair, content in zip(conversation.pairs, (*contents, ""), strict=True):
            strip = self.strips.get(pair, Strip(0))
            left = content.lstrip() if strip & Strip.LEFT else content
            parts += [self.segments[pair], left.rstrip() if strip & Strip.RIGHT else left]
        return "".join(parts)

    def _prove(self, conversation: _Conversation, turn: int) -> None:
        contents = [CONTENTS[(turn + at) % len(CONTENTS)] for at in range(len(conversation.roles))]
        said = self.render(conversation, contents)
        if said is not None and said != self._joined(conversation, contents):
            raise CheckpointError(
                f"the chat template cannot be said in segments: of the conversation {conversation} "
                f"with the contents {contents!r} it makes {said!r}, segments make "
                f"{self._joined(conversation, contents)!r}",
                hint=WAY_OUT,
            )

    def _probe(self) -> None:
        """Remark on words that the template looks for in contents, and on contents of nothing."""
        conversation = _Conversation((USER, ASSISTANT, USER), GENERATE)
        for word in sorted(self.words):
            for role in (USER, ASSISTANT):
                contents = [f"a{word}b" if each == role else "c" for each in conversation.roles]
                self._compare(conversation, contents, f"contents of `{role}` that hold {word!r}")
        for role in (USER, ASSISTANT):
            contents = ["" if each == role else "c" for each in conversation.roles]
            self._compare(conversation, contents, f"empty contents of `{role}`")
        conversation = _Conversation((SYSTEM, USER), GENERATE)
        if set(conversation.pairs) <= set(self.segments):
            for role, contents in ((USER, ["c", ""]), (SYSTEM, ["", "c"])):
                what = f"empty contents of `{role}` in a conversation with `{SYSTEM}`"
                self._compare(conversation, contents, what)

    def _compare(self, conversation: _Conversation, contents: Sequence[str], what: str) -> None:
        said = self.render(conversation, contents)
        if said is not None and said != self._joined(conversation, contents):
            self.remarks.append(f"the template changes {what}; a device takes them as they are")


def _conversations(pairs: Sequence[Pair] | Mapping[Pair, Any]) -> Iterator[_Conversation]:
    """Yield all conversations up to six messages, short ones first, that these pairs make."""
    known = set(pairs)
    for size in range(1, LONGEST + 1):
        for roles in itertools.product(ROLES, repeat=size):
            for end in (GENERATE, STOP):
                conversation = _Conversation(roles, end)
                if known.issuperset(conversation.pairs):
                    yield conversation
