"""`gen-models explore`: runs to play with, in a page."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import DataRoot, command


@command()
def explore(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN [RUN]", help="One run directory or two.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(help="An .html file.")] = Path("explorer.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Write a page to play with: new images, their latent space, digits that you draw."""
    from gen_models.explorer.explore import explore as write_page

    page = write_page(runs, output, data_root=data_root, overwrite=overwrite, say=typer.echo)
    for sentence in page.left_out:
        typer.echo(sentence)
    typer.echo(
        f"{page.path}: {page.size / 1e6:.1f} MB; open it in a browser, it needs no network. "
        "Its weights are 16-bit floats: of 1,000 new images, no pixel changes by more than "
        f"{page.difference:.2g} of 255 levels."
    )
