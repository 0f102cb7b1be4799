"""`gen-models fit-sampler`: how the latents of a trained model are drawn."""

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from gen_models.cli.app import DataRoot, Run, command


class Kind(StrEnum):
    """What is fitted."""

    gmm = "gmm"
    normal = "normal"


@command()
def fit_sampler(
    run: Run,
    kind: Annotated[
        Kind, typer.Option(help="A Gaussian mixture (its size is chosen), or one Gaussian.")
    ] = Kind.gmm,
    seed: Annotated[int, typer.Option(min=0, help="Of the fit.")] = 0,
    data_root: DataRoot = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete it: the prior draws again.")
    ] = False,
) -> None:
    """Fit what a VAE's latents are drawn from to those of training images, not to the prior.

    From then on `sample` and `evaluate` draw by it, and say so.
    """
    from gen_models.evaluation import fit_sampler as fitting

    if remove:
        fitting.remove_sampler(run)
        typer.echo(f"{run}: draws from its prior")
    else:
        fitting.fit_sampler(run, kind=kind.value, seed=seed, data_root=data_root, say=typer.echo)
    typer.echo(f"Measure it again: gen-models evaluate {shlex.quote(str(run))}")
