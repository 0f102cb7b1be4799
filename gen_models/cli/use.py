"""`gen-models sample, reconstruct, explore, export, fit-sampler`: what one does with a model."""

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated, Literal

import typer

from gen_models.cli.app import DataRoot, Run, Weights, command
from gen_models.pretrained.catalogue import find_run, page_models

SHIPPED_PAGE = "gen-models.html"  # with the models that come with the package: may be replaced


@command()
def sample(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .npy or .png file.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, help="The number of images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the noise.")] = 0,
    label: Annotated[
        int | None,
        typer.Option("--class", "--digit", help="The class to draw, a number from 0."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of a flow: the number of steps.", show_default="the run's")
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(help="Of a flow: euler, midpoint, heun or dopri5.", show_default="the run's"),
    ] = None,
    checkpoint: Weights = "last",
) -> None:
    """Draw new images with a model, into a .npy array or a .png grid.

    The array is uint8, (count, h, w) in grey and (count, h, w, 3) in colour. A conditional model
    draws its classes in turn, and the grid of up to 20 has a row for each; with --class it draws
    only that one.
    """
    from gen_models.evaluation import sampling
    from gen_models.evaluation.steps import choose_solver, require_steps
    from gen_models.models.sampler import WithSampler
    from gen_models.runs.weights import load_model

    sampling.check_output(output, {".npy", ".png"})
    model = load_model(run, checkpoint=checkpoint)
    if steps is not None or solver is not None:
        choose_solver(require_steps(model, run), solver, steps)
    images = sampling.draw_images(model, count, seed, label)
    sampling.write_images(images, output, classes=model.label_dim if label is None else 0)
    with_sampler = (
        f", drawn with the sampler {model.name}" if isinstance(model, WithSampler) else ""
    )
    typer.echo(f"{count} images in {output}{with_sampler}")


@command()
def reconstruct(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .png file.")] = Path("pairs.png"),
    count: Annotated[int, typer.Option(min=1, help="The number of test images.")] = 40,
    data_root: DataRoot = None,
    checkpoint: Weights = "last",
) -> None:
    """Show test images above a VAE's reconstructions of them."""
    from gen_models.evaluation import sampling
    from gen_models.runs.directory import RunDirectory
    from gen_models.runs.weights import load_model

    sampling.check_output(output, {".png"})
    model = load_model(run, checkpoint=checkpoint, sampler=False)
    shown = sampling.write_pairs(model, RunDirectory(run), data_root, count, output)
    typer.echo(f"{shown} pairs in {output}")


@command()
def explore(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="One to three run directories, or names that `gen-models models` lists.",
            show_default=False,
            callback=lambda runs: [find_run(run) for run in runs or []],
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="An .html file.", show_default=f"explorer.html; without a RUN {SHIPPED_PAGE}"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Write an HTML page to play with up to three models: new images, sliders, own drawings.

    Without a RUN it shows the models that come with gen-models, and opens in the browser.
    """
    from gen_models.explorer.explore import explore as write_page

    if not runs and output is None:
        overwrite = True
    output = output or Path("explorer.html" if runs else SHIPPED_PAGE)
    page = write_page(
        runs or page_models(), output, data_root=data_root, overwrite=overwrite, say=typer.echo
    )
    for sentence in page.left_out:
        typer.echo(sentence)
    rounding = (
        " The page holds the weights as 16-bit floats, which changes no pixel by more than "
        f"{page.difference:.2g} of 255 levels."
    )
    typer.echo(
        f"{output}: {page.size / 1e6:.1f} MB; open it in a browser, it needs no network."
        f"{rounding if page.difference else ''}"
    )
    if not runs and not webbrowser.open(output.resolve().as_uri()):
        typer.echo("No browser could be started.")


@command()
def export(
    run: Run,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder to make.", show_default=False)
    ],
    kind: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--format", help="ONNX, or programs of torch.export (.pt2)."),
    ] = "onnx",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Write a run's networks as ONNX or torch.export files, with a model card."""
    from gen_models.export.export import export_run

    export_run(
        run, kind=kind, output=output, overwrite=overwrite, data_root=data_root, say=typer.echo
    )


@command()
def fit_sampler(
    run: Run,
    kind: Annotated[
        Literal["gmm", "normal"],
        typer.Option(help="A Gaussian mixture, whose size is chosen, or one Gaussian."),
    ] = "gmm",
    seed: Annotated[int, typer.Option(min=0, help="The seed of the fit.")] = 0,
    data_root: DataRoot = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the sampler; the run draws from its prior.")
    ] = False,
) -> None:
    """Fit a sampler to a VAE's latents, so that it draws better images than from its prior.

    It is fitted to the latents of training images. From then on `sample` and `evaluate` use it, and
    say so.
    """
    from gen_models.evaluation import fit_sampler as fitting

    if remove:
        fitting.remove_sampler(run)
        typer.echo(f"{run} draws from its prior again")
    else:
        fitting.fit_sampler(run, kind=kind, seed=seed, data_root=data_root, say=typer.echo)
    typer.echo(f"Measure it again: gen-models evaluate {shlex.quote(str(run))}")
