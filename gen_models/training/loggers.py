"""Where curves, settings and pictures of a run are logged, on disk; `remote.py` has the servers.

A run has any number of them (`logger=` of the command line); they never change its weights.
"""

import csv
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from torch.utils.tensorboard.summary import hparams

from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.training.validation import KEYS, OBJECTIVE

# Cards are sorted by their names, so what is said of quality begins with a "q": before train, val.
QUALITY = {key: key.replace("val/", "quality/") for key in KEYS}
KEY_OF = {tag: key for key, tag in QUALITY.items()}
CHARTS = {  # under "Custom Scalars": group -> title -> curves
    "quality": {
        "distance to real images (lower is better)": [OBJECTIVE],
        "coverage (higher is better)": ["val/coverage"],
        "missing classes": ["val/missing_digits", "val/missing_classes"],
    },
    "discriminator": {
        "D(real) and D(fake), validation images": ["val/d_real", "val/d_fake"],
        "D(real) and D(fake), training batches": ["train/d_real", "train/d_fake"],
    },
    "losses": {
        name: [f"{stage}/{name}" for stage in ("train", "val")]
        for name in ("loss", "recon", "kl", "g_loss", "d_loss")
    },
}
# Settings that HPARAMS shows of every run; others, if they were changed.
MATTER = ("data", "model", "phase", "seed", "batch_size", "max_epochs", "model.lr")


class Start(NamedTuple):
    """What a logger needs to know when a training begins or resumes."""

    directory: RunDirectory
    config: dict[str, Any]  # of the run, resolved
    step: int  # training batches before this; what was logged after them is logged again
    remote_id: str | None  # of the same run on a server, where it was begun before

    @property
    def name(self) -> str:
        """Data set, model and name, such as digits/gan_final/seed0."""
        return "/".join(self.directory.path.absolute().parts[-3:])


class RunLogger(Logger):
    """What a run asks of a logger besides `log_metrics`; only rank 0 calls these methods."""

    where = ""  # what to open or type to look at it, once it has begun

    @abstractmethod
    def begin(self, start: Start) -> str | None:
        """Begin to log; returns the id of the run on a server, or None if there is no server."""

    def log_picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Log a picture, (h, w) or (h, w, 3) uint8; here nothing, as a table has no pictures."""

    def arrange(self, keys: Iterable[str]) -> None:
        """Arrange the charts of what the run logs, by its keys; here nothing."""

    def log_result(self, settings: dict[str, Any], metrics: dict[str, float], step: int) -> None:
        """Log the test metrics of a trained model; its last validation is logged already."""
        self.log_metrics({k: v for k, v in metrics.items() if k.startswith("test/")}, step)

    def close(self) -> None:
        """Write what is not yet written; nothing for a run that was finished before."""


class TensorBoard(RunLogger, TensorBoardLogger):
    """TensorBoardLogger with one file a process, and no hparams.yaml: config.yaml has it all."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False)

    def begin(self, start: Start) -> None:
        """Show the architecture and the configuration."""
        if start.step:
            self._kwargs["purge_step"] = start.step + 1
        for file in (start.directory.architecture, start.directory.config):
            as_code = indent(file.read_text(encoding="utf-8"), "    ")  # Markdown
            self.experiment.add_text(file.stem, as_code, 0)

    def log_picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Log a picture."""
        layout = "HWC"[: pixels.ndim]
        self.experiment.add_image(tag, pixels, global_step=step, dataformats=layout)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics by the names that put the important cards first."""
        super().log_metrics({QUALITY.get(key, key): metrics[key] for key in metrics}, step)

    def arrange(self, keys: Iterable[str]) -> None:
        """Put curves that belong together into one chart, under "Custom Scalars"."""
        known = {*keys, *KEYS}
        charts: dict[str, dict[str, list[Any]]] = {}  # group -> title -> kind, curves
        for group, titles in CHARTS.items():
            for title, curves in titles.items():
                if tags := [QUALITY.get(key, key) for key in curves if key in known]:
                    charts.setdefault(group, {})[title] = ["Multiline", tags]
        self.experiment.add_custom_scalars(charts)

    def log_result(self, settings: dict[str, Any], metrics: dict[str, float], step: int) -> None:
        """Log a row of HPARAMS; the quality is that of the last point of its curves."""
        quality = {tag: metrics[key] for key, tag in QUALITY.items() if key in metrics}
        for summary in hparams(settings, quality):
            self.experiment.file_writer.add_summary(summary)
        self.experiment.flush()

    def save(self) -> None:
        """Flush the curves to the disk."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Flush, but keep the file open at the end of fit: the test metrics follow."""
        self.experiment.flush()

    def close(self) -> None:
        """End the file, if one was begun: a finished run gets none."""
        if self._experiment is not None:
            with suppress(OSError):  # raised by the write that failed, and again by each after it
                self._experiment.close()


class CSV(RunLogger, CSVLogger):
    """CSVLogger with each row on the disk at once, and all of them after a resumption."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="csv", flush_logs_every_n_steps=1)

    def begin(self, start: Start) -> None:
        """Keep the rows up to the checkpoint: Lightning would delete all that were there."""
        folder, rows = Path(self.log_dir), list[dict[str, str]]()
        if (folder / "metrics.csv").exists():
            with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= start.step]
        shutil.rmtree(folder, ignore_errors=True)
        for row in rows:
            metrics = {key: float(value) for key, value in row.items() if value and key != "step"}
            self.experiment.log_metrics(metrics, int(row["step"]))
        self.experiment.save()


def build_loggers(
    config: dict[str, Any], folder: str | Path, build: Callable[[Any, str], Any]
) -> list[RunLogger]:
    """The loggers of the run in a folder; nothing is written yet.

    Raises:
        UserError: One cannot be built, or its package is not installed.
    """
    loggers = []
    for name, node in config["logger"].items():
        key = f"logger.{name}"
        logger = build(node | {"folder": str(folder)} if isinstance(node, dict) else node, key)
        if not isinstance(logger, RunLogger):
            raise UserError(f"{key}: {type(logger).__name__} must be a subclass of RunLogger")
        loggers.append(logger)
    return loggers


def loggers_of(trainer: pl.Trainer) -> list[RunLogger]:
    """The loggers of a run's trainer, on rank 0; none on the others."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in loggers if isinstance(logger, RunLogger)]
