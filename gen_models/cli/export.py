"""`gen-models export`: a run for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import DataRoot, Run, command


class Kind(StrEnum):
    """The files of an export."""

    onnx = "onnx"
    torch = "torch"


@command()
def export(
    run: Run,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
    kind: Annotated[
        Kind, typer.Option("--format", help="ONNX, or programs of torch.export (.pt2).")
    ] = Kind.onnx,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Write generator or decoder, encoder and classifier as files, checked, with a model card."""
    from gen_models.export.export import export_run

    export_run(
        run,
        kind=kind.value,
        output=output,
        overwrite=overwrite,
        data_root=data_root,
        say=typer.echo,
    )
