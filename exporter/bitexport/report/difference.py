"""What differs between two checkpoints, graphs or bundles, most useful first."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.report.contents import Contents, Held, Numbers, Readable, alike

MOST_LINES = 24
"""Of a section, as text."""
AT_ONCE = 1 << 22
"""Numbers that are held of each side."""
LONG = 72
ORDER = ("only in A", "only in B", "shape", "values", "stored")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueDifference:
    """How many numbers of two tensors differ, and how far."""

    count: int
    of: int
    furthest: float
    """The largest magnitude of a difference; infinite where one of the two is no number."""
    at: tuple[int, ...]
    a: float
    b: float

    def __str__(self) -> str:
        """Return a few words."""
        return (
            f"{self.count:,} of {self.of:,} differ, by at most {self.furthest:.6g} at "
            f"{list(self.at)}: {self.a:.6g} / {self.b:.6g}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """A tensor that is not the same on both sides."""

    name: str
    what: str
    """One of ORDER."""
    a: str = ""
    b: str = ""
    values: ValueDifference | None = None
    compared: bool = False
    """Whether the numbers were: values is then None where all are equal."""

    @property
    def words(self) -> str:
        """Return both sides as text."""
        if self.what.startswith("only"):
            return self.a or self.b
        stored = f"{self.a} / {self.b}" if self.a != self.b else self.a
        if self.values is not None:
            return f"{stored}: {self.values}"
        if self.what == "stored":
            return f"{stored}: " + ("equal values" if self.compared else "values not comparable")
        return stored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """Something else that is not the same; None: it is missing there."""

    name: str
    a: Any
    b: Any

    def words(self, show: Callable[[Any], str]) -> str:
        """Return both sides as text."""
        if self.b is None:
            return f"only in A: {_short(show(self.a))}"
        if self.a is None:
            return f"only in B: {_short(show(self.b))}"
        return f"{_short(show(self.a))} / {_short(show(self.b))}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """All that differs."""

    tensors: tuple[TensorDifference, ...]
    ops: tuple[Change, ...]
    """By what they write; of each side op, reads, attributes and makes."""
    bytes: tuple[Change, ...]
    """By file or section; of each side its size."""
    options: tuple[Change, ...]
    compared: Mapping[str, int]
    """How many there are to compare, by what."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.tensors or self.ops or self.bytes or self.options)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data; a number that JSON has no word for is a string."""
        facts = {"equal": self.equal, **dataclasses.asdict(self)}
        for tensor in facts["tensors"]:
            if values := tensor["values"]:
                numbers = {key: values[key] for key in ("furthest", "a", "b")}
                values |= {key: str(number) for key, number in numbers.items()
                           if not math.isfinite(number)}  # fmt: skip
        return facts


def compare(first: Contents, second: Contents) -> Difference:
    """Compare two of a kind: every number of every tensor, a block of rows at a time."""
    first, second = alike(first, second)
    names = dict.fromkeys((*first.tensors, *second.tensors))
    found = [_tensor(name, first.tensors.get(name), second.tensors.get(name)) for name in names]
    files = _changes(first.bytes, second.bytes)
    sizes = [Change(name=each.name, a=each.a and each.a[0], b=each.b and each.b[0])
             for each in files]  # fmt: skip
    return Difference(
        tensors=tuple(sorted((each for each in found if each), key=_usefulness)),
        ops=_changes(first.ops, second.ops),
        bytes=tuple(sorted(sizes, key=lambda size: -max(size.a or 0, size.b or 0))),
        options=_changes(first.options, second.options),
        compared={
            "tensors": len(names), "ops": len({*first.ops, *second.ops}),
            "files or sections": len({*first.bytes, *second.bytes}),
            "options": len({*first.options, *second.options}),
        },
    )  # fmt: skip


def difference_text(difference: Difference) -> str:
    """Return it for a person: tensors, ops, bytes, options."""
    compared = difference.compared
    of = ", ".join(f"{count:,} {what}" for what, count in compared.items() if count)
    if difference.equal:
        return f"equal: {of}"
    sections = (
        ("tensors", difference.tensors, compared["tensors"],
         _grouped([(each.name, each.what, each.words) for each in difference.tensors])),
        ("ops", difference.ops, compared["ops"],
         _grouped([(each.name, "", _op_words(each)) for each in difference.ops])),
        ("bytes", difference.bytes, compared["files or sections"],
         [(each.name, _byte_words(each)) for each in difference.bytes]),
        ("options", difference.options, compared["options"],
         [(each.name, each.words(str)) for each in difference.options]),
    )  # fmt: skip
    lines = [line for title, changes, whole, rows in sections if changes
             for line in _section(title, whole, rows, len(changes))]  # fmt: skip
    same = [title for title, changes, whole, _ in sections if whole and not changes]
    return "\n".join([*lines, *([f"equal: {', '.join(same)}"] if same else [])])


