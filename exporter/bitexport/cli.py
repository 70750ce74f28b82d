"""The command line.  Finds the commands, prints what went wrong; decides nothing."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
from typing import Any

import click

from bitexport import __version__, commands
from bitexport.errors import USAGE_EXIT_CODE, BitexportError


class Refusing(click.Group):
    """Print a failure the user can act on as a sentence and a hint, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the files in commands/: a command exists because its file does."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the `command` of commands/<name>.py; only that file is imported."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and leave with its exit code."""
        kwargs["standalone_mode"] = False
        signal.signal(signal.SIGTERM, _stop)  # a build that is told to stop tidies up, too
        try:
            result = super().main(*args, **kwargs)
        except BitexportError as error:
            click.echo(f"error: {error}", err=True)
            if error.hint:
                click.echo(f"\nhint: {error.hint}", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(USAGE_EXIT_CODE)
        except click.Abort:
            click.echo("aborted", err=True)
            sys.exit(130)
        sys.exit(result if isinstance(result, int) else 0)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@click.group(cls=Refusing, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitexport")
def main() -> None:
    """Export ternary models: what you verified here is, bit for bit, what runs there."""
