"""All measurements of one trained run, into its directory.

metrics.json  evaluation.npz  figures/*.png  projector/  and "evaluation" in status.json.
"""

from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation import pictures
from gen_models.evaluation.bounds import find_bounds
from gen_models.evaluation.cost import measure_cost
from gen_models.evaluation.device import at_rest, measuring
from gen_models.evaluation.fit_sampler import fit_sampler
from gen_models.evaluation.measure import Effort, Evaluation, measure, measure_quick, prefixed
from gen_models.evaluation.reference import (
    QUICK_SAMPLES,
    SAMPLES,
    Reference,
    add_feature_spaces,
    reference,
)
from gen_models.figures import as_bytes
from gen_models.files import read_json, replaced, write_json, writing
from gen_models.machine import device_name, machine
from gen_models.models.interface import Encoder, GenerativeModel, draw_fixed
from gen_models.models.sampler import WithSampler
from gen_models.runs.classifier import find_classifier, load_run_data
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.runs.sampler import read_record, read_sampler
from gen_models.runs.weights import load_model
from gen_models.terminal import Say, say


def evaluate_trained(
    directory: RunDirectory,
    config: dict[str, Any],
    model: GenerativeModel | None = None,
    datamodule: MNISTDataModule | None = None,
) -> None:
    """Measure what is not measured yet of a run that has just been trained, or was before.

    Args:
        directory: The run, finished.
        config: "evaluate": full, quick or none; "sampler": the kind that the run shall have,
            fitted first; None leaves it as it is.
        model: As it was trained, on the CPU; None: it is loaded.
        datamodule: Of the run; None: it is loaded.
    """
    effort, kind = config["evaluate"], config["sampler"]
    status = directory.read_status()
    if kind and read_record(directory).get("kind") != kind:
        fit_sampler(directory.path, kind=kind, model=model, datamodule=datamodule, say=say)
    sampler = read_record(directory).get("name")
    record = {"full": "evaluation", "quick": "quick"}.get(effort)
    # It is written last, and one by another sampler does not count.
    if record is None or (record in status and status[record].get("sampler") == sampler):
        return
    if isinstance(model, Encoder) and sampler:
        name, tensors = read_sampler(directory, model.latent_dim)
        model = WithSampler(model, name, **tensors)
    quick = effort == "quick"
    evaluate_run(directory.path, quick=quick, model=model, datamodule=datamodule, say=say)


@torch.random.fork_rng(devices=[])  # rebuilding a network draws its first weights
def evaluate_run(
    run: str | Path,
    *,
    quick: bool = False,
    model: GenerativeModel | None = None,
    datamodule: MNISTDataModule | None = None,
    data_root: str | Path | None = None,
    effort: Effort | None = None,
    say: Say,
) -> Evaluation:
    """Measure the last epoch's weights of a run; the numbers join its metrics, the pictures its.

    A second evaluation replaces what the first has written, whatever its effort, which is among
    the metrics. Floors and ceilings are the same for every run on a data set: they are measured
    once for a classifier and kept in the user's cache. `measuring` picks the device.

    Args:
        run: A finished run's directory.
        quick: Measure only 2,000 new images and the plain reconstruction, as "quick/...": seconds.
        model: Its model, on the CPU, and left there; None: it is loaded from the run.
        datamodule: Its data, set up; None: they are loaded.
        data_root: Folder of the data sets from which they are loaded; None means the run's.
        effort: Of the searches; None means the default.
        say: Called with a line before each part.

    Raises:
        UserError: Not a finished run, or its data are missing.
    """
    directory = RunDirectory(run)
    model = at_rest(model) if model is not None else load_model(run)
    assert isinstance(model, nn.Module)
    with directory.lock(), measuring(directory) as device:
        if isinstance(model, WithSampler) and not quick:
            say(f"new images are drawn by its sampler, {model.name}")
        begin = perf_counter()
        read_json(directory.metrics)  # if it is damaged, fail now and not after minutes
        model.to(device)
        count = QUICK_SAMPLES if quick else SAMPLES
        datamodule, real = real_images(directory, device, datamodule, data_root, say, count)
        if not quick:
            add_feature_spaces(real, datamodule.key, datamodule.root)
        bounds = find_bounds(datamodule.name, real, say)
        try:
            if quick:
                metrics, arrays = measure_quick(model, real), dict[str, Tensor]()
            else:
                metrics, arrays = measure(model, real, effort=effort, say=say)
        except ValueError as error:  # a feature is not finite
            raise unmeasurable(directory, error) from error
        metrics |= bounds
        model.cpu()  # its cost is counted there, and pictures are drawn there as everywhere else
        record: dict[str, Any] = {"device": device_name(device)} | features_record(real.classifier)
        if isinstance(model, WithSampler):
            record["sampler"] = model.name
        if quick:
            metrics = prefixed("quick", metrics) | {"latent_dim": float(model.noise_dim)}
        else:
            say("counting its cost")
            metrics |= _cost(directory, model, datamodule)
            arrays["pictures_samples"] = as_bytes(draw_fixed(model, 100))
            _write_pictures(directory, model, arrays, real, datamodule.class_names)
            record |= {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(perf_counter() - begin, 3),
                "classifier": real.classifier.record["sha256"],
            } | machine()
        add_metrics(directory, metrics)
        directory.write_status(**{"quick" if quick else "evaluation": record})
        return Evaluation(metrics, arrays)


def _cost(
    directory: RunDirectory, model: GenerativeModel, datamodule: MNISTDataModule
) -> dict[str, float]:
    train = datamodule.splits["train"]
    size = directory.read_config()["data"]["batch_size"]
    # repeated where a batch takes validation images too
    batch = train.take(torch.arange(size) % len(train.images))
    return measure_cost(model, batch, directory.read_status())


def _write_pictures(
    directory: RunDirectory,
    model: GenerativeModel,
    arrays: dict[str, Tensor],
    real: Reference,
    class_names: tuple[str, ...],
) -> None:
    """Write evaluation.npz, figures/*.png and, of a model with codes, projector/."""
    written = {name: array.cpu().numpy() for name, array in arrays.items()}
    file = directory.path / "evaluation.npz"
    with writing(file, "free some space"), replaced(file) as temporary:
        np.savez(temporary, **written)  # type: ignore[arg-type]
    pictures.write_figures(directory, written, class_names)
    if isinstance(model, Encoder) and not model.invertible:
        labels = None if real.labels is None else real.labels.cpu()
        pictures.write_projector(directory, model, real.test.cpu(), labels, class_names)


def real_images(
    directory: RunDirectory,
    device: torch.device,
    datamodule: MNISTDataModule | None,
    data_root: str | Path | None,
    say: Say,
    count: int = SAMPLES,
) -> tuple[MNISTDataModule, Reference]:
    """The run's data, and the images on the device that it is measured against."""
    if datamodule is None or datamodule.train_on_validation:  # those are measured against apart
        datamodule = load_run_data(directory, data_root)
    classifier = find_classifier(datamodule, say)
    return datamodule, reference(datamodule.dataset, classifier, count=count, device=device)


def add_metrics(directory: RunDirectory, metrics: dict[str, float]) -> None:
    """Write metrics of a run to those that it has."""
    write_json(directory.metrics, read_json(directory.metrics) | metrics)


def unmeasurable(directory: RunDirectory, error: ValueError) -> UserError:
    """The error of a run whose images cannot be measured, for a feature is not finite."""
    return UserError(f"{directory.path}: its images cannot be measured: {error}")
