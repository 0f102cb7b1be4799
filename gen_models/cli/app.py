"""The command line, and the arguments that its commands share."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from gen_models.errors import UserError
from gen_models.files import expanded
from gen_models.machine import watch_load
from gen_models.places import COMMAND
from gen_models.pretrained.catalogue import find_run
from gen_models.terminal import output_failed, protect_output

GROUPS = {  # how --help lists the commands, those that one wants first on top
    "Look": ["explore", "sample", "reconstruct", "models", "runs"],
    "Measure": ["compare", "evaluate", "study"],
    "Manage": ["train", "search", "fit-sampler", "export", "remove", "train-classifier"],
}


class _OneLine(TyperGroup):
    """Reports an error in one line, without a frame and the usage."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in the order of --help."""
        return [name for names in GROUPS.values() for name in names]

    def get_params(self, ctx: Any) -> Any:
        """All options, left out of --help: its end says what they do."""
        params = super().get_params(ctx)
        for param in params:
            param.hidden = True  # type: ignore[attr-defined]
        return params

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command and exit."""
        watch_load()
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
    help=f"Look at what `{COMMAND}` has trained, measure it and manage it.",
    epilog="gen-models COMMAND --help explains a command; "
    "gen-models --install-completion lets the Tab key complete them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def command(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `app.command`, in its group of --help, with `~` in any path as the home directory."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def with_expanded_paths(**values: Any) -> None:
            function(**{name: _expanded(value) for name, value in values.items()})

        name = function.__name__.replace("_", "-")
        (group,) = (group for group, names in GROUPS.items() if name in names)
        return app.command(rich_help_panel=group, **options)(with_expanded_paths)

    return register


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(each) for each in value]
    return expanded(value) if isinstance(value, Path) else value


Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory, or a name that `gen-models models` lists.",
        show_default=False,
        callback=find_run,
    ),
]
Weights = Annotated[
    Literal["last", "best"],
    typer.Option("--checkpoint", help="Use the weights of the last epoch, or those of best.ckpt."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="The folder of the data sets, if it is not the run's.", show_default=False),
]
