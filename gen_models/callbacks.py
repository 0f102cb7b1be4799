"""What watches a run: its log, its pictures, its progress bar.

A callback knows a model only by its interface (`prior decode sample`, a VAE's `encode`) and by
the figures that `training_step` returns.
"""

import logging
import sys
import time
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torchvision.utils import make_grid

from gen_models.checks import check_whole
from gen_models.errors import DivergedError
from gen_models.seeding import generator

log = logging.getLogger(__name__)
T = TypeVar("T")


class RunLog(Callback):
    """Writes what steps and validations return; ends a run whose losses are not finite.

    `self.log` in every step would cost more than the step (0.2 ms a figure), so figures are read
    on logging steps alone. All curves share one axis: training batches.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}  # figures of the last logging step
        self.seconds = 0.0  # of training and validation, over all resumptions
        self._since = 0.0
        self._finite: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Keep the clock over resumptions."""
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds = state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._finite = torch.ones((), dtype=torch.bool, device=pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        """Note on the device whether the losses are finite; on a logging step read and write."""
        assert self._finite is not None
        for name, value in outputs.items():
            if name.endswith("loss"):
                self._finite &= value.isfinite()
        step = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step % every == 0 or trainer.is_last_batch:
            figures = {f"train/{name}": value.item() for name, value in outputs.items()}
            if not self._finite.item():
                shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                raise DivergedError(
                    f"diverged: a loss was not finite at or before step {step} "
                    f"({shown}): try a smaller lr"
                )
            self._write(trainer, figures, step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the means over the validation images."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        figures = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        train = {k: v for k, v in self.latest.items() if k.startswith("train/")}
        self._write(trainer, figures, trainer.global_step)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in (train | figures).items())
        log.info("epoch %d, batch %d: %s", trainer.current_epoch + 1, trainer.global_step, shown)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self.seconds = self._elapsed()
        self._since = 0.0

    def _elapsed(self) -> float:
        return self.seconds + (time.monotonic() - self._since if self._since else 0.0)

    def _write(self, trainer: pl.Trainer, figures: dict[str, float], step: int) -> None:
        self.latest |= figures
        for logger in trainer.loggers:
            logger.log_metrics({**figures, "epoch": trainer.current_epoch}, step=step)


class StopAfter(Callback):
    """Ends training after so many batches, with the validation and checkpoint of an epoch's end.

    Lightning's own `max_steps` would skip both, and the next epoch, on resuming at an epoch's end.
    """

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin no epoch behind the last step, on a finished run's checkpoint neither."""
        available = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        limit = trainer.limit_train_batches
        batches = min(limit, available) if isinstance(limit, int) else int(limit * available)
        assert trainer.max_epochs is not None
        epochs = ceil(self.max_steps / batches)
        trainer.fit_loop.max_epochs = min(trainer.max_epochs, epochs)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop here?"""
        trainer.should_stop |= trainer.global_step >= self.max_steps


class SaveOnStop(Callback):
    """A checkpoint where Lightning stops for a SIGTERM: between two batches."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save within an epoch; from its last batch on, Lightning could not finish it properly.

        (It would skip the epoch's validation.) What was saved before is then gone on from.
        """
        stopped = isinstance(exception, SIGTERMException)  # not a second Ctrl-C within a step
        ends = trainer.is_last_batch or trainer.should_stop
        if stopped and trainer.training and not ends:
            trainer.save_checkpoint(self.path)


class ProgressBar(Callback):
    """One line for the whole run: epoch, batches, last logged losses, time left.

    Shown only where the output is a terminal.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._last_drawn = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the line, at the batch from which training goes on."""
        if not (trainer.is_global_zero and sys.stdout.isatty()):
            return
        total = trainer.num_training_batches * (trainer.max_epochs or 0)
        stop = find_callback(trainer, StopAfter)
        if stop is not None:
            total = min(total, stop.max_steps)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            refresh_per_second=2,
        )
        self._task = self._progress.add_task(
            self._epoch(trainer), total=total, completed=trainer.global_step, losses=""
        )
        self._progress.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        """Move on, at most ten times a second."""
        now = time.monotonic()
        if self._progress is not None and now - self._last_drawn > 0.1:
            self._last_drawn = now
            self._update(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the finished line standing."""
        if self._progress is not None:
            self._update(trainer)
            self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._close()

    def _update(self, trainer: pl.Trainer) -> None:
        assert self._progress is not None
        run_log = find_callback(trainer, RunLog)
        logged = run_log.latest.items() if run_log else ()
        losses = [
            f"{name.removeprefix('train/')} {value:.3f}"
            for name, value in logged
            if name.startswith("train/")
        ]
        self._progress.update(
            self._task,
            completed=trainer.global_step,
            description=self._epoch(trainer),
            losses="  ".join(losses),
        )

    def _epoch(self, trainer: pl.Trainer) -> str:
        last = trainer.max_epochs or 1
        return f"epoch {min(trainer.current_epoch + 1, last)}/{last}"

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class SampleGrid(Callback):
    """New images from the same noise in every epoch and every run, to TensorBoard."""

    def __init__(self, count: int = 64, every_n_epochs: int = 1) -> None:
        self.count = check_whole("count", count, 1)
        self.every_n_epochs = check_whole("every_n_epochs", every_n_epochs, 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw the grid."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            _add_grid(trainer, "samples", sample_fixed(pl_module, self.count))


class ReconstructionGrid(Callback):
    """Validation images above what the model makes of them, for models that have an encoder."""

    def __init__(self, count: int = 16, every_n_epochs: int = 1) -> None:
        self.count = check_whole("count", count, 1)
        self.every_n_epochs = check_whole("every_n_epochs", every_n_epochs, 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw the pairs."""
        if hasattr(pl_module, "encode") and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            images = next(iter(trainer.datamodule.val_dataloader()))[: self.count]  # type: ignore[attr-defined]
            pairs = torch.cat([images, reconstruct(pl_module, images)])
            _add_grid(trainer, "reconstructions", pairs, columns=self.count)


@torch.no_grad()
def sample_fixed(model: Any, count: int) -> Tensor:
    """(count, 1, 28, 28) images in [0, 1] from noise that never changes."""
    training = model.training
    model.eval()
    # Drawn on the CPU, whose stream differs from a GPU's.
    images: Tensor = model.sample(count, generator("pictures")).float().cpu()
    model.train(training)
    return images


@torch.no_grad()
def reconstruct(model: Any, images: Tensor) -> Tensor:
    """Decode the encoder's means of (n, 1, 28, 28) images; the same shape."""
    mean, _ = model.encode(images)
    reconstructions: Tensor = model.decode(mean)
    return reconstructions


def find_callback(trainer: pl.Trainer, kind: type[T]) -> T | None:
    """The trainer's callback of a class, if it has one."""
    return next((c for c in trainer.callbacks if isinstance(c, kind)), None)  # type: ignore[attr-defined]


def _add_grid(trainer: pl.Trainer, tag: str, images: Tensor, columns: int | None = None) -> None:
    grid = make_grid(images, nrow=columns or int(len(images) ** 0.5), pad_value=0.5)
    for logger in trainer.loggers:
        logger.experiment.add_image(tag, grid, global_step=trainer.global_step)  # type: ignore[attr-defined]
