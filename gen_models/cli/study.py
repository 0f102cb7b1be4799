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
    """Answer a study's claims from its runs; with --train, train the missing runs first."""
    from gen_models.composition import compose_overrides
    from gen_models.study import terminal
    from gen_models.study.collect import RUNS, collect, missing, of_one_code, of_study, read_table
    from gen_models.study.load import check_seeds, load_study
    from gen_models.study.page import write_page
    from gen_models.study.plan import plan
    from gen_models.study.train import train_missing

    options = list(launcher or [])
    for option in options:
        if not option.startswith(("hydra/launcher=", "hydra.launcher.")):
            raise UserError(
                f"{option}: the arms say what is trained; only hydra/launcher=NAME and "
                "hydra.launcher.OPTION=VALUE may stand here"
            )
    if options:
        compose_overrides(options)
    given = load_study(name)
    folder = output or Path("outputs") / "study" / given.name
    if runs is not None:
        if train or runs.name != RUNS or not runs.exists():
            raise UserError(f"--runs {runs}: must be a {RUNS} that is there, without --train")
        terminal.show_answers(write_page(given, read_table(runs.parent), folder))
        return
    if train:
        check_seeds(given)
    planned = plan(given, compose_overrides, folder / "runs")
    known = read_table(folder)
    waiting = missing(planned, known)
    terminal.show_state(given, planned, waiting, jobs)
    failed: list[str] = []
    try:
        if train:
            waiting, failed = of_one_code(waiting, of_study(given, known))
            failed += train_missing(
                waiting,
                jobs=jobs,
                launcher=options,
                logs=folder / "logs",
                say=typer.echo,
                ended=lambda run: collect(given, planned, folder),
            )
        table = collect(given, planned, folder)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    try:
        if of_study(given, table).rows:
            terminal.show_answers(write_page(given, table, folder))
    finally:
        for line in failed:
            typer.echo(f"failed: {line}", err=True)
    if failed:
        raise typer.Exit(1)
