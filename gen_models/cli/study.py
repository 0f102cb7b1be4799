"""`gen-models study`: a question answered by many runs."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import app


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="Of conf/study, or a YAML file.")
    ],
    train: Annotated[bool, typer.Option("--train", help="Train what is missing.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, a thread each.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of runs and page; default outputs/study/NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """Say what is there of a study, train the rest with --train, and answer its claims."""
    from gen_models.composition import compose_overrides
    from gen_models.study import terminal
    from gen_models.study.collect import collect
    from gen_models.study.load import load_study
    from gen_models.study.plan import plan
    from gen_models.study.train import train_missing

    given = load_study(name)
    folder = output or Path("outputs") / "study" / given.name
    runs = plan(given, compose_overrides, folder / "runs")
    terminal.show_state(given, runs, jobs)
    failed: list[str] = []
    try:
        if train:
            failed = train_missing(
                runs,
                jobs=jobs,
                logs=folder / "logs",
                say=typer.echo,
                ended=lambda run: collect(given, runs, folder) and None,
            )
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    collect(given, runs, folder)
    for line in failed:
        typer.echo(f"failed: {line}", err=True)
    if failed:
        raise typer.Exit(1)
