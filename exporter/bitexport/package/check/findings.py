"""What a check found: each finding names its rule; rules are data (rules.toml)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tomllib
from importlib.resources import files

LEVELS = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """One table of rules.toml."""

    name: str
    level: str
    summary: str
    source: str
    fix: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that something breaks, where, and what was seen there."""

    rule: Rule
    where: str
    seen: str


class Findings:
    """Collects what was found in one artefact, and what was looked at."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.looked_at: list[str] = []

    def add(self, rule: str, where: str, seen: str) -> None:
        """Take a finding; the rule is a table of rules.toml."""
        self.found.append(Finding(rule=load_rules()[rule], where=where, seen=seen))

    def look(self, where: str, what: str) -> None:
        """Note that something was looked at, and what it is."""
        self.looked_at.append(f"{where}: {what}")

    def sorted(self) -> list[Finding]:
        """Return the findings, the worst first, otherwise in the order of the rules."""
        names = list(load_rules())
        return sorted(
            self.found,
            key=lambda each: (
                LEVELS.index(each.rule.level), names.index(each.rule.name), each.where,
            ),
        )  # fmt: skip


def render(findings: Findings) -> str:
    """Return what was looked at, then each broken rule once: what it is, where, source, remedy."""
    lines = [*findings.looked_at]
    for rule, group in itertools.groupby(findings.sorted(), key=lambda each: each.rule):
        lines += ["", f"{rule.level} {rule.name}: {rule.summary}"]
        lines += [f"    {each.where}: {each.seen}" for each in group]
        lines += [f"  source: {rule.source}", f"  fix: {rule.fix}"]
    return "\n".join(lines)


@functools.cache
def load_rules() -> dict[str, Rule]:
    """Read rules.toml: the rules by name, in the order of the file."""
    text = (files(__package__) / "rules.toml").read_text(encoding="utf-8")
    return {name: Rule(name=name, **table) for name, table in tomllib.loads(text).items()}
