"""`gen-models train`: what `python train.py` does, wherever the package is installed."""

import runpy
import sys
from typing import Annotated

import typer

from gen_models.cli.app import command
from gen_models.places import TRAIN


@command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
def train(
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OPTION=VALUE]...", help="model=gan phase=final ..."),
    ] = None,
) -> None:
    """Train one model or sweep over many, like `python train.py`; its --help lists the options."""
    sys.argv = [str(TRAIN), *(options or [])]
    runpy.run_path(sys.argv[0], run_name="__main__")
