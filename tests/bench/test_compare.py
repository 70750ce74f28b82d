"""A count stands beside the bar and the peers of its own target, instruction set and weights."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bitexport.bench.compare import compare, contest, facts, missing
from bitexport.bench.count import Count
from bitexport.bench.kernels_page import kernels_page
from bitexport.bench.table import readme_table
from bitexport.targets import load_isas, load_targets


def count(kernel: str, isa: str, cost: float, columns: int = 1, n: int = 2560) -> Count:
    """Return a count of that many instructions per 64 weights."""
    instructions = round(cost * n * 2560 // 64 * columns)
    return Count(
        target="arm64", isa=isa, kernel=kernel, n=n, k=2560, columns=columns,
        instructions=instructions,
    )  # fmt: skip


COUNTS = [
    count("gemv_s32_s8_p2r", "dotprod", 8.0),
    count("gemv_s32_s8_p2r", "dotprod", 9.6, n=6912),
    count("gemv_s32_s8_new", "dotprod", 7.0),
    count("gemm_s32_s8_p2r", "dotprod", 5.5, columns=16),
    count("gemm_s32_s8_p2r", "dotprod", 5.0, columns=64),
]


def test_the_worst_matrix_is_held_against_the_bar() -> None:
    decode, unknown, few, many = compare(COUNTS)
    assert (decode.worst, decode.contest.bar, decode.holds) == (9.6, 9.5, False)
    assert (unknown.contest.weights, unknown.contest.bar, unknown.holds) == ("new", None, None)
    assert (few.holds, many.holds) == (True, True)


def test_peers_stand_in_order_of_cost() -> None:
    peers = compare(COUNTS)[0].contest.peers
    assert [peer.cost for peer in peers] == sorted(peer.cost for peer in peers)
    assert peers[0].name.startswith("ik_llama.cpp")


def test_a_bar_without_kernel_is_told() -> None:
    places = {(place.isa, place.weights, place.phase) for place in missing(compare(COUNTS))}
    assert ("neon", "ternary, 2 bits", "decode") in places
    assert ("dotprod", "ternary, 2 bits", "decode") not in places
    assert {place.target for place in missing(compare(COUNTS))} == {"arm64"}


def test_the_table_shows_the_worst_matrix() -> None:
    lines = readme_table(compare(COUNTS)).splitlines()
    assert lines[2] == (
        "| `arm64` | dotprod | ternary, 2 bits (`p2r`) | 9.60 | 9.5 | 10.9 ik_llama.cpp IQ2_BN_R4 "
        "| **5.50** | **5.00** | 5.5 | 6.2 KleidiAI qsu2cxp |"
    )


def test_the_page_plots_every_line_and_bar() -> None:
    page = kernels_page(compare([*COUNTS, count("gemv_s32_s8_p2r", "scalar", 1100)]))
    drawings = [ET.fromstring(each + "</svg>") for each in svgs(page)]
    decode = drawings[0]
    texts = [text.text for text in decode.iter("text")]
    assert len(drawings) == 3
    assert {"gemv_s32_s8_p2r", "llama.cpp TQ2_0", "9.60", "9.5"} <= set(texts)
    assert "scalar" not in page
    assert "arm64, neon, decode, ternary, 2 bits: the bar is 13" in page


def svgs(page: str) -> list[str]:
    """Return the drawings of a page, without their last tag."""
    return ["<svg" + part.partition("</svg>")[0] for part in page.split("<svg")[1:]]


@pytest.mark.parametrize("bar", facts()["bar"], ids=lambda bar: f"{bar['target']}-{bar['isa']}")
def test_every_bar_is_for_a_target_and_instruction_set(bar: dict[str, str]) -> None:
    assert bar["isa"] in load_isas()
    assert bar["target"] in load_targets()
    assert set(bar) <= {"target", "isa", "weights", "decode", "prefill"}


@pytest.mark.parametrize("peer", facts()["peer"], ids=lambda peer: peer["name"])
def test_every_peer_says_where_it_was_found(peer: dict[str, str]) -> None:
    assert peer["source"]
    assert peer["target"] in load_targets()
    assert set(peer["isas"]) <= set(load_isas())
    for isa in peer["isas"]:
        assert any(
            contest(peer["target"], isa, peer["weights"], phase).peers
            for phase in ("decode", "prefill")
        )
