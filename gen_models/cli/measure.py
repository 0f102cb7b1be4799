"""`gen-models evaluate, compare, train-classifier`: what is measured."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import DataRoot, Run, command
from gen_models.errors import UserError
from gen_models.machine import prepare_threads


@command()
def evaluate(
    run: Run,
    data_root: DataRoot = None,
    restarts: Annotated[
        int, typer.Option(min=1, max=1000, help="Restarts of the search for a test image's z.")
    ] = 8,
    iterations: Annotated[int, typer.Option(min=1, help="Steps of each restart.")] = 250,
    importance_samples: Annotated[
        int,
        typer.Option(
            min=1, help="Samples for the bound of the likelihood (binarize=true); studies use 5000."
        ),
    ] = 1000,
    likelihood_images: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Test images whose likelihood is measured; studies use 10000.",
            show_default="1000; 250 of a flow, which takes longer",
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Of a flow: measure only its images drawn in 1,2,4,8 steps, and what they cost.",
            show_default=False,
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="The same with other solvers: euler,midpoint,heun, and dopri5 without --steps.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a run again: realism and variety of new images, reconstruction, likelihood, cost.

    Compare only runs that were measured with the same options; the metrics record them. With
    --steps or --solver, only quality against cost is measured, and all other metrics are kept.
    """
    prepare_threads("auto")
    from gen_models.evaluation import reporting
    from gen_models.evaluation.evaluate import evaluate_run
    from gen_models.evaluation.measure import Effort
    from gen_models.evaluation.steps import measure_steps, show_steps
    from gen_models.runs.directory import RunDirectory
    from gen_models.terminal import quiet_libraries

    quiet_libraries()
    if steps is not None or solver is not None:
        solvers = [] if solver is None else solver.split(",")
        counts = [] if steps is None else _whole_numbers("--steps", steps)
        metrics = measure_steps(
            run, solvers=solvers, steps=counts, data_root=data_root, say=typer.echo
        )
        show_steps(RunDirectory(run), metrics)
        return
    effort = Effort(restarts, iterations, importance_samples, likelihood_images)
    evaluate_run(run, data_root=data_root, effort=effort, say=typer.echo)
    reporting.show_run(RunDirectory(run))


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"{option} must be whole numbers with commas between them, such as 1,2,4,8, got {text}"
        ) from error


@command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run directories, or folders of them.", show_default=False
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Plot the metrics against this setting: lr, activation, ...",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("comparison"),
) -> None:
    """Compare runs, each setting over several seeds, in a one-page report."""
    from gen_models.comparison.compare import compare as compare_runs
    from gen_models.comparison.report import show_result, write_report

    comparison = compare_runs(runs, by)
    show_result(comparison, write_report(comparison, output))


@command()
def train_classifier(
    data: Annotated[
        str, typer.Option(help="A published data set, such as mnist or svhn.", show_default=False)
    ],
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the data sets; default GEN_MODELS_DATA or data.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file without its ending; default: where `evaluate` looks for it.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of weights, order and distortions.")
    ] = 0,
) -> None:
    """Train the classifier that all distances need, and print its accuracy."""
    from gen_models.runs.classifier import make_classifier

    make_classifier(data, root=data_root, output=output, seed=seed, say=typer.echo)
