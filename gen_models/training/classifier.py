"""The classifier of a data set: it comes with the package, lies with the data, or is trained."""

import sys
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.metrics.classifier import (
    Classifier,
    classifier_path,
    load_classifier,
    save_classifier,
    train_classifier,
)

Say = Callable[[str], None]


def find_classifier(datamodule: MNISTDataModule, say: Say) -> Classifier:
    """From the package, from the folder of the data, or trained there now."""
    path = classifier_path(datamodule.name, datamodule.root)
    if path.with_suffix(".safetensors").exists():
        return load_classifier(path)
    return make_classifier(datamodule.name, root=datamodule.root, say=say)


def make_classifier(
    name: str,
    *,
    root: str | Path | None = None,
    output: Path | None = None,
    seed: int = 0,
    say: Say,
) -> Classifier:
    """Train the classifier of a data set and write it to `output`, or to the data folder.

    Raises:
        UserError: There is no such data set, or its files are missing.
    """
    try:
        datamodule = MNISTDataModule(name=name, root=root, batch_size=1)
    except ValueError as error:
        raise UserError(f"--data: {error}") from error
    datamodule.prepare_data()
    datamodule.setup()
    path = output or datamodule.root / "classifiers" / (f"{name}_{seed}" if seed else name)
    say(f"training a classifier for {name}: {path}.safetensors")
    with Progress(disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("training", total=None)

        def on_step(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        made = train_classifier(datamodule.splits, name=name, seed=seed, on_step=on_step)
    save_classifier(made, path)
    classifier = load_classifier(path)
    accuracy = classifier.record["test_accuracy"]
    say(f"{path}.safetensors: {100 * accuracy:.2f} % of the test images")
    return classifier