# ---- tensors ---------------------------------------------------------------------------------


def _tensor(name: str, a: Held | None, b: Held | None) -> TensorDifference | None:
    if b is None:
        assert a is not None
        return TensorDifference(name=name, what="only in A", a=a.type)
    if a is None:
        return TensorDifference(name=name, what="only in B", b=b.type)
    if a.shape != b.shape:
        return TensorDifference(name=name, what="shape", a=a.type, b=b.type)
    ways = _common_way(a, b)
    values = _values(a, *ways) if ways else None
    if values is None and a.stored == b.stored and ways:
        return None
    return TensorDifference(
        name=name, what="stored" if values is None else "values", a=a.stored, b=b.stored,
        values=values, compared=bool(ways),
    )  # fmt: skip


def _common_way(a: Held, b: Held) -> tuple[Readable, Readable] | None:
    """Return how both can be read alike: as numbers, or as integers whose scales lie elsewhere."""
    for one, other in itertools.product(a.ways, b.ways):
        if one.scaled == other.scaled:
            return one, other
    return None


def _values(held: Held, one: Readable, other: Readable) -> ValueDifference | None:
    """Compare all numbers, a block of rows at a time; None: they are equal."""
    columns = math.prod(held.shape[1:])
    step = max(1, AT_ONCE // max(1, columns))
    count, furthest, place, pair = 0, -1.0, 0, (0.0, 0.0)
    for start in range(0, held.rows, step):
        stop = min(start + step, held.rows)
        a, b = one.read(start, stop).ravel(), other.read(start, stop).ravel()
        differs = _differs(a, b)
        if not differs.any():
            continue
        count += int(differs.sum())
        far = np.where(differs, _distance(a, b), -1.0)
        at = int(far.argmax())
        if far[at] > furthest:
            furthest, place, pair = (
                float(far[at]),
                start * columns + at,
                (float(a[at]), float(b[at])),
            )
    if not count:
        return None
    index = np.unravel_index(place, held.shape) if held.shape else ()
    return ValueDifference(
        count=count, of=math.prod(held.shape), furthest=furthest,
        at=tuple(int(i) for i in index), a=pair[0], b=pair[1],
    )  # fmt: skip


def _differs(a: Numbers, b: Numbers) -> NDArray[np.bool_]:
    """Return where bits differ, or numbers where the two have other types."""
    if a.dtype == b.dtype:
        size = a.dtype.itemsize
        pattern = np.ascontiguousarray(a).view(f"V{size}"), np.ascontiguousarray(b).view(f"V{size}")
        return np.asarray(pattern[0] != pattern[1])
    return np.asarray(a.astype(np.float64) != b.astype(np.float64))


def _distance(a: Numbers, b: Numbers) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return np.nan_to_num(far, nan=np.inf, posinf=np.inf)


def _usefulness(found: TensorDifference) -> tuple[int, float]:
    share = found.values.count / found.values.of if found.values else 0.0
    return ORDER.index(found.what), -share


# ---- text ------------------------------------------------------------------------------------


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, a=a.get(name), b=b.get(name))
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name)
    )


def _grouped(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Return rows of (name, what, words) as lines; equal changes of several names are one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, what, words in rows:
        groups.setdefault((what, words), []).append(name)
    lines = []
    for (what, words), names in groups.items():
        first = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        lines.append((f"{what}: {first}" if what else first, words))
    return lines


def _op_words(change: Change) -> str:
    """Return in what an op differs."""
    if change.a is None or change.b is None:
        return change.words(lambda op: f"{op['op']}({op['reads']}) {op['makes']}")
    return "; ".join(
        f"{part} {Change(name=part, a=change.a[part], b=change.b[part]).words(str)}"
        for part in change.a
        if change.a[part] != change.b[part]
    )


def _byte_words(change: Change) -> str:
    if change.a == change.b:
        return f"other bytes, {change.a:,} in both"
    if change.a is None or change.b is None:
        return change.words(lambda size: f"{size:,} bytes")
    return f"{change.a:,} / {change.b:,} bytes, {change.b - change.a:+,}"


def _section(title: str, whole: int, rows: Sequence[tuple[str, str]], count: int) -> list[str]:
    shown = rows[:MOST_LINES]
    width = min(LONG, max(len(name) for name, _ in shown))
    more = [f"  … and {len(rows) - MOST_LINES:,} more; --json has all"] * (len(rows) > MOST_LINES)
    return [
        f"{title}: {count:,} of {whole:,} differ",
        *(f"  {name.ljust(width)}  {words}" for name, words in shown),
        *more,
    ]


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
