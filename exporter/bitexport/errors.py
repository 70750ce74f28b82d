"""What can go wrong, told to the user: one class per remedy, one exit code per kind of failure."""

from __future__ import annotations

from subprocess import CompletedProcess
from typing import ClassVar

USAGE_EXIT_CODE = 64


class BitexportError(Exception):
    """A failure the user can act on.  The CLI prints it without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class OutputError(BitexportError):
    """The place to write to is taken, full, or not writable."""


class BundleError(BitexportError):
    """The folder is no bundle, or not the one its manifest describes."""


class BudgetError(BitexportError):
    """A token, or a session, costs more than a test allows."""


class TextError(BitexportError):
    """A text, a conversation or a way of choosing tokens that the model cannot take."""

    exit_code = USAGE_EXIT_CODE


class RunError(BitexportError):
    """A program was started on a core and did not end well."""

    def __init__(
        self, message: str, *, completed: CompletedProcess[str], hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.completed = completed


class TargetError(BitexportError):
    """No such target or core, or a target file that says something we do not understand."""

    exit_code = 2


class CheckpointError(BitexportError):
    """The checkpoint is damaged, or is not ternary, or is a model we do not know."""

    exit_code = 3


class MismatchError(BitexportError):
    """Two implementations of the same computation returned different bits."""

    exit_code = 4


class ToolchainError(BitexportError):
    """A compiler or emulator is missing, or refused its work."""

    exit_code = 5


class CheckError(BitexportError):
    """An artefact breaks a rule of a store or a loader."""

    exit_code = 6
