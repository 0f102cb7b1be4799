"""Learning rates that fall while a model trains, as functions of the share of training done.

In closed form, so that a run that is resumed needs no state of a schedule.
"""

from math import cos, floor, log, pi

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from gen_models.data.loader import Batch

SCHEDULES = ("constant", "cosine", "exponential", "burda")
STAGES = 8  # of burda: 3^i parts of training at the rate 10^(-i/7), i = 0..7


def rate_factor(schedule: str, done: float) -> float:
    """The factor of the learning rate, (0, 1].

    Args:
        schedule: "constant"; "cosine", to 0 (Loshchilov & Hutter 2017, equation 5, one cycle);
            "exponential", to a hundredth; "burda", to a tenth in eight stages that each last three
            times as long as the one before (Burda et al. 2016, section 5).
        done: Share of training done, [0, 1).

    Raises:
        ValueError: There is no such schedule.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + cos(pi * done))
    if schedule == "exponential":
        return float(0.01**done)
    if schedule == "burda":
        parts = (3**STAGES - 1) / 2  # 1 + 3 + 9 + ... = 3,280; i stages end at (3^i - 1) / 2
        stage = floor(log(2 * done * parts + 1, 3) + 1e-9)
        return float(10 ** (-stage / (STAGES - 1)))
    raise ValueError(f"lr_schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")


class RateSchedule(Callback):
    """Sets the learning rate of every optimizer before each batch, and logs its factor.

    Args:
        schedule: One of `SCHEDULES`.
        max_steps: Training batches in all; -1 means those of the trainer's epochs.
    """

    def __init__(self, schedule: str, max_steps: int = -1) -> None:
        self.schedule = schedule
        self.max_steps = max_steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set the rates."""
        assert trainer.max_epochs is not None
        of_epochs = trainer.max_epochs * int(trainer.num_training_batches)
        steps = self.max_steps if self.max_steps != -1 else of_epochs
        factor = rate_factor(self.schedule, trainer.global_step / steps)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:  # the defaults are no part of a checkpoint
                group["lr"] = factor * optimizer.defaults["lr"]
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (trainer.global_step + 1) % every == 0:
            for logger in trainer.loggers:
                step = trainer.global_step + 1
                logger.log_metrics({"train/rate_factor": factor}, step=step)
