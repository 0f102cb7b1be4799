"""`gen-models study`: a question answered by many runs."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import command
from gen_models.errors import UserError


@command()
def study(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="A study of conf/study, or a YAML file.")
    ],
    launcher: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LAUNCHER]...",
            help="How to start each run: hydra/launcher=slurm hydra.launcher.timeout_min=90.",
            show_default=False,
        ),
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train the missing runs.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one thread each.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of runs and page; default outputs/study/NAME.", show_default=False
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="RUNS.CSV", help="Make the page from this table alone, without the runs."
        ),
    ] = None,
) -> None:
    """Decide a study's claims from its runs; with --train, train the missing runs first."""
    from gen_models.composition import compose_overrides
    from gen_models.study.load import load_study
    from gen_models.study.study import answer, answer_from_table, check_launcher

    options = list(launcher or [])
    check_launcher(options, compose_overrides)
    loaded = load_study(name)
    folder = output or Path("outputs") / "study" / loaded.name
    if runs is not None:
        if train:
            raise UserError("--runs: makes the page from a table: leave out --train")
        answer_from_table(loaded, runs, folder)
        return
    try:
        succeeded = answer(
            loaded, folder, compose_overrides, train=train, jobs=jobs, launcher=options
        )
    except KeyboardInterrupt:
        typer.echo("stopped; repeat the same command to resume", err=True)
        raise typer.Exit(130) from None
    if not succeeded:
        raise typer.Exit(1)
