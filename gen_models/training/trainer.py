"""The trainer of a run: Lightning's, with what decides its course and what is kept of it."""

from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gen_models.data.loader import Batch
from gen_models.errors import UserError, first_line
from gen_models.runs.checkpoints import BEST, LATEST, AtomicCheckpointIO, read_step
from gen_models.runs.directory import RunDirectory
from gen_models.seeding import derive_seed
from gen_models.training.callbacks import RunLog
from gen_models.training.processes import find_environment
from gen_models.training.schedule import RateSchedule
from gen_models.training.validation import OBJECTIVE


def seed_weights(seed: int) -> None:
    """Seed the global generator for the first weights of a run."""
    torch.manual_seed(derive_seed(seed, "weights"))


class StepSeed(Callback):
    """Seeds the global generator from (seed, step) at the start of each training batch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed for what the step draws: noise, dropout, binarised pixels."""
        seed = derive_seed(self.seed, "step", trainer.global_step)
        torch.default_generator.manual_seed(seed)
        # torch.manual_seed would queue a call, with a stack trace, for each absent accelerator.
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif pl_module.device.type == "mps":
            torch.mps.manual_seed(seed)


class StopAfter(Callback):
    """Ends training after so many batches, with the validation and checkpoint of an epoch's end.

    Lightning's own `max_steps` would skip both, and the next epoch, on resuming at an epoch's end.
    """

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin no epoch after the last step, nor from a finished run's checkpoint."""
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

        (It would skip the epoch's validation.) The run then goes on from what was saved before.
        """
        stopped = isinstance(exception, SIGTERMException)  # not a second Ctrl-C within a step
        ends = trainer.is_last_batch or trainer.should_stop
        if stopped and trainer.training and not ends:
            trainer.save_checkpoint(self.path)


def build_trainer(
    config: dict[str, Any],
    directory: RunDirectory,
    checkpoint: Path | None,
    watchers: list[Callback],
) -> pl.Trainer:
    """The trainer of a run, with the callbacks that every run has, and the `watchers`."""
    savers: list[Callback] = [SaveOnStop(directory.checkpoints / LATEST)]
    savers.append(_checkpoint(directory, BEST, monitor=OBJECTIVE))
    savers.append(_checkpoint(directory, LATEST))
    if config["lr_schedule"] != "constant":
        watchers = [*watchers, RateSchedule(config["lr_schedule"], config["max_steps"])]
    if config["max_steps"] != -1:
        watchers = [*watchers, StopAfter(config["max_steps"])]
    logger = _Logger(
        directory.path,
        name="",
        version="",
        default_hp_metric=False,
        # what was logged after the checkpoint is logged again
        purge_step=read_step(checkpoint) + 1 if checkpoint else None,
    )
    try:
        environment = find_environment(config["trainer"])
        return pl.Trainer(
            **config["trainer"],
            default_root_dir=directory.path,
            logger=logger,
            callbacks=[StepSeed(config["seed"]), RunLog(), *watchers, *savers],
            plugins=[AtomicCheckpointIO(), *([environment] if environment else [])],
            enable_progress_bar=any(isinstance(watcher, ProgressBar) for watcher in watchers),
            enable_model_summary=False,  # architecture.txt
            enable_autolog_hparams=False,  # logged once, with the final metrics
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {first_line(error)}") from error


class _Checkpoint(ModelCheckpoint):
    """ModelCheckpoint that passes over epochs without its metric, and outlives a move."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save: each epoch, or the best."""
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best so far: of a run that was moved, or that this one extends, too."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else ""

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        best_k = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            state_dict
            | {key: here(state_dict[key]) for key in paths}
            | {"dirpath": self.dirpath, "best_k_models": best_k}
        )


def _checkpoint(directory: RunDirectory, file: str, **options: Any) -> ModelCheckpoint:
    """At each epoch's end, after its validation (Lightning would skip that on resuming)."""
    return _Checkpoint(
        dirpath=directory.checkpoints,
        filename=file.removesuffix(".ckpt"),
        **options,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class _Logger(TensorBoardLogger):
    """TensorBoardLogger with one file a process, and no hparams.yaml: config.yaml says it all."""

    def save(self) -> None:
        """Flush the curves to the disk."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Keep the file open at the end of fit: the test metrics follow."""
        self.save()

    def close(self) -> None:
        """End the file, if one was begun: a run that stands gets none."""
        if self._experiment is not None:
            with suppress(OSError):  # raised by the write that failed, and again by each after it
                self._experiment.close()
