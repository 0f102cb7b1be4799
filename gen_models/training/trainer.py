"""The trainer of a run: Lightning's, with what decides its course, is kept of it, and stops it."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gen_models.data.loader import Batch
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError, first_line
from gen_models.models.interface import GenerativeModel, check_model
from gen_models.models.sampler import no_sampler
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import model_name
from gen_models.runs.weights import BEST, LATEST, AtomicCheckpointIO
from gen_models.seeding import derive_seed
from gen_models.training.callbacks import RunLog
from gen_models.training.loggers import RunLogger
from gen_models.training.options import check_devices
from gen_models.training.schedule import RateSchedule
from gen_models.training.validation import OBJECTIVE

_received: list[int] = []  # signals are the process's, so this is too

Build = Callable[[dict[str, Any], str], Any]  # of a node of the configuration, and its key


def build_model(config: dict[str, Any], data: MNISTDataModule, build: Build) -> GenerativeModel:
    """The model of a run, for the images of its data; the run's seed decides its first weights.

    Raises:
        UserError: It cannot be built, or the sampler that it shall have cannot be fitted to it.
    """
    facts = {"image_shape": list(data.image_shape), "classes": len(data.class_names)}
    torch.manual_seed(derive_seed(config["seed"], "weights"))
    model = check_model(build({"_convert_": "all"} | config["model"] | facts, "model"), "model")
    model.cuda_graphs = config["cuda_graphs"]
    if config["sampler"] and (reason := no_sampler(model)):
        raise UserError(
            f"sampler={config['sampler']}: the model {model_name(config)} {reason}, so no sampler "
            "can be fitted: leave it out"
        )
    return model


def build_trainer(
    config: dict[str, Any],
    folder: str | Path,
    callbacks: list[Callback],
    loggers: Sequence[RunLogger] = (),
) -> pl.Trainer:
    """The trainer of the run in a folder, with the callbacks that every run has, and these.

    Raises:
        UserError: An option is not one of Lightning's, or does not fit; the line names it.
    """
    directory = RunDirectory(folder)
    own: list[Callback] = [StepSeed(config["seed"]), RunLog(), *callbacks]
    if config["lr_schedule"] != "constant":
        own.append(RateSchedule(config["lr_schedule"], config["max_steps"]))
    if config["max_steps"] != -1:
        own.append(StopAfter(config["max_steps"]))
    for file, metric in ((BEST, OBJECTIVE), (LATEST, None)):
        own.append(
            Checkpoint(
                dirpath=directory.checkpoints,
                filename=file.removesuffix(".ckpt"),
                monitor=metric,
                save_on_train_epoch_end=True,  # Lightning skips a validation on resuming before it
                enable_version_counter=False,
            )
        )
    try:
        environment = find_environment(config["trainer"])
        trainer = pl.Trainer(
            **config["trainer"],
            default_root_dir=directory.path,
            logger=list(loggers),
            callbacks=own,
            plugins=[AtomicCheckpointIO(), *([environment] if environment else [])],
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,  # architecture.txt
            enable_autolog_hparams=False,  # logged once, with the final metrics
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {first_line(error)}") from error
    check_devices(config["trainer"], trainer)
    return trainer


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

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Request a stop after `max_steps` batches."""
        trainer.should_stop |= trainer.global_step >= self.max_steps


class Checkpoint(ModelCheckpoint):
    """ModelCheckpoint that passes over epochs without its metric, and outlives a move."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save in each epoch, or if it is the best."""
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save where Lightning stops for a SIGTERM: between two batches of an epoch.

        From its last batch on, Lightning could not finish the epoch properly (it would skip its
        validation). The run then resumes from what was saved before.
        """
        stopped = isinstance(exception, SIGTERMException)  # not a second Ctrl-C within a step
        ends = trainer.is_last_batch or trainer.should_stop
        if self.monitor is None and stopped and trainer.training and not ends:
            trainer.save_checkpoint(Path(self.dirpath or "") / LATEST)

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


class OneProcess(LightningEnvironment):
    """One device is one process, of rank 0, whatever a scheduler or a launcher has exported.

    Lightning reads its rank from RANK, LOCAL_RANK, SLURM_PROCID, ... even where nothing is
    distributed, and lets only rank 0 write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)

    def local_rank(self) -> int:
        """The first: there is no other."""
        return 0

    def node_rank(self) -> int:
        """The first: there is no other."""
        return 0


def find_environment(options: dict[str, Any]) -> ClusterEnvironment | None:
    """What starts the processes of a training; None leaves it to Lightning to find out.

    SLURM does, where it runs as many tasks as are asked for; else Lightning starts its own.

    Raises:
        RuntimeError: SLURM's tasks are not spread over its nodes as Lightning needs it.
    """
    if options["strategy"] == "auto":
        return OneProcess()
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return None
    devices = options["devices"]
    count = len(devices) if isinstance(devices, list) else devices
    if isinstance(count, int) and os.environ["SLURM_NTASKS"] != str(count * options["num_nodes"]):
        return LightningEnvironment()
    return SLURMEnvironment(auto_requeue=False)  # Lightning's way would save within a step


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let both signals raise SystemExit, at once or, while Lightning trains, after a whole batch.

    An exception inside a step would leave D updated and G not. Lightning puts its own handler of
    SIGTERM in front of ours while it trains or validates, so Ctrl-C is passed on as one. A second
    Ctrl-C ends at once. A process that was started with Ctrl-C ignored still ignores it.

    Raises:
        SystemExit: With the code of the signal (Lightning's has none: Lightning#21623).
    """

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        _received.append(signum)
        if signal.getsignal(signal.SIGTERM) is on_terminate:  # Lightning is not at work
            raise SystemExit

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        again = bool(_received)
        _received.append(signum)
        if again or signal.getsignal(signal.SIGTERM) is on_terminate:
            raise SystemExit
        signal.raise_signal(signal.SIGTERM)

    _received.clear()
    handlers = {signal.SIGTERM: on_terminate, signal.SIGINT: on_interrupt}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in `nohup python train.py &`
        del handlers[signal.SIGINT]
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
        exit_if_stopped()
    except SystemExit as stop:
        # Without a signal of ours: Lightning's own end, or submitit's code for "start it again".
        code = 128 + _received[0] if _received else stop.code or 128 + signal.SIGTERM
        raise SystemExit(code) from stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def exit_if_stopped() -> None:
    """Raise SystemExit if a signal came when Lightning no longer looked for one."""
    if _received:
        raise SystemExit
