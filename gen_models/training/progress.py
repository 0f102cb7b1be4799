"""The progress bar: Lightning's, with our metrics and the time that the whole run has left."""

from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn

from gen_models.training.callbacks import RunLog


class ProgressBar(RichProgressBar):
    """One line an epoch, shown only where the output is a terminal."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=2)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stay silent where the output is a file, and after training."""
        super().setup(trainer, pl_module, stage)
        if stage != "fit" or not Console().is_interactive:
            self.disable()

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Few, so that the losses fit on the line."""
        return [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn()]

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The last logged losses, and the time left."""
        run_log = RunLog.find(trainer)
        shown: dict[str, Any] = {
            name.removeprefix("train/"): value
            for name, value in run_log.latest.items()
            if name.startswith("train/") and name.endswith("loss")
        }
        total = trainer.num_training_batches * (trainer.fit_loop.max_epochs or 0)
        if trainer.global_step:
            seconds = run_log.elapsed() * (total / trainer.global_step - 1)
            shown["left"] = str(timedelta(seconds=max(0, round(seconds))))
        return shown

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.fit_loop.max_epochs}"
