"""The pages of `bench` have one style: whole, escaped, without script, every drawing sound."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from tests.bench.figures import promised

from bitexport.bench.compare import compare
from bitexport.bench.device_page import devices_page
from bitexport.bench.drawing import Limit, Mark, Spot, Stack, bars, number, ratios, roof, stacks
from bitexport.bench.emulated import ModelCount, TokenCount
from bitexport.bench.emulated_page import emulated_page
from bitexport.bench.forecast import of_shape
from bitexport.bench.kernels_page import kernels_page
from bitexport.bench.model import ModelBench, Point, Run
from bitexport.bench.model_page import model_page
from bitexport.bench.page import whole_page
from bitexport.bench.published import held_against
from bitexport.bench.workload import load_shapes

NAME = "a <model> & more"
RUN = Run(
    threads=2, open_seconds=0.01, first_token_seconds=0.02, arena_bytes=10**6, peak_bytes=10**7,
    read_rate=1e10,
    points=(Point(context=0, decode=1234.5, prefill=4321.0),
            Point(context=512, decode=99.25, prefill=None)),
    unfused_token_seconds=0.001,
    op_shares={"ternary_matmul": 0.6, **{f"op_{at}": 0.05 for at in range(8)}},
)  # fmt: skip
BENCH = ModelBench(
    name=NAME, file_bytes=2 * 10**6, weight_bytes=10**6, prefill_tokens=512, decode_tokens=32,
    runs=(RUN,),
)  # fmt: skip
COUNT = ModelCount(
    name=NAME, target="arm64", core="cortex-a76", isa="dotprod", ternary_weights=10**6,
    tokens=(TokenCount(context=24, instructions=10**6, steps={"attend": 10**5, "add": 10**4}),),
)  # fmt: skip


def pages() -> dict[str, str]:
    shapes = load_shapes()
    forecast = of_shape(shapes["bitnet-2b-4t"], "q8", (), (0, 2048))
    return {
        "kernels": kernels_page(compare(promised())),
        "model": model_page(BENCH),
        "emulated": emulated_page([COUNT]),
        "devices": devices_page([forecast], held_against()),
    }


PAGES = pages()


class Closed(HTMLParser):
    """Knows whether every tag is closed."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Remember it."""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Need no end."""

    def handle_endtag(self, tag: str) -> None:
        """Expect the last one."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_asks_for_nothing(name: str) -> None:
    page, parser = PAGES[name], Closed()
    parser.feed(page)
    assert parser.open == []
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(src|href)=", page)
    assert "None" not in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).split()


@pytest.mark.parametrize("name", PAGES)
def test_every_drawing_stays_inside(name: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", PAGES[name], re.DOTALL)
    assert drawings
    for text in drawings:
        drawing = ET.fromstring(text)
        assert drawing.get("aria-label")
        height = float(drawing.attrib["height"])
        for each in drawing.iter():
            for key in ("x", "cx", "x1", "x2", "width"):
                value = each.get(key, "0")
                assert not value.endswith("%") or 0 <= float(value[:-1]) <= 100, (key, value)
            for key in ("y", "cy", "y1", "y2"):
                assert 0 <= float(each.get(key, 0)) <= height


def test_text_is_escaped() -> None:
    for name in ("model", "emulated"):
        assert "<model>" not in PAGES[name]
        assert "a &lt;model&gt; &amp; more" in PAGES[name]
    assert "<b>" not in whole_page("<b>", "<b>", "")
    assert "<b>" not in bars([Mark("<b>", 1, "<b>", "ours")], "<b>", Limit(2, "<b>"))


def test_bars_share_a_zero_and_the_limit_its_scale() -> None:
    drawing = ET.fromstring(bars([Mark("a", 5, "5", "ours")], "about", Limit(10, "10")))
    (rect,), (line,) = drawing.iter("rect"), drawing.iter("line")
    assert (rect.get("x"), rect.get("width")) == ("0.00%", "50.00%")
    assert line.get("x1") == "100.00%"


def test_stacks_fill_their_width() -> None:
    drawing = ET.fromstring(stacks([Stack("a", "1", {"c1": 1.0, "c2": 3.0})], "about"))
    assert [rect.get("width") for rect in drawing.iter("rect")] == ["25.00%", "75.00%"]


def test_ratios_are_logarithmic() -> None:
    drawing = ET.fromstring(ratios([Mark("a", 1, "1", "ours")], 0.25, 4, "about"))
    assert next(drawing.iter("circle")).get("cx") == "50.00%"


def test_a_roof_is_flat_until_its_ridge() -> None:
    drawing = ET.fromstring(
        roof([Spot("a", 1.0, 1e9, "c1")], bandwidth=1e10, instructions=1e11, about="about",
             spans=((0.1, 100.0), (1e8, 1e11)))
    )  # fmt: skip
    flat, falling = (line for line in drawing.iter("line") if line.get("class") == "roof")
    assert flat.get("y1") == flat.get("y2") == falling.get("y1")
    assert float(falling.get("y2") or 0) > float(falling.get("y1") or 0)
    assert flat.get("x2") == falling.get("x1") == "66.67%"  # ten instructions for a byte


@pytest.mark.parametrize(
    ("value", "text"), [(15147.2, "15,147"), (627, "627"), (65.44, "65.4"), (6.449, "6.45"),
                        (9.9999, "10.0"), (0.1234, "0.12"), (0.00182, "0.0018")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
