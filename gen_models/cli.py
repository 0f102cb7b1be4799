"""`gen-models`: what comes after training. Torch is imported by the commands that need it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from gen_models.errors import UserError


class _OneLine(TyperGroup):
    """Says in one line, without a frame and the usage, what is wrong with a command line."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command and exit."""
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except typer.Abort:
            sys.exit(130)
        except Exception as error:
            if not hasattr(error, "format_message"):  # click's, wherever typer has click from
                raise
            typer.echo(error.format_message(), err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_OneLine,
    help="Use what `python train.py` has trained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Checkpoint(StrEnum):
    """Which weights of a run."""

    last = "last"
    best = "best"


Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
Weights = Annotated[
    Checkpoint, typer.Option("--checkpoint", help="The last epoch's weights, or best.ckpt's.")
]


@app.command()
def sample(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .npy or .png file.")] = Path("samples.npy"),
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    checkpoint: Weights = Checkpoint.last,
) -> None:
    """Draw new images: a .npy of uint8 (count, 28, 28), or a .png with a grid of them."""
    with _one_line_errors():
        from gen_models.evaluation import sampling
        from gen_models.runs.weights import load_model

        sampling.check_output(output, {".npy", ".png"})
        model = load_model(run, checkpoint=checkpoint.value)
        sampling.write_images(sampling.draw_images(model, count, seed), output)
    typer.echo(f"{count} images in {output}")


@app.command()
def reconstruct(
    run: Run,
    output: Annotated[Path, typer.Option(help="A .png file.")] = Path("pairs.png"),
    count: Annotated[int, typer.Option(min=1, help="How many test images.")] = 40,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, if it is not the run's.")
    ] = None,
    checkpoint: Weights = Checkpoint.last,
) -> None:
    """Show test images above what a VAE makes of them."""
    with _one_line_errors():
        from gen_models.evaluation import sampling
        from gen_models.runs.directory import RunDirectory
        from gen_models.runs.weights import load_model

        sampling.check_output(output, {".png"})
        model = load_model(run, checkpoint=checkpoint.value)
        data = RunDirectory(run).read_config()["data"]
        sampling.write_pairs(model, data["name"], data_root or data["root"], count, output)
    typer.echo(f"{count} pairs in {output}")


@app.command()
def evaluate(
    run: Run,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, if it is not the run's.")
    ] = None,
    restarts: Annotated[int, typer.Option(help="Of the inversion of a test image.")] = 4,
    iterations: Annotated[int, typer.Option(help="Of each restart; studies: 8 x 500.")] = 200,
    importance_samples: Annotated[
        int, typer.Option(help="Of the likelihood's bound, an image; studies: 5000.")
    ] = 1000,
) -> None:
    """Measure a run: distance of new images to the test images, reconstruction, likelihood, cost.

    Compare only runs measured with the same options, which stand among the metrics.
    """
    with _one_line_errors():
        from gen_models.evaluation import reporting
        from gen_models.evaluation.evaluate import evaluate_run
        from gen_models.evaluation.measure import Effort
        from gen_models.runs.directory import RunDirectory
        from gen_models.terminal import quiet_libraries

        quiet_libraries()
        try:
            effort = Effort(restarts, iterations, importance_samples)
        except ValueError as error:
            raise UserError(f"--{str(error).replace('_', '-', 1)}") from error
        evaluation = evaluate_run(run, data_root=data_root, effort=effort, say=typer.echo)
        reporting.show_evaluation(RunDirectory(run), evaluation.metrics)


@app.command()
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
    study: Annotated[
        str, typer.Option(metavar="NAME", help="Of conf/study, or a YAML file: its claims.")
    ] = "wanare",
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("comparison"),
) -> None:
    """Compare runs: means over seeds, verdicts, pictures, claims, in a report of one page."""
    with _one_line_errors():
        from gen_models.comparison import report, terminal
        from gen_models.comparison.compare import compare as compare_runs
        from gen_models.composition import compose_overrides
        from gen_models.study.answer import answer
        from gen_models.study.load import load_study

        claims = load_study(study)
        comparison = compare_runs(runs, by)
        answers = answer(claims, comparison.groups, comparison.bounds, compose_overrides)
        written = report.write_report(comparison, output, answers)
        terminal.show(comparison, written, answers)


@app.command()
def train_classifier(
    data: Annotated[str, typer.Option(help="mnist, fashion_mnist, kmnist or digits.")],
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; default GEN_MODELS_DATA or data.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Without ending; default: with the data set.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and distortions.")] = 0,
) -> None:
    """Train the classifier whose features all distances use, and say how accurate it is."""
    with _one_line_errors():
        from gen_models.training.classifier import make_classifier

        make_classifier(data, root=data_root, output=output, seed=seed, say=typer.echo)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
