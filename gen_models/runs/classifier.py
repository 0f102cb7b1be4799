"""The data of a run, and their classifier: from the package, the data's folder, or trained.

Where there are no labels, or it learns too little from them, a network of random weights takes its
place, and the run's status records that.
"""

import copy
import sys
from pathlib import Path

from rich.progress import Progress

from gen_models.data.dataset import Dataset, changes
from gen_models.data.facts import FACTS
from gen_models.data.module import MNISTDataModule, load_data
from gen_models.errors import UserError
from gen_models.files import can_be_written
from gen_models.metrics.classifier import (
    Classifier,
    cached_path,
    classifier_path,
    is_kept,
    load_classifier,
    some,
)
from gen_models.metrics.fit_classifier import (
    STANDARDISED_BY,
    save_classifier,
    train_classifier,
    untrained_classifier,
)
from gen_models.runs.directory import RunDirectory, features_in_words, features_record
from gen_models.terminal import Say

POOR = 0.6  # test accuracy below which a classifier is not used
PART = {"mnist": "mnist5k"}  # of a data set, a part that needs no download


_in_memory: dict[Path, Classifier] = {}  # those that this process has read or trained


def load_run_data(run: RunDirectory, root: str | Path | None = None) -> MNISTDataModule:
    """The data of a run, ready to be used; `root` is where they are now, if they were moved.

    Of a model that comes with the package, without `root`: a part that needs no download.

    Raises:
        UserError: They are missing or damaged, or are not those on which the run was trained.
    """
    options = run.read_config()["data"]
    if run.shipped and root is None:
        options = {"name": PART.get(options["name"], options["name"])}
    data = load_data(options, root)
    check_same_data(run, data)
    return data


def check_same_data(run: RunDirectory, data: MNISTDataModule) -> None:
    """Refuse images of the user's own that have changed since the run was trained on them.

    Raises:
        UserError: The line says what has changed.
    """
    before = run.read_status().get("data")
    if before and (changed := changes(before, data.dataset.record())):
        raise UserError(
            f"{run.path}: was trained on other images than those in {data.root} ({changed}): "
            "put back what was there, or train anew with another data.name or overwrite=true"
        )


def find_classifier(datamodule: MNISTDataModule, say: Say) -> Classifier:
    """The classifier of a data set: loaded from wherever it is kept, or trained.

    A new one is kept for later. Where it cannot be kept, this process uses it all the same. Without
    labels, or below 60 % of right answers, it is one of random weights instead.

    Args:
        datamodule: Of the data set; whether a run trains on validation images changes nothing.
        say: Called with a line for each step.

    Returns:
        A copy, which its user may move to a device.
    """
    dataset = datamodule.dataset
    if dataset.class_names:
        classifier = _known(datamodule, say)
        accuracy = classifier.record["test_accuracy"]
        if accuracy >= POOR:
            return copy.deepcopy(classifier)
        reason = f"its classifier knows only {100 * accuracy:.0f} % of the test images"
    else:
        reason = "its images have no labels"
    place = Path(datamodule.key)
    if place not in _in_memory:
        few = some(dataset.splits["train"], STANDARDISED_BY)
        _in_memory[place] = untrained_classifier(few.images, reason)
    words = features_in_words(features_record(_in_memory[place]))
    say(f"{datamodule.name}: distances are measured in {words}")
    return copy.deepcopy(_in_memory[place])


def _known(datamodule: MNISTDataModule, say: Say) -> Classifier:
    """The classifier of labelled images, however good it is."""
    key, root = datamodule.key, datamodule.root
    path = classifier_path(key, root)
    if path not in _in_memory and is_kept(path):
        try:
            _in_memory[path] = load_classifier(path)
        except UserError as error:
            if path != cached_path(key, root):
                raise
            say(f"{error}: trained anew")
    if path not in _in_memory:
        place = _place(key, root, 0, say)
        _in_memory[path] = _train(datamodule.dataset, key, 0, place, say)
        try:
            if place:
                save_classifier(_in_memory[path], place)
        except OSError as error:
            say(f"{place}.safetensors: cannot be written ({error.strerror})")
    return _in_memory[path]


def kept_classifier(key: str, root: Path, run: RunDirectory) -> tuple[Classifier | None, str]:
    """The classifier of a data set for what does not train one; else a clause with the reason.

    Args:
        key: The data module's.
        root: Folder of the data sets.
        run: A run on the data set, whose evaluation trains one.
    """
    path = classifier_path(key, root)
    if not is_kept(path):
        return None, f"there is no classifier of {key} yet (gen-models evaluate {run.path})"
    classifier = load_classifier(path)
    if (accuracy := classifier.record["test_accuracy"]) < POOR:
        return None, f"the classifier of {key} knows only {100 * accuracy:.0f} % of the test images"
    return classifier, ""


def make_classifier(
    name: str,
    *,
    root: str | Path | None = None,
    output: Path | None = None,
    seed: int = 0,
    say: Say,
) -> Classifier:
    """Train the classifier of a data set and keep it.

    Args:
        name: Of the data set.
        root: Folder of the data sets.
        output: Where it is written, without its ending; None: to the folder of the data, or to the
            user's cache where that cannot be written.
        seed: Of its training.
        say: Called with a line for each step.

    Raises:
        UserError: There is no such data set, its files are missing, or it cannot be kept.
    """
    try:
        datamodule = MNISTDataModule(name=name, root=root)
    except ValueError as error:
        raise UserError(f"--data: {error}") from error
    place = output or _place(name, datamodule.root, seed, say)
    if not place or not can_be_written(place.parent):
        where = f"{output.parent}: cannot be written" if output else "it can be kept nowhere"
        raise UserError(f"--output: {where}: choose another")
    datamodule.prepare_data()
    classifier = _train(datamodule.dataset, name, seed, place, say)
    try:
        save_classifier(classifier, place)
    except OSError as error:
        raise UserError(f"{place}.safetensors: cannot be written ({error.strerror})") from error
    return load_classifier(place)


def _place(key: str, root: Path, seed: int, say: Say) -> Path | None:
    """Where a classifier can be kept, without its ending: better known before it is trained.

    Nothing is written into a folder of the user's own pictures.
    """
    folder = root / "classifiers"
    if key in FACTS:
        if can_be_written(folder):
            return folder / (f"{key}_{seed}" if seed else key)
        say(f"{folder}: cannot be written")
    cached = cached_path(key, root, seed)
    return cached if cached and can_be_written(cached.parent) else None


def _train(dataset: Dataset, key: str, seed: int, place: Path | None, say: Say) -> Classifier:
    where = f"{place}.safetensors" if place else "used once, for it can be kept nowhere"
    say(f"training a classifier for {key}: {where}")
    with Progress(disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("training", total=None)

        def on_step(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        classifier = train_classifier(
            dataset.splits, name=key, classes=len(dataset.class_names), seed=seed, on_step=on_step
        )
    accuracy = 100 * classifier.record["test_accuracy"]
    say(f"the classifier of {key}: {accuracy:.2f} % of the test images")
    return classifier
