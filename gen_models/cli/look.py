"""`gen-models explore, sample, reconstruct, models, runs`: what is trained, and what it makes."""

import time
import webbrowser
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from gen_models.cli.app import Checkpoint, DataRoot, Run, app
from gen_models.pretrained.catalogue import find_run, list_models, page_models
from gen_models.runs.listing import Listed, list_runs
from gen_models.terminal import say

SHIPPED_PAGE = "gen-models.html"  # with the models that come with the package: may be replaced
COLORS = {"running": "green", "stopped": "yellow", "diverged": "red", "failed": "red"}
SECONDS = 2  # between two updates of the table

command = partial(app.command, rich_help_panel="Look")


@command()
def explore(
    runs: Annotated[
        list[Path] | None,
        Argument(
            metavar="RUN",
            help="One to three run directories, or names that `gen-models models` lists.",
            callback=lambda runs: [find_run(run) for run in runs or []],
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(help="An .html file.", show_default=f"explorer.html; without a RUN {SHIPPED_PAGE}"),
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file.")] = False,
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
def sample(
    run: Run,
    output: Annotated[Path, Option(help="A .npy or .png file.")] = Path("samples.png"),
    count: Annotated[int, Option(min=1, help="The number of images.")] = 64,
    seed: Annotated[int, Option(min=0, help="The seed of the noise.")] = 0,
    label: Annotated[
        int | None, Option("--class", "--digit", help="The class to draw, a number from 0.")
    ] = None,
    steps: Annotated[
        int | None, Option(help="Of a flow: the number of steps.", show_default="the run's")
    ] = None,
    solver: Annotated[
        str | None,
        Option(help="Of a flow: euler, midpoint, heun or dopri5.", show_default="the run's"),
    ] = None,
    checkpoint: Checkpoint = "last",
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
    sampler = f", drawn with the sampler {model.name}" if isinstance(model, WithSampler) else ""
    typer.echo(f"{count} images in {output}{sampler}")


@command()
def reconstruct(
    run: Run,
    output: Annotated[Path, Option(help="A .png file.")] = Path("pairs.png"),
    count: Annotated[int, Option(min=1, help="The number of test images.")] = 40,
    data_root: DataRoot = None,
    checkpoint: Checkpoint = "last",
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
def models() -> None:
    """List the trained models that come with gen-models: names to use instead of a run."""
    listed = list_models()
    table = _table(["name", "family"], ["parameters", "fid_lenet", "size"])
    table.add_column("digit on request")
    for model in listed:
        table.add_row(
            model.name,
            model.family,
            f"{model.parameters:,}",
            f"{model.distance:.2f}",
            f"{model.size / 1e6:.1f} MB",
            "yes" if model.classes else "no",
        )
    say(table)
    real = f"{listed[0].real:.2f}"
    say(f"fid_lenet: distance to real images, lower is better (other real images: {real})")
    say("")
    say("Play     gen-models explore")
    say(f"Draw     gen-models sample {listed[-1].name} --digit 7")
    say(f'Python   gen_models.load_pretrained("{listed[0].name}")')


@command()
def runs(
    folder: Annotated[Path, Argument(help="Where runs are written.")] = Path("outputs"),
    tag: Annotated[
        list[str] | None,
        Option(help="List only runs with this tag; more than one: with all of them."),
    ] = None,
    watch: Annotated[bool, Option("--watch", help="Update the table until Ctrl-C.")] = False,
) -> None:
    """List all runs under a folder: how far they are, and how close to real images."""
    if not watch:
        say(_runs_table(folder, list_runs(folder, tag or [])))
        return
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        while True:
            listed = sorted(list_runs(folder, tag or []), key=lambda run: run.state != "running")
            live.update(_runs_table(folder, listed), refresh=True)
            time.sleep(SECONDS)


def _runs_table(folder: Path, listed: Sequence[Listed]) -> Table:
    table = _table(["run", "state"], ["epoch", "left", "fid_lenet"])
    counts = Counter(run.state for run in listed)
    table.caption = ", ".join(f"{count} {state}" for state, count in counts.items())
    if tagged := any(run.tags for run in listed):
        table.add_column("tags", overflow="fold")
    for run in listed:
        place = run.path.resolve().name if run.path == folder else run.path.relative_to(folder)
        table.add_row(
            escape(str(place)),
            f"[{COLORS.get(run.state, 'none')}]{run.state}[/]",
            "-" if run.epoch is None else f"{run.epoch}/{run.epochs}",
            "-" if run.left is None else str(timedelta(seconds=round(run.left))),
            "-" if run.distance is None else f"{run.distance:.2f} {run.images}",
            *([escape(", ".join(run.tags))] if tagged else []),
        )
    return table


def _table(texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, caption_justify="left")
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
