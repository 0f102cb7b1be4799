"""The run directory as a contract: its files, its status, its lock, and what they say of a run.

config.yaml  architecture.txt  status.json  train.log  events.out.tfevents.*
checkpoints/{latest,latest-previous,best}.ckpt   model.safetensors + model.json
metrics.json  evaluation.npz  figures/*.png  projector/  sampler.safetensors  csv/  wandb/
"""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf

from gen_models.errors import BusyError, UserError
from gen_models.files import (
    can_be_written,
    expanded,
    is_locked,
    locked,
    other_version,
    read_json,
    replaced,
    write_json,
)
from gen_models.places import PRETRAINED
from gen_models.runs.identity import identity

if TYPE_CHECKING:
    from gen_models.metrics.classifier import Classifier

LOCK = ".lock"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # OmegaConf's own is thirty times slower
FID, QUICK = "fid_lenet", "quick/"
MISSING = "missing_digits", "missing_classes"  # half of the classes or more: the run failed
TRAINED, RANDOM = "classifier", "random weights"  # the features of a measurement


class RunDirectory:
    """Paths of one run, its status and its configuration.

    Args:
        path: The directory, which need not exist.
        replaced: The run will be deleted: a status that cannot be read counts as none.
    """

    def __init__(self, path: str | Path, *, replaced: bool = False) -> None:
        self.path = expanded(path)
        self.replaced = replaced
        self.config = self.path / "config.yaml"
        self.architecture = self.path / "architecture.txt"
        self.status = self.path / "status.json"
        self.log = self.path / "train.log"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "model.safetensors"
        self.model = self.path / "model.json"
        self.sampler = self.path / "sampler.safetensors"
        self.metrics = self.path / "metrics.json"
        self.figures = self.path / "figures"

    @property
    def shipped(self) -> bool:
        """Whether this is a trained model that comes with the package, which nothing changes."""
        return PRETRAINED.resolve() in self.path.resolve().parents

    def read_status(self) -> dict[str, Any]:
        """The content of `status.json`; empty if there is no run here.

        Raises:
            UserError: It cannot be read, or is not a run's.
        """
        if not os.path.exists(self.status):  # Path's own raises for a name that is too long
            return {}
        try:
            status = read_json(self.status)
            if {"status", "fingerprint"} <= status.keys():
                return status
            problem = other_version(self.status)
        except UserError as error:
            problem = UserError(f"{error}: train the run again (overwrite=true)")
        if self.replaced:
            return {}
        raise problem

    def write_status(self, **fields: Any) -> None:
        """Add fields to the status."""
        write_json(self.status, {**self.read_status(), **fields})

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration of the run.

        Raises:
            UserError: It cannot be read, or is not a run's.
        """
        try:
            config: dict[str, Any] = yaml.load(self.config.read_bytes(), LOADER)
            identity(config)
        except OSError as error:
            raise UserError(
                f"{self.config}: cannot be read ({error.strerror}): train the run again"
            ) from error
        except Exception as error:  # of YAML, or a key that is missing
            raise other_version(self.config) from error
        return config

    def write_config(self, config: dict[str, Any]) -> None:
        """Keep the resolved configuration."""
        with replaced(self.config) as temporary:
            OmegaConf.save(OmegaConf.create(config), temporary)

    def clear(self) -> None:
        """Delete what a run has left here."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def is_locked(self) -> bool:
        """Whether a process trains or measures this run now."""
        return is_locked(self.path / LOCK)

    @contextmanager
    def lock(self, *, training: bool = False) -> Iterator[None]:
        """Make the directory and keep other processes out of it; a kill -9 frees it.

        Args:
            training: The run is about to be trained, so another directory would do.

        Raises:
            BusyError: Another process trains here.
            UserError: The directory cannot be written, at once or later.
        """
        if self.shipped:
            raise UserError(
                f"{self.path}: comes with gen-models and stays as it is: copy the folder, and name "
                "the copy"
            )
        if not training and not can_be_written(self.path):
            raise UserError(f"{self.path}: cannot be written: copy the run, and name the copy")
        is_new = not os.path.exists(self.path)
        with locked(self.path / LOCK) as free:
            if not free:
                other = ", or change seed or output_dir" if training else ""
                raise BusyError(
                    f"{self.path}: another process is at work on this run: wait for it{other}"
                )
            try:
                yield
            except OSError as error:  # as of a disk that is full
                where = f"{error.filename or self.path}: " if error.strerror else ""
                raise UserError(f"{where}{error.strerror or error}") from error
            finally:
                if is_new and not self.status.exists():  # refused or stopped before it began
                    shutil.rmtree(self.path, ignore_errors=True)


def find_runs(folder: Path) -> set[Path]:
    """The run directories at or below a folder; some may come and go meanwhile."""
    return {Path(place) for place, _, files in os.walk(folder) if "status.json" in files}


def why_failed(metrics: Mapping[str, float]) -> str | None:
    """Why a run failed: not finite, half its classes missing, or no better than a Gaussian.

    No better means: neither in `fid_lenet` nor in `coverage`. A strong Gaussian, as on small data,
    is not enough for a failure. A run measured with 2,000 images is judged by those.

    Returns:
        The rest of a line that begins with "FAILED: "; None: it did not fail.
    """
    prefix = "" if FID in metrics else QUICK
    values = {key.removeprefix(prefix): metrics[key] for key in metrics if key.startswith(prefix)}
    distance, coverage = values.get(FID, 0.0), values.get("coverage", math.inf)
    if not math.isfinite(distance):
        return "the distance of its new images is not finite"
    classes = values.get("real/classes", 10)
    for key in MISSING:
        missing = values.get(key, 0.0)
        if missing >= classes / 2:
            what = key.removeprefix("missing_")
            are = "is" if missing == 1 else "are"
            return f"{missing:.0f} of {classes:.0f} {what} {are} missing from its new images"
    far = distance >= values.get(f"gaussian/{FID}", math.inf)
    if far and coverage <= values.get("gaussian/coverage", -math.inf):
        return (
            f"fid {distance:.2f} and coverage {coverage:.3f} are no better than a crude Gaussian's"
        )
    return None


def features_record(classifier: "Classifier") -> dict[str, Any]:
    """What a status keeps of the features of a measurement."""
    known = classifier.record
    if classifier.classes:
        return {"features": TRAINED, "classifier_accuracy": known.get("test_accuracy")}
    return {"features": RANDOM, "reason": known.get("reason")}


def features_of(record: Mapping[str, Any]) -> str:
    """The features of a measurement; runs from before there were others have a classifier's."""
    return str(record.get("features", TRAINED))


def features_in_words(record: Mapping[str, Any]) -> str:
    """The end of a sentence that begins "Distances are measured in"."""
    if features_of(record) == RANDOM:
        return (
            f"a small network of random weights, because {record.get('reason')}; metrics of "
            "classes are left out"
        )
    accuracy = record.get("classifier_accuracy")
    text = "the features of a small LeNet-like classifier of the same classes"
    return f"{text}, which knows {100 * accuracy:.1f} % of the test images" if accuracy else text
