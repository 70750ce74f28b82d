"""What a checkpoint says about text is in the bundle: sections 9, 10 and 11."""

import dataclasses
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.exporter.tokenizer.test_chat_template import CHATML

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.bitx import CHAT, GENERATION, TOKENIZER
from bitexport.errors import CheckpointError
from bitexport.models.parts.facts import Facts
from bitexport.package.text import Depth, WantedText, text_sections
from bitexport.tokenizer.generation_section import ALL, generation_section
from bitexport_ref.text.chat import read_chat
from bitexport_ref.text.tables import read_tables

MODEL = Path(__file__).parents[3] / "samples" / "stories" / "model"
FACTS = Facts(name="t", family="bitnet", vocabulary=512, eos=(1,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a checkpoint with tokenizer, chat template and generation_config.json."""
    copy = shutil.copytree(MODEL, tmp_path / "model")
    said = json.loads((copy / "tokenizer_config.json").read_text())
    template = CHATML.replace("'<|im_end|>'", "eos_token").replace("<|im_start|>", "")
    said |= {
        "chat_template": [{"name": "default", "template": template}],
        "eos_token": {"content": "</s>"},
    }
    (copy / "tokenizer_config.json").write_text(json.dumps(said))
    (copy / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [1, 2], "do_sample": True})
    )
    return copy


def _sections(folder: Path, **wanted: Any) -> dict[int, bytes]:
    said: list[str] = []
    found = text_sections(open_checkpoint(folder), folder, FACTS, WantedText(**wanted), said.append)
    return dict(found)


def test_all_three_sections_are_written_in_order(folder: Path) -> None:
    found = _sections(folder)
    assert list(found) == [TOKENIZER, CHAT, GENERATION]
    assert len(read_tables(found[TOKENIZER], 512).tokens) == 512
    chat = read_chat(found[CHAT], 512)
    assert chat.stop_tokens == (2,)
    assert not chat.adds_prefix_tokens
    assert found == _sections(folder)


@pytest.mark.parametrize(
    ("depth", "kept"), [("chat", {9, 10, 11}), ("tokenizer", {9, 11}), ("none", {11})]
)
def test_as_much_is_written_as_is_wanted(folder: Path, depth: Depth, kept: set[int]) -> None:
    assert set(_sections(folder, depth=depth)) == kept


def test_a_template_of_ones_own_comes_before_the_checkpoints(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").write_text(CHATML.replace("\n", " "))
    template = tmp_path / "own.jinja"
    template.write_text(CHATML.replace("<|im_start|>", "@"))
    chats = [read_chat(_sections(folder, chat_template=t)[CHAT], 512) for t in (None, template)]
    assert [chat.segments["start", "user"] for chat in chats] == ["<|im_start|>user ", "@user\n"]


def test_a_checkpoint_without_tokenizer_has_no_text(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert list(_sections(folder)) == [GENERATION]
    with pytest.raises(CheckpointError, match="a chat template needs a tokenizer"):
        _sections(folder, chat_template=tmp_path / "own.jinja")


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    said = json.loads((folder / "tokenizer.json").read_text())
    said["added_tokens"].append(said["added_tokens"][0] | {"id": 512, "content": "<more>"})
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match="tokens up to number 512, the model"):
        _sections(folder)


def test_generation_defaults_are_those_of_the_model() -> None:
    said = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.05,
            "repetition_penalty": 1.1}  # fmt: skip
    found = struct.unpack("<IfIfffff32x", generation_section(said))
    assert found == pytest.approx((1, 0.6, 20, 0.9, 0.05, 1.1, 0, 0))
    assert struct.unpack("<IfIfffff32x", generation_section({})) == (0, 1, ALL, 1, 0, 1, 0, 0)
    assert struct.unpack_from("<If", generation_section({"do_sample": True, "temperature": 0})) == (
        0,
        1,
    )


@pytest.mark.parametrize(
    "said",
    [{"temperature": -1}, {"top_p": 1.5}, {"top_k": -1}, {"min_p": 2}, {"repetition_penalty": 0},
     {"temperature": "hot"}, {"temperature": float("nan")}, {"top_k": True}],
)  # fmt: skip
def test_generation_defaults_out_of_range_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="generation_config"):
        generation_section(said)


def test_a_gguf_asks_under_general_sampling(folder: Path) -> None:
    said = {
        "general.sampling.temp": 0.75, "general.sampling.top_k": 20, "general.sampling.top_p": 0.5,
        "general.sampling.min_p": 0.25, "general.sampling.penalty_repeat": 1.5,
        "general.sampling.xtc_probability": 0.5, "general.sampling.penalty_last_n": 64,
    }  # fmt: skip
    (folder / "generation_config.json").rename(folder / "aside")
    told: list[str] = []

    def section(metadata: dict[str, Any]) -> tuple[float, ...] | None:
        checkpoint = dataclasses.replace(open_checkpoint(folder), metadata=metadata)
        wanted = WantedText(depth="none")
        made = text_sections(checkpoint, folder, FACTS, wanted, told.append).get(GENERATION)
        return made and struct.unpack("<IfIfffff32x", made)

    assert section(said) == (1, 0.75, 20, 0.5, 0.25, 1.5, 0, 0)
    assert told == [
        "sampling: not done on a device: general.sampling.penalty_last_n, "
        "general.sampling.xtc_probability"
    ]
    assert section({"general.sampling.temp": 0.0}) == (0, 1, ALL, 1, 0, 1, 0, 0)
    assert section({"general.sampling.top_k": -1}) == (1, 1, ALL, 1, 0, 1, 0, 0)
    assert section({"general.name": "x"}) is None
    with pytest.raises(CheckpointError, match=r"general\.sampling\.\*: `top_p` is 1\.5"):
        section({"general.sampling.top_p": 1.5})
    (folder / "aside").rename(folder / "generation_config.json")  # which comes first
    assert section(said) == (1, 1, ALL, 1, 0, 1, 0, 0)
