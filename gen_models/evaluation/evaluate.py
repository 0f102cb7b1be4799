"""All measurements of one trained run, into its directory.

metrics.json  evaluation.npz  figures/*.png  projector/  and "evaluation" in status.json.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation import pictures
from gen_models.evaluation.bounds import find_bounds
from gen_models.evaluation.cost import measure_cost
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
from gen_models.files import read_json, write_json
from gen_models.machine import device_name, machine
from gen_models.metrics.distribution import NotFiniteError
from gen_models.models.interface import Encoder, GenerativeModel, draw_fixed
from gen_models.models.sampler import WithSampler
from gen_models.runs.classifier import find_classifier, load_run_data
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.runs.sampler import read_record, read_sampler
from gen_models.runs.weights import load_model
from gen_models.seeding import same_convolutions
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

    Raises:
        UserError: The run has a sampler of another kind.
    """
    if model is not None:  # as `load_model` gives it
        model.trainer = None
        model.zero_grad()
        model.eval().requires_grad_(False)
    quick, kind, status = config["evaluate"] == "quick", config["sampler"], directory.read_status()
    own, command = read_record(directory), f"gen-models fit-sampler {directory.path}"
    if kind and not own:
        fit_sampler(directory.path, kind=kind, model=model, datamodule=datamodule, say=say)
    elif kind and kind != own["kind"]:  # what was measured with it would be lost
        raise UserError(
            f"sampler={kind}: {directory.path} has the sampler {own['name']}: {command} --kind "
            f"{kind} replaces it, or choose another output_dir to keep both"
        )
    elif own and not kind:
        say(f"{directory.path}: keeps its sampler {own['name']}: {command} --remove removes it")
    sampler = read_record(directory).get("name")
    # The record is written last, and one by another sampler does not count.
    record = status.get("quick" if quick else "evaluation")
    measured = record is not None and record.get("sampler") == sampler
    if config["evaluate"] == "none" or measured:
        return
    if isinstance(model, Encoder) and sampler:
        name, tensors = read_sampler(directory, model.latent_dim)
        model = WithSampler(model, name, **tensors)
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
        model: Its model, in eval mode on the CPU, and left there; None: it is loaded from the run.
        datamodule: Its data, set up; None: they are loaded.
        data_root: Folder of the data sets from which they are loaded; None means the run's.
        effort: Of the searches; None means the default.
        say: Called with a line before each part.

    Raises:
        UserError: Not a finished run, or its data are missing.
    """
    directory = RunDirectory(run)
    model = load_model(run) if model is None else model
    with directory.lock():
        begin, record = perf_counter(), dict[str, Any]()
        if isinstance(model, WithSampler):
            record["sampler"] = model.name
            if not quick:
                say(f"new images are drawn by its sampler, {model.name}")
        read_json(directory.metrics)  # if it is damaged, fail now and not after minutes
        count = QUICK_SAMPLES if quick else SAMPLES
        with measuring(directory, datamodule, data_root, say, count) as (data, real):
            model.to(real.test.device)
            if not quick:
                add_feature_spaces(real, data.key, data.root)
            bounds = find_bounds(data.name, real, say)
            measured = measure_quick(model, real) if quick else measure(model, real, effort, say)
        metrics, arrays = measured.metrics | bounds, measured.arrays
        model.cpu()  # its cost is counted there, and pictures are drawn there as everywhere else
        record |= {"device": device_name(real.test.device)} | features_record(real.classifier)
        if quick:
            metrics = prefixed("quick", metrics) | {"latent_dim": float(model.noise_dim)}
        else:
            say("counting its cost")
            train, size = data.splits["train"], directory.read_config()["data"]["batch_size"]
            # repeated where a batch takes validation images too
            batch = train.take(torch.arange(size) % len(train.images))
            metrics |= measure_cost(model, batch, directory.read_status())
            arrays["pictures_samples"] = as_bytes(draw_fixed(model, 100))
            pictures.write_pictures(directory, model, arrays, real)
            record |= {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(perf_counter() - begin, 3),
                "classifier": real.classifier.record["sha256"],
            } | machine()
        add_metrics(directory, metrics)
        directory.write_status(**{"quick" if quick else "evaluation": record})
        return Evaluation(metrics, arrays)


@contextmanager
def measuring(
    run: RunDirectory,
    datamodule: MNISTDataModule | None,
    data_root: str | Path | None,
    say: Say,
    count: int = SAMPLES,
) -> Iterator[tuple[MNISTDataModule, Reference]]:
    """The run's data, and the images against which it is measured, while it is.

    On CUDA, if there is any and the run was trained on a GPU: with trainer.accelerator=cpu it is
    measured on the CPU too.

    Raises:
        UserError: The GPU's memory is too small, or in use; or a new image is not finite.
    """
    by_gpu = run.read_status().get("device", "cpu") != "cpu"
    device = torch.device("cuda" if by_gpu and torch.cuda.is_available() else "cpu")
    if datamodule is None or datamodule.train_on_validation:  # those are measured against apart
        datamodule = load_run_data(run, data_root)
    classifier = find_classifier(datamodule, say)
    try:
        with same_convolutions():
            yield datamodule, reference(datamodule.dataset, classifier, count=count, device=device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{run.path}: too little of the GPU's memory is free to measure it: free some, or "
            f"measure on the CPU (CUDA_VISIBLE_DEVICES= gen-models evaluate {run.path})"
        ) from error
    except NotFiniteError as error:
        raise UserError(f"{run.path}: its images cannot be measured: {error}") from error


def add_metrics(directory: RunDirectory, metrics: dict[str, float]) -> None:
    """Write metrics of a run to those that it has."""
    write_json(directory.metrics, read_json(directory.metrics) | metrics)
