"""The command line itself, and what its commands share."""

import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from gen_models.errors import UserError
from gen_models.files import expanded
from gen_models.terminal import output_failed, protect_output
from gen_models.threads import watch


class _OneLine(TyperGroup):
    """Says in one line, without a frame and the usage, what is wrong."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command and exit."""
        watch()
        protect_output()
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except UserError as error:
            typer.echo(str(error), err=True)
            sys.exit(1)
        except typer.Abort:
            sys.exit(130)
        except Exception as error:
            if not hasattr(error, "format_message"):  # click's, wherever typer has click from
                raise
            typer.echo(error.format_message(), err=True)
            sys.exit(2)
        code = code if isinstance(code, int) else 0
        sys.exit(1 if output_failed() and code == 0 else code)


app = typer.Typer(
    cls=_OneLine,
    help="Use what `python train.py` has trained.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def command(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `app.command`; `~` in any path is the home directory."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def with_whole_paths(**values: Any) -> None:
            function(**{name: _expanded(value) for name, value in values.items()})

        return app.command(**options)(with_whole_paths)

    return register


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(each) for each in value]
    return expanded(value) if isinstance(value, Path) else value


class Checkpoint(StrEnum):
    """Which weights of a run."""

    last = "last"
    best = "best"


Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
Weights = Annotated[
    Checkpoint, typer.Option("--checkpoint", help="The last epoch's weights, or best.ckpt's.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the data sets, if it is not the run's.")
]
