"""What watches a run: its log, its pictures and its progress bar.

A callback knows a model only by its interface and by the metrics that `training_step` returns.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import MetricsTextColumn
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from torch import Tensor

from gen_models import figures
from gen_models.checks import check_whole
from gen_models.data.loader import Batch
from gen_models.errors import DivergedError
from gen_models.models.interface import Encoder, GenerativeModel, draw_fixed, reconstruct
from gen_models.runs.directory import RunDirectory
from gen_models.training.loggers import loggers_of
from gen_models.training.validation import OBJECTIVE

log = logging.getLogger(__name__)


class RunLog(Callback):
    """Writes what steps and validations return; ends a run whose losses are not finite.

    `self.log` in every step would cost more than the step (0.2 ms a metric), so metrics are read
    on logging steps alone. All curves share one axis: training batches.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}  # metrics of the last logging step
        self.distance = ""  # the last val/fid_lenet with its epoch, "4.1 @25"
        self.seconds = 0.0  # of training and validation, until the clock was started last
        self._arranged = False  # the charts of the loggers
        self._since = 0.0
        self._finite: Tensor | None = None
        self._unlogged: dict[str, Tensor] = {}  # what the last step returned

    def state_dict(self) -> dict[str, Any]:
        """Keep the clock and the last distance when a run is resumed."""
        return {"seconds": self.elapsed(), "distance": self.distance}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to count."""
        self.seconds = state_dict["seconds"]
        self.distance = state_dict.get("distance", "")  # a run of an earlier version has none

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._finite = torch.ones((), dtype=torch.bool, device=pl_module.device)
        self._write_status(trainer, trainer.current_epoch)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note on the device whether the losses are finite; on a logging step read and write."""
        assert self._finite is not None
        for name, value in outputs.items():
            if name.endswith("loss"):
                self._finite &= value.isfinite()
        self._unlogged = outputs
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % every == 0 or trainer.is_last_batch:
            self._log_step(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the means over the validation images, and arrange the charts once."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        train = {k: v for k, v in self.latest.items() if k.startswith("train/")}
        self._write(trainer, metrics, trainer.global_step)
        if not self._arranged:
            self._arranged = True
            for logger in loggers_of(trainer):
                logger.arrange(self.latest)
        if OBJECTIVE in metrics:
            self.distance = f"{metrics[OBJECTIVE]:.1f} @{trainer.current_epoch + 1}"
        shown = "  ".join(f"{name} {value:.4f}" for name, value in (train | metrics).items())
        log.info("epoch %d, batch %d: %s", trainer.current_epoch + 1, trainer.global_step, shown)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note how far the run has come, and log a step that `max_steps` made the last."""
        self._log_step(trainer)
        self._write_status(trainer, trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self.seconds = self.elapsed()
        self._since = 0.0

    def elapsed(self) -> float:
        """Seconds of training and validation so far."""
        return self.seconds + (time.monotonic() - self._since if self._since else 0.0)

    def _log_step(self, trainer: pl.Trainer) -> None:
        """Write what the last step returned, once."""
        step = trainer.global_step
        metrics = {f"train/{name}": value.item() for name, value in self._unlogged.items()}
        self._unlogged = {}
        if self._finite is not None and not self._finite.item():
            shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            raise DivergedError(
                f"diverged: a loss was not finite at or before step {step} "
                f"({shown}): try a smaller lr"
            )
        if metrics:
            self._write(trainer, metrics, step)

    def _write(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        self.latest |= metrics
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def _write_status(self, trainer: pl.Trainer, epoch: int) -> None:
        """Write what `gen-models runs` shows of a run that trains."""
        directory = RunDirectory(trainer.default_root_dir)
        if not trainer.is_global_zero or not directory.status.exists():  # a trainer without a run
            return
        try:
            directory.write_status(
                epoch=epoch,
                epochs=trainer.fit_loop.max_epochs,
                seconds=round(self.elapsed(), 3),
                latest=self.latest,
            )
        except OSError as error:  # as for a checkpoint, a full disk may be emptied
            log.warning("status.json: could not be written (%s)", error)


class Grid(Callback, ABC):
    """A picture of the model for the loggers, every few epochs.

    Args:
        count: Images, or pairs of them.
        every_n_epochs: Epochs from one picture to the next.
    """

    tag: str  # its name there

    def __init__(self, count: int = 64, every_n_epochs: int = 1) -> None:
        self.count = check_whole("count", count, 1)
        self.every_n_epochs = check_whole("every_n_epochs", every_n_epochs, 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, if it is the epoch for it and the model can."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        pixels = self.draw(trainer, pl_module) if due else None
        if pixels is None:
            return
        for logger in loggers_of(trainer):
            logger.log_picture(self.tag, pixels, trainer.global_step)

    @abstractmethod
    def draw(self, trainer: pl.Trainer, model: pl.LightningModule) -> np.ndarray | None:
        """The picture, (h, w) or (h, w, 3) uint8; None where the model cannot draw it."""


class SampleGrid(Grid):
    """New images from the same noise in every epoch and every run."""

    tag = "samples"

    def draw(self, trainer: pl.Trainer, model: pl.LightningModule) -> np.ndarray | None:
        """Rows of new images."""
        assert isinstance(model, GenerativeModel)
        images = figures.as_bytes(draw_fixed(model, self.count)).numpy()
        return figures.tile(images, figures.columns_for(images, int(self.count**0.5)))


class ReconstructionGrid(Grid):
    """Validation images above their reconstructions, for models that have an encoder."""

    tag = "reconstructions"

    def draw(self, trainer: pl.Trainer, model: pl.LightningModule) -> np.ndarray | None:
        """The first validation images."""
        if not isinstance(model, Encoder):
            return None
        batch: Batch = next(iter(trainer.datamodule.val_dataloader()))  # type: ignore[attr-defined]
        images = batch.images[: self.count]
        labels = None if batch.labels is None else batch.labels[: self.count]
        recreated = reconstruct(model, images, labels)
        above, below = (figures.as_bytes(some).cpu().numpy() for some in (images, recreated))
        return figures.tile_pairs(above, below, figures.columns_for(above, len(above)))


class ProgressBar(RichProgressBar):
    """Lightning's, with losses, distance and the time that the whole run has left."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stay silent where the output is a file, and after training."""
        super().setup(trainer, pl_module, stage)
        if stage != "fit" or not Console().is_interactive:
            self.disable()

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Few and narrow, so that the rest fits on a line of 80 columns."""
        return [TextColumn("{task.description}"), BarColumn(bar_width=8), MofNCompleteColumn()]

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The last logged losses, the last distance with its epoch, and the time left."""
        (run_log,) = (c for c in trainer.callbacks if isinstance(c, RunLog))  # type: ignore[attr-defined]
        shown: dict[str, Any] = {
            name.removeprefix("train/"): f"{value:.3g}"
            for name, value in run_log.latest.items()
            if name.startswith("train/") and name.endswith("loss")
        }
        if run_log.distance:
            shown["fid"] = run_log.distance
        total = trainer.num_training_batches * (trainer.fit_loop.max_epochs or 0)
        if trainer.global_step:
            seconds = run_log.elapsed() * (total / trainer.global_step - 1)
            shown["left"] = str(timedelta(seconds=max(0, round(seconds))))
        return shown

    def _init_progress(self, trainer: pl.Trainer) -> None:
        before = self.progress
        super()._init_progress(trainer)
        if self.progress is not None and self.progress is not before:
            self._metric_component = Measured(trainer, "", " ", "")
            self.progress.columns = (*self.progress.columns[:-1], self._metric_component)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.fit_loop.max_epochs}"


class Measured(MetricsTextColumn):
    """Metrics of a progress bar as `name value`, on one line."""

    def _generate_metrics_texts(self) -> Iterator[str]:  # type: ignore[override]
        return (f"{name} {value}" for name, value in self._metrics.items())
