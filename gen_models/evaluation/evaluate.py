"""All measurements of one trained run, into its directory.

metrics.json  evaluation.npz  figures/*.png  projector/  and "evaluation" in status.json.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from rich.progress import Progress

from gen_models.data import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.bounds import find_bounds
from gen_models.evaluation.classifier import (
    Classifier,
    classifier_path,
    load_classifier,
    save_classifier,
    train_classifier,
)
from gen_models.evaluation.cost import measure_cost
from gen_models.evaluation.measure import (
    QUICK_SAMPLES,
    Effort,
    Evaluation,
    Reference,
    measure,
    measure_quick,
    prefixed,
    reference,
)
from gen_models.evaluation.pixels import as_bytes
from gen_models.memory import give_back_freed_memory
from gen_models.runs import RunDirectory, load_model, read_json, write_json

Say = Callable[[str], None]


@torch.random.fork_rng(devices=[])  # rebuilding a network draws its first weights
def evaluate_run(
    run: str | Path,
    *,
    data_root: str | Path | None = None,
    effort: Effort | None = None,
    say: Say,
) -> Evaluation:
    """Measure the last epoch's weights of a run; the figures join its metrics, the pictures its.

    A second evaluation replaces what the first has written, whatever its effort, which stands
    among the metrics. Floors and ceilings are the same for every run on a data set: they are
    measured once for a classifier and kept in the user's cache.

    Args:
        run: A finished run's directory.
        data_root: Folder of the data sets; None means the run's.
        effort: Of the searches; None means the default.
        say: Called with a line before each part.

    Raises:
        UserError: Not a finished run, or its data are missing.
    """
    # Here, because matplotlib takes a second to import.
    from gen_models import pictures, reporting
    from gen_models.callbacks import sample_fixed

    give_back_freed_memory()
    begin = perf_counter()
    directory = RunDirectory(run)
    model = load_model(run)
    read_json(directory.metrics)  # damaged, it is said now, not after minutes
    datamodule, real = _real_images(directory, data_root, say)
    bounds = find_bounds(datamodule.name, real, say)
    try:
        evaluation = measure(model, real, effort=effort, say=say)
    except ValueError as error:  # a feature is not finite
        raise _unmeasurable(directory, error) from error
    say("counting its cost")
    batch = datamodule.splits["train"].images[: datamodule.batch_size]
    cost = measure_cost(model, batch, directory.read_status())
    evaluation = Evaluation(
        evaluation.metrics | bounds | cost,
        evaluation.arrays | {"pictures_samples": as_bytes(sample_fixed(model, 100))},
    )
    _add(directory, evaluation.metrics)
    arrays = {name: array.numpy() for name, array in evaluation.arrays.items()}
    np.savez(directory.path / "evaluation.npz", **arrays)  # type: ignore[arg-type]
    pictures.write_figures(directory)
    if hasattr(model, "encode"):
        pictures.write_projector(directory, model, real.test, real.labels)
    record = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(perf_counter() - begin, 3),
        "classifier": real.classifier.record["sha256"],
    }
    directory.write_status(evaluation=record | reporting.machine())
    return evaluation


def evaluate_quickly(run: str | Path, *, data_root: str | Path | None = None, say: Say) -> None:
    """Measure 2,000 new images and the plain reconstruction; seconds. Keys: "quick/...".

    Raises:
        UserError: As `evaluate_run`.
    """
    directory = RunDirectory(run)
    model = load_model(run)
    datamodule, real = _real_images(directory, data_root, say, count=QUICK_SAMPLES)
    try:
        metrics = measure_quick(model, real) | find_bounds(datamodule.name, real, say)
        _add(directory, prefixed("quick", metrics))
    except ValueError as error:
        raise _unmeasurable(directory, error) from error


def make_classifier(
    name: str,
    *,
    root: str | Path | None = None,
    output: Path | None = None,
    seed: int = 0,
    say: Say,
) -> Classifier:
    """Train the classifier of a data set and write it to `output`, or beside the data set.

    Raises:
        UserError: There is no such data set, or its files are missing.
    """
    try:
        datamodule = MNISTDataModule(name=name, root=root, batch_size=1)
    except ValueError as error:
        raise UserError(f"--data: {error}") from error
    datamodule.prepare_data()
    datamodule.setup()
    path = output or datamodule.root / "classifiers" / name
    say(f"training a classifier for {name}: {path}.safetensors")
    with Progress(disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("training", total=None)

        def on_step(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        save_classifier(train_classifier(datamodule, seed=seed, on_step=on_step), path)
    classifier = load_classifier(path)
    accuracy = classifier.record["test_accuracy"]
    say(f"{path}.safetensors: {100 * accuracy:.2f} % of the test images")
    return classifier


def find_classifier(datamodule: MNISTDataModule, say: Say) -> Classifier:
    """From the package, from beside the data, or trained there now."""
    path = classifier_path(datamodule.name, datamodule.root)
    if path.with_suffix(".safetensors").exists():
        return load_classifier(path)
    return make_classifier(datamodule.name, root=datamodule.root, say=say)


def _real_images(
    directory: RunDirectory, data_root: str | Path | None, say: Say, **options: int
) -> tuple[MNISTDataModule, Reference]:
    """The run's data, and the images that it is measured against."""
    data = directory.read_config()["data"]
    datamodule = MNISTDataModule(
        name=data["name"], root=data_root or data["root"], batch_size=data["batch_size"]
    )
    datamodule.prepare_data()
    datamodule.setup()
    real = reference(datamodule, find_classifier(datamodule, say), **options)
    return datamodule, real


def _add(directory: RunDirectory, metrics: dict[str, float]) -> None:
    write_json(directory.metrics, read_json(directory.metrics) | metrics)


def _unmeasurable(directory: RunDirectory, error: ValueError) -> UserError:
    return UserError(f"{directory.path}: its images cannot be measured: {error}")
