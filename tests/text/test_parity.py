"""Every tokenizer that is promised was compared with its own, and a few are again, through C."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.text import parity
from tests.text.native import Native
from tests.text.oracles import HuggingFace, Oracle, Ours, compiled, of_gguf
from tests.text.strings import strings

from bitexport.targets import find_target
from bitexport.tokenizer.find import find_description
from bitexport.tokenizer.known_patterns import NAMES
from bitexport.toolchain.compile import Library

REPOSITORY = Path(__file__).parents[2]
STORIES = REPOSITORY / "samples" / "stories" / "model"
VOCABULARIES = REPOSITORY / "tests" / "exporter" / "tokenizer" / "data"
COUNT, OF_REFERENCE, TOKENS, SEED = 5_000, 200, 10_000, 23

Subjects = tuple[Native, Ours, Oracle]


@pytest.fixture(scope="module", params=["stories", "gpt-2", "falcon"])
def subjects(request: pytest.FixtureRequest, libraries: Callable[..., Library]) -> Subjects:
    """Return each tokenizer that lies in the repository: in C, in the reference, and its own."""
    metadata: Mapping[str, Any] = {}
    if request.param != "stories":
        packed = (VOCABULARIES / f"{request.param}.json.xz").read_bytes()
        metadata = json.loads(lzma.decompress(packed))
    description = find_description(STORIES if not metadata else VOCABULARIES, metadata)
    assert description is not None
    ours = compiled(description)
    shared = libraries(find_target("host")).shared
    assert shared is not None
    native = Native(shared, ours.section, len(ours.tables.tokens))
    own = of_gguf(metadata) if metadata else HuggingFace.of_file(STORIES / "tokenizer.json")
    return native, ours, own


def test_random_strings_in_c_and_in_the_reference(subjects: Subjects) -> None:
    native, ours, own = subjects
    special = [token for token in ("<|endoftext|>", "<s>") if len(own.encode(token)) == 1]
    asked = list(strings(SEED, COUNT, special))
    count, tokens, wrong = parity.differing(native, own, asked)
    assert (count, wrong) == (COUNT, 0)
    assert tokens > 20 * COUNT
    assert parity.differing(ours, own, asked[:OF_REFERENCE])[2] == 0


def test_tokens_there_and_back_in_c(subjects: Subjects) -> None:
    native, ours, own = subjects
    assert parity.differing_tokens(native, own, min(TOKENS, len(ours.tables.tokens))) == 0


def test_a_difference_is_seen(subjects: Subjects) -> None:
    native, _, own = subjects

    class Off:
        """A tokenizer that is wrong in one text and one token."""

        def encode(self, text: str, *, special: bool) -> list[int]:
            return [0] if text == "two" else list(native.encode(text, special=special))

        def decode(self, tokens: Sequence[int], *, show_control: bool) -> str:
            return "?" if list(tokens) == [7] else native.decode(tokens, show_control=show_control)

    assert parity.differing(Off(), own, ["one", "two"])[2] == 1
    assert parity.differing_tokens(Off(), own, 10) == 1


def test_nothing_that_was_compared_differs() -> None:
    for name, finding in parity.findings().items():
        assert finding.differ == 0, name
        assert finding.strings >= parity.STRINGS, name
        assert finding.tokens_of_text > 200_000, name
        assert finding.speed > finding.their_speed, f"{name} is slower than its own"


def test_every_name_of_a_way_to_cut_was_compared() -> None:
    compared = {name for finding in parity.findings().values() for name in finding.pre}
    assert compared == set(NAMES)


def test_readme_shows_what_was_found() -> None:
    marked = parity.MARKED.search(parity.README.read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of tokenizers"
    assert marked[2] == parity.readme_table(parity.findings()), parity.REWRITE
