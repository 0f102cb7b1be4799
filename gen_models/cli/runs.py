"""`gen-models runs` and `models` list what is trained, `gen-models remove` deletes runs."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from gen_models.cli.app import command
from gen_models.errors import UserError
from gen_models.pretrained.catalogue import list_models
from gen_models.runs.directory import RunDirectory
from gen_models.runs.listing import Listed, list_runs
from gen_models.terminal import say

COLORS = {"running": "green", "stopped": "yellow", "diverged": "red", "failed": "red"}
SECONDS = 2  # between two updates of the table


@command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where runs are written.")] = Path("outputs"),
    tag: Annotated[
        list[str] | None,
        typer.Option(help="List only runs with this tag; more than one: with all of them."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Update the table until Ctrl-C.")] = False,
) -> None:
    """List all runs under a folder: how far they are, and how close to real images."""
    tags = tag or []
    if not watch:
        say(_table(list_runs(folder, tags)))
        return
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        while True:
            listed = sorted(list_runs(folder, tags), key=lambda run: run.state != "running")
            live.update(_table(listed), refresh=True)
            time.sleep(SECONDS)


@command()
def models() -> None:
    """List the trained models that come with gen-models: names to use instead of a run."""
    listed = list_models()
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("name", no_wrap=True)
    table.add_column("family")
    for name in ("parameters", "fid_lenet", "size"):
        table.add_column(name, justify="right", no_wrap=True)
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
    say(f"fid_lenet: distance to real images, lower is better (other real images: "
        f"{listed[0].real:.2f})")  # fmt: skip
    say("")
    say("Play     gen-models explore")
    say(f"Draw     gen-models sample {listed[-1].name} --digit 7")
    say(f'Python   gen_models.load_pretrained("{listed[0].name}")')


@command()
def remove(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete runs, with their weights, metrics and pictures."""
    different = {os.path.realpath(path): path for path in paths}
    doomed = [RunDirectory(path, replaced=True) for path in different.values()]
    for run in doomed:
        if os.path.islink(run.path):
            raise UserError(f"{run.path}: is a link: name the run itself, {run.path.resolve()}")
        if not os.path.exists(run.status):
            raise UserError(f"{run.path}: not a run (there is no status.json in it): name runs")
        if run.is_locked():
            raise UserError(f"{run.path}: is being trained or measured: stop that first")
    for run in doomed:
        state = run.read_status().get("status", "unreadable")
        say(f"{run.path} ({state}, {_mebibytes(run.path):.1f} MiB)")
    if not yes and not typer.confirm(f"Delete {'it' if len(doomed) == 1 else 'them'}?"):
        raise UserError("nothing was deleted: answer y, or pass --yes")
    for run in doomed:
        with run.lock():
            try:
                shutil.rmtree(run.path.absolute())  # "." itself cannot be removed
            except OSError as error:
                raise UserError(
                    f"{run.path}: cannot be deleted ({error.strerror}): check who may write there"
                ) from error


def _table(listed: Sequence[Listed]) -> Table:
    counts = Counter(run.state for run in listed)
    caption = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = Table(box=SIMPLE_HEAD, padding=0, caption=caption, caption_justify="left")
    for name in ("data", "model", "phase"):
        table.add_column(name, no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("epoch", "left", "fid_lenet"):
        table.add_column(name, justify="right", no_wrap=True)
    tagged = any(run.tags for run in listed)
    if tagged:
        table.add_column("tags", overflow="fold")
    for run in listed:
        color = COLORS.get(run.state)
        table.add_row(
            *map(escape, (run.data, run.model, run.phase, run.path.resolve().name)),
            f"[{color}]{run.state}[/]" if color else run.state,
            "-" if run.epoch is None else f"{run.epoch}/{run.epochs}",
            "-" if run.left is None else str(timedelta(seconds=round(run.left))),
            "-" if run.distance is None else f"{run.distance:.2f} {run.images}",
            *([escape(", ".join(run.tags))] if tagged else []),
        )
    return table


def _mebibytes(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
