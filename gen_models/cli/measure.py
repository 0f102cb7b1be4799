"""`gen-models compare, evaluate, study`: what is measured."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from gen_models.cli.app import DataRoot, OwnRun, app
from gen_models.errors import UserError
from gen_models.machine import use_threads

command = partial(app.command, rich_help_panel="Measure")


@command()
def compare(
    runs: Annotated[
        list[Path], Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    by: Annotated[
        str | None,
        Option(metavar="KEY", help="Plot the metrics against this setting: lr, activation, ..."),
    ] = None,
    output: Annotated[Path, Option(help="The folder of the report.")] = Path("comparison"),
) -> None:
    """Compare runs, each setting over several seeds, in a one-page report."""
    from gen_models.comparison.compare import compare as compare_runs
    from gen_models.comparison.report import show_result, write_report

    comparison = compare_runs(runs, by)
    show_result(comparison, write_report(comparison, output))


@command()
def evaluate(
    run: OwnRun,
    data_root: DataRoot = None,
    restarts: Annotated[
        int, Option(min=1, max=1000, help="Restarts of the search for a test image's z.")
    ] = 8,
    iterations: Annotated[int, Option(min=1, help="Steps of each restart.")] = 250,
    importance_samples: Annotated[
        int,
        Option(
            min=1, help="Samples for the bound of the likelihood (binarize=true); studies use 5000."
        ),
    ] = 1000,
    likelihood_images: Annotated[
        int | None,
        Option(
            min=2,
            help="Test images whose likelihood is measured; studies use 10000.",
            show_default="1000; 250 of a flow, which takes longer",
        ),
    ] = None,
    steps: Annotated[
        str | None,
        Option(
            metavar="N,N,...",
            help="Of a flow: measure only its images drawn in 1,2,4,8 steps, and what they cost.",
        ),
    ] = None,
    solver: Annotated[
        str | None,
        Option(
            metavar="NAME,...",
            help="The same with other solvers: euler,midpoint,heun, and dopri5 without --steps.",
        ),
    ] = None,
) -> None:
    """Measure a run again: realism and variety of new images, reconstruction, likelihood, cost.

    Compare only runs that were measured with the same options; the metrics record them. With
    --steps or --solver, only quality against cost is measured, and all other metrics are kept.
    """
    from gen_models.evaluation import reporting
    from gen_models.evaluation.evaluate import evaluate_run
    from gen_models.evaluation.measure import Effort
    from gen_models.evaluation.steps import measure_steps, show_steps
    from gen_models.runs.directory import RunDirectory
    from gen_models.terminal import quiet_libraries

    quiet_libraries()
    use_threads("auto")
    if steps is None and solver is None:
        effort = Effort(restarts, iterations, importance_samples, likelihood_images)
        evaluate_run(run, data_root=data_root, effort=effort, say=typer.echo)
        reporting.show_run(RunDirectory(run))
        return
    try:
        counts = [] if steps is None else [int(number) for number in steps.split(",")]
    except ValueError as error:
        raise UserError(
            f"--steps must be whole numbers with commas between them, such as 1,2,4,8, got {steps}"
        ) from error
    solvers = [] if solver is None else solver.split(",")
    metrics = measure_steps(run, solvers=solvers, steps=counts, data_root=data_root, say=typer.echo)
    show_steps(RunDirectory(run), metrics)


@command()
def study(
    name: Annotated[
        str, Argument(metavar="NAME_OR_FILE", help="A study of conf/study, or a YAML file.")
    ],
    launcher: Annotated[
        list[str] | None,
        Argument(
            metavar="LAUNCHER",
            help="How to start each run: hydra/launcher=slurm hydra.launcher.timeout_min=90.",
        ),
    ] = None,
    train: Annotated[bool, Option("--train", help="Train the missing runs.")] = False,
    jobs: Annotated[int, Option(min=1, help="Runs at the same time, one thread each.")] = 1,
    output: Annotated[
        Path | None, Option(help="Folder of runs and page; default outputs/study/NAME.")
    ] = None,
    runs: Annotated[
        Path | None,
        Option(metavar="RUNS.CSV", help="Make the page from this table alone, without the runs."),
    ] = None,
) -> None:
    """Decide a study's claims from its runs; with --train, train the missing runs first."""
    from gen_models.composition import compose_overrides
    from gen_models.study.load import load_study
    from gen_models.study.study import answer, answer_from_table, check_launcher

    options = launcher or []
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
