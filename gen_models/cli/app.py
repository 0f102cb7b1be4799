"""The command line, and the arguments that its commands share."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from gen_models.errors import UserError
from gen_models.files import with_home
from gen_models.places import COMMAND
from gen_models.pretrained.catalogue import find_run
from gen_models.terminal import output_failed, protect_output


class _OneLine(TyperGroup):
    """Reports an error in one line, without a frame and the usage."""

    def get_params(self, ctx: Any) -> Any:
        """All options, left out of --help: its end says what they do."""
        params = super().get_params(ctx)
        for param in params:
            param.hidden = True  # type: ignore[attr-defined]
        return params

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> NoReturn:
        """Run the command and exit."""
        protect_output()
        try:
            words = with_home(sys.argv[1:] if args is None else args)
            code = super().main(words, **{**options, "standalone_mode": False})
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
    help=f"Look at what `{COMMAND}` has trained, measure it and manage it.",
    epilog="gen-models COMMAND --help explains a command; "
    "gen-models --install-completion lets the Tab key complete them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("gen-models"))
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version)] = False,
) -> None:
    """What the command itself takes, without a subcommand."""


Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory, or a name that `gen-models models` lists.",
        callback=find_run,
    ),
]
OwnRun = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", callback=find_run)]
DataRoot = Annotated[
    Path | None, typer.Option(help="The folder of the data sets, if it is not the run's.")
]
Checkpoint = Annotated[
    Literal["last", "best"],
    typer.Option(help="Use the weights of the last epoch, or those of best.ckpt."),
]
