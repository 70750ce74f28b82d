"""The rules of FORMAT.md that `bitx_model_check_text` asks, for who reads of a broken one."""

from __future__ import annotations

SECTIONS = {26: "tokenizer", 27: "chat template", 28: "generation defaults"}
REBUILD = "copy the file again, or build the bundle again"


def damage(rule: int, record: int) -> str | None:
    """Say which section is damaged when a rule is broken; None if the rule is about no text."""
    if rule not in SECTIONS:
        return None
    return f"section `{SECTIONS[rule]}` is damaged: rule {rule} of FORMAT.md, record {record}"
