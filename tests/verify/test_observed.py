"""What the runner prints is read to the end, and a run that has no end is not mistaken for one."""

from __future__ import annotations

import pytest

from bitexport.errors import MismatchError
from bitexport.verify.observed import parse

HEAD = "runner 1\nisa available scalar neon\nisa used neon\narena 4096\n"
TRACE = "op 0 0 aa bb\nop 1 0 cc dd\nlogits 1 dd\ntoken 7\nop 0 2 ee\n"


def test_every_fact_is_read() -> None:
    found = parse(HEAD + TRACE + "dump 1 0 00ff\nself-test ok\nend\n")
    assert (found.available, found.used, found.arena_bytes) == (("scalar", "neon"), "neon", 4096)
    assert found.digests == {(0, 0): "aa", (0, 1): "bb", (1, 0): "cc", (1, 1): "dd", (0, 2): "ee"}
    assert (dict(found.logits), found.tokens) == ({1: "dd"}, (7,))
    assert (found.dumped, found.self_test, found.stopped) == (b"\x00\xff", "ok", None)


def test_logits_are_dumped_as_op_outputs_are() -> None:
    assert parse(HEAD + "dump logits 3 0102\nend\n").dumped == b"\x01\x02"


def test_a_run_that_stops_keeps_what_it_computed_and_why_it_stopped() -> None:
    status = "status -11 not a finite number rule 0 record 0"
    found = parse(f"{HEAD}{TRACE}{status}\n", "ended with status 1")
    assert found.stopped == status
    assert found.digests[0, 2] == "ee"


def test_a_line_that_is_cut_off_is_not_a_digest() -> None:
    found = parse(HEAD + TRACE + "op 1 2 f", "was stopped by SIGSEGV")
    assert found.stopped == "was stopped by SIGSEGV"
    assert (1, 2) not in found.digests


def test_a_run_without_end_is_stopped_even_if_nobody_says_how() -> None:
    assert parse(HEAD + TRACE).stopped == "its last word was `op 0 2 ee`"


def test_a_program_that_dies_after_its_end_is_stopped() -> None:
    assert parse(HEAD + TRACE + "end\n", "was stopped by SIGABRT").stopped == (
        "was stopped by SIGABRT"
    )


def test_a_self_test_that_failed_says_where() -> None:
    found = parse(HEAD + "self-test 8 28\nstatus -15 self-test computed other bits\n")
    assert found.self_test == "8 28"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`nothing`"),
        ("Segmentation fault\n", "`Segmentation fault`"),
        ("runner 2\nisa used neon\nend\n", "`end`"),
        ("runner 1\nisa available scalar\nstatus -13 kernel differs\n", "status -13"),
        ("runner 1\nusage --what\n", "`usage --what`"),
    ],
)
def test_a_runner_that_opened_no_session_is_refused(text: str, said: str) -> None:
    with pytest.raises(MismatchError, match="the runner did not start") as caught:
        parse(text)
    assert said in str(caught.value)
