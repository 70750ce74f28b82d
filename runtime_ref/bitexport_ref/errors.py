"""What the reference refuses, and the status a runtime reports for the same refusal."""

from __future__ import annotations

from typing import ClassVar


class ReferenceFailure(Exception):  # noqa: N818 - a failure of the model, not of the reference
    """A model or an input that the reference does not compute; the message names op and output."""

    status: ClassVar[str] = "BITX_E_UNSUPPORTED"


class NotFinite(ReferenceFailure):
    """A NaN, an infinity, or a value too large for the dtype of the state."""

    status = "BITX_E_NOT_FINITE"


class TokenOutside(ReferenceFailure):
    """A token outside the vocabulary."""

    status = "BITX_E_TOKEN"


class ContextFull(ReferenceFailure):
    """More positions than the model has."""

    status = "BITX_E_FULL"


class BadOperand(ReferenceFailure):
    """An operand whose dtype or shape is not the one that the op asks for."""

    status = "BITX_E_ARGUMENT"


class BadText(ReferenceFailure):
    """A text that is not well-formed UTF-8; `at` is the first byte that does not belong."""

    status = "BITX_E_TEXT"

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class BadRole(ReferenceFailure):
    """A row of roles that the model's chat template has no form for."""

    status = "BITX_E_ROLE"


class NoToken(ReferenceFailure):
    """No token is left to choose."""

    status = "BITX_E_MASK"
