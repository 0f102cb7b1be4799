"""`gen-models evaluate, compare, train-classifier`: what is measured."""

from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import DataRoot, Run, command
from gen_models.errors import UserError
from gen_models.threads import prepare


@command()
def evaluate(
    run: Run,
    data_root: DataRoot = None,
    restarts: Annotated[int, typer.Option(help="Restarts of the search for a test image's z.")] = 8,
    iterations: Annotated[int, typer.Option(help="Steps of each restart.")] = 250,
    importance_samples: Annotated[
        int,
        typer.Option(
            help="Samples for the bound of the likelihood (binarize=true); studies use 5000."
        ),
    ] = 1000,
    likelihood_images: Annotated[
        int, typer.Option(help="Test images whose likelihood is bounded; studies use 10000.")
    ] = 1000,
) -> None:
    """Measure a run again: realism and variety of new images, reconstruction, likelihood, cost.

    Compare only runs that were measured with the same options; the metrics record them.
    """
    prepare("auto")
    from gen_models.evaluation import reporting
    from gen_models.evaluation.evaluate import evaluate_run
    from gen_models.evaluation.measure import Effort
    from gen_models.runs.directory import RunDirectory
    from gen_models.terminal import quiet_libraries

    quiet_libraries()
    try:
        effort = Effort(restarts, iterations, importance_samples, likelihood_images)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from error
    evaluate_run(run, data_root=data_root, effort=effort, say=typer.echo)
    reporting.show_run(RunDirectory(run))


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
    from gen_models.comparison import report, terminal
    from gen_models.comparison.compare import compare as compare_runs

    comparison = compare_runs(runs, by)
    terminal.show(comparison, report.write_report(comparison, output))


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
