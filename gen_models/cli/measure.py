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
    restarts: Annotated[int, typer.Option(help="Of the inversion of a test image.")] = 8,
    iterations: Annotated[int, typer.Option(help="Of each restart.")] = 250,
    importance_samples: Annotated[
        int,
        typer.Option(help="Of the likelihood's bound, with binarize=true; studies: 5000."),
    ] = 1000,
    likelihood_images: Annotated[
        int, typer.Option(help="Test images of which it is; studies: 10000.")
    ] = 1000,
) -> None:
    """Measure a run: distance of new images to the test images, reconstruction, likelihood, cost.

    Compare only runs measured with the same options, which stand among the metrics.
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
    evaluation = evaluate_run(run, data_root=data_root, effort=effort, say=typer.echo)
    reporting.show_evaluation(RunDirectory(run), evaluation.metrics)


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
        typer.Option(metavar="KEY", help="Draw metrics against this setting: lr, activation, ..."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("comparison"),
) -> None:
    """Compare runs: every seed, verdicts, pictures, in a report of one page."""
    from gen_models.comparison import report, terminal
    from gen_models.comparison.compare import compare as compare_runs

    comparison = compare_runs(runs, by)
    terminal.show(comparison, report.write_report(comparison, output))


@command()
def train_classifier(
    data: Annotated[str, typer.Option(help="mnist, fashion_mnist, kmnist or digits.")],
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; default GEN_MODELS_DATA or data.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Without ending; default: where `evaluate` finds it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and distortions.")] = 0,
) -> None:
    """Train the classifier whose features all distances use, and say how accurate it is."""
    from gen_models.runs.classifier import make_classifier

    make_classifier(data, root=data_root, output=output, seed=seed, say=typer.echo)
