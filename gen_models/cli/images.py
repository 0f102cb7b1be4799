"""`gen-models sample, reconstruct`: images out of a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import Checkpoint, DataRoot, Run, Weights, command


@command()
def sample(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .npy or .png file.")] = Path("samples.npy"),
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    digit: Annotated[
        int | None,
        typer.Option("--digit", "--class", min=0, max=9, help="That a conditional model draws."),
    ] = None,
    checkpoint: Weights = Checkpoint.last,
) -> None:
    """Draw new images: a .npy of uint8 (count, 28, 28), or a .png with a grid of them.

    A conditional model draws the digits 0 to 9 in turn; its grid has a row for each.
    """
    from gen_models.evaluation import sampling
    from gen_models.models.sampler import WithSampler
    from gen_models.runs.weights import load_model

    sampling.check_output(output, {".npy", ".png"})
    model = load_model(run, checkpoint=checkpoint.value)
    images = sampling.draw_images(model, count, seed, digit)
    sampling.write_images(images, output, in_turn=digit is None and model.conditional)
    by = f", drawn by the sampler {model.name}" if isinstance(model, WithSampler) else ""
    typer.echo(f"{count} images in {output}{by}")


@command()
def reconstruct(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .png file.")] = Path("pairs.png"),
    count: Annotated[int, typer.Option(min=1, help="How many test images.")] = 40,
    data_root: DataRoot = None,
    checkpoint: Weights = Checkpoint.last,
) -> None:
    """Show test images above what a VAE makes of them."""
    from gen_models.evaluation import sampling
    from gen_models.runs.directory import RunDirectory
    from gen_models.runs.weights import load_model

    sampling.check_output(output, {".png"})
    model = load_model(run, checkpoint=checkpoint.value, sampler=False)
    data = RunDirectory(run).read_config()["data"]
    root = data_root or data["root"]
    shown = sampling.write_pairs(model, data["name"], root, count, output)
    typer.echo(f"{shown} pairs in {output}")
