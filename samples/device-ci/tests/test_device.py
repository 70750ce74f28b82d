"""What must hold before this model ships: its bits, its words, its cost."""

import pytest


def test_every_op_returns_the_bits_of_the_reference(bitexport_device):
    """Fails with the op, the number and the distance; the pull request shows what changed."""
    bitexport_device.check("Once upon a time", 4, chunk=2, threads=2)


@pytest.mark.bitexport_golden("golden/once.json")
def test_it_tells_the_story_that_was_reviewed(bitexport_device):
    """Record another with: bitexport run out "Once upon a time" -n 24 --record FILE."""
    said = bitexport_device.say("Once upon a time", 12)
    assert "there was a little girl" in said.text


def test_it_stays_polite_where_it_is_sampled(bitexport_device):
    """A draw belongs to its seed: the same words on every core."""
    said = bitexport_device.say("Lily and Tom", 16, temperature=0.8, top_p=0.9, seed=7)
    assert "stupid" not in said.text
    again = bitexport_device.say("Lily and Tom", 16, temperature=0.8, top_p=0.9, seed=7)
    assert said == again


@pytest.mark.bitexport_budget(instructions_per_token="2 M", behind=32)
@pytest.mark.bitexport_budget(arena="1.5 MB")
def test_it_fits_the_device(bitexport_device):
    """A token behind 32 others, and a session of the whole context."""
    first, later = bitexport_device.instructions(), bitexport_device.instructions(behind=32)
    assert later.steps["attend"] > first.steps["attend"]


def test_a_prompt_may_come_in_any_chunks(bitexport_device):
    """Feed it as the app does: all at once, or as the user types."""
    whole = bitexport_device.prefill("Once upon a time")
    assert bitexport_device.prefill("Once upon a time", chunk=1) == whole
    assert bitexport_device.step().position == whole.position + 1


def test_the_bundle_is_what_was_promised(bitexport_bundle):
    """No emulator here: a fact of the manifest."""
    assert bitexport_bundle.data.stat().st_size < 3_000_000
