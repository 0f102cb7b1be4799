"""What `debug=overfit` and `debug=profile` add to a training."""

import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler
from rich.table import Table
from torch import Tensor

from gen_models.data.loader import Batch
from gen_models.terminal import say

NEAR_ZERO = 0.01  # of the first loss
ROWS = 20  # of the table


class OneBatch(Callback):
    """Trains on the first batch again and again, and says how far the losses fell.

    The training ends before `max_steps` if each loss is near 0. A VAE's of grey pixels and a GAN's
    never are.
    """

    def __init__(self) -> None:
        self._batch: list[Tensor] = []
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Replace the content of the batch by that of the first one."""
        tensors = [part for part in batch if part is not None]
        if not self._batch:
            self._batch = [part.clone() for part in tensors]
        for tensor, kept in zip(tensors, self._batch, strict=True):
            tensor.copy_(kept)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the losses."""
        self._last = {name: value.item() for name, value in outputs.items()}
        self._first = self._first or self._last
        losses = [name for name in self._last if name.endswith("loss")]
        near = all(abs(self._last[name]) < NEAR_ZERO * abs(self._first[name]) for name in losses)
        trainer.should_stop |= near

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the first and the last losses."""
        if not trainer.is_global_zero:
            return
        say(f"The same batch {trainer.global_step} times:")
        for name, last in self._last.items():
            say(f"  {name:<10} {self._first[name]:10.4g} -> {last:.4g}")


class Profile(Callback):
    """Measures how long each part of a training takes, and shows the longest in a table."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Measure the training alone."""
        if stage == "fit":
            trainer.profiler = SimpleProfiler()  # type: ignore[attr-defined]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the table. Its rows overlap: an epoch has batches, a batch has hooks."""
        profiler = trainer.profiler  # type: ignore[attr-defined]
        assert isinstance(profiler, SimpleProfiler)
        trainer.profiler = PassThroughProfiler()  # type: ignore[attr-defined]
        if not trainer.is_global_zero:
            return
        totals = {name: math.fsum(times) for name, times in profiler.recorded_durations.items()}
        whole = totals["run_training_epoch"]
        table = Table("where the time went", "calls", "ms each", "seconds", "share")
        for column in table.columns[1:]:
            column.justify = "right"
        for name in sorted(totals, key=lambda name: -totals[name])[:ROWS]:
            calls, total = len(profiler.recorded_durations[name]), totals[name]
            share = f"{total / whole:.0%}"
            table.add_row(name, f"{calls:,}", f"{1000 * total / calls:.3g}", f"{total:.3g}", share)
        say(table)
