"""What a mark allows, as people write it: "350 M" instructions, an arena of "40 MB"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from bitexport.errors import TextError

AMOUNTS = frozenset({"instructions_per_token", "arena"})
PLACES = frozenset({"behind", "context", "chunk"})
THOUSANDS = {"": 0, "k": 1, "M": 2, "G": 3}


def read_budget(said: Mapping[str, object]) -> dict[str, int]:
    """Return the arguments of `Device.check_budget` that a mark gives."""
    for name in said:
        if name not in AMOUNTS | PLACES:
            raise TextError(
                f"a budget has no `{name}`", hint=f"it has {', '.join(sorted(AMOUNTS | PLACES))}"
            )
    if not AMOUNTS & said.keys():
        raise TextError(f"a budget says {' or '.join(sorted(AMOUNTS))}", hint="give one of them")
    return {name: read_amount(name, value) for name, value in said.items()}


def read_amount(name: str, value: object) -> int:
    """Read a whole number, or one with a unit: k, M, G are thousands, Ki, Mi, Gi times 1024."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(|k|M|G|Ki|Mi|Gi)B?", str(value))
    if name in PLACES or not isinstance(value, str) or found is None:
        raise TextError(
            f"`{name}` of a budget is `{value!r}`",
            hint="it is a whole number"
            + ("" if name in PLACES else ', or one with a unit: "350 M", "40 MB", "512 KiB"'),
        )
    number, unit = found.groups()
    base = 1024 if unit.endswith("i") else 1000
    power = THOUSANDS[unit.removesuffix("i").replace("K", "k")]
    return int(Fraction(number) * base**power)
