"""From a plain configuration to what trains: model, data, callbacks, trainer, run directory."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from gen_models import runs
from gen_models.callbacks import RunLog, SaveOnStop, StopAfter
from gen_models.checkpoints import BEST, LATEST, AtomicCheckpointIO, newest_readable, read_step
from gen_models.checks import check_bool, check_dims, check_number, check_whole
from gen_models.data import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.validation import OBJECTIVE
from gen_models.memory import raise_if_out_of_memory
from gen_models.runs import RunDirectory
from gen_models.seeding import StepSeed, derive_seed

for name in ("lightning.pytorch", "lightning.fabric"):  # no tips, no list of absent devices
    logging.getLogger(name).setLevel(logging.WARNING)
# Lightning 2.6.6 calls what torch 2.15 has deprecated.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
# Every epoch's last batch is logged too, so that no data set is too small for the interval.
warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than")
warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")

PRECISIONS = ("32-true", "bf16-mixed")
EVALUATIONS = ("full", "quick", "none")

Build = Callable[[dict[str, Any]], Any]


class Experiment(NamedTuple):
    """What one run is made of."""

    model: Any  # a LightningModule with the interface that tests/test_models.py holds
    datamodule: MNISTDataModule
    trainer: pl.Trainer
    directory: RunDirectory
    checkpoint: Path | None  # from which to go on


def assemble(config: dict[str, Any], *, defaults: dict[str, Any], build: Build) -> Experiment:
    """Check the configuration and build everything; no data is read and nothing is written.

    Raises:
        UserError: A value is out of its range or a key unknown; the line names it.
    """
    _check(config, defaults)
    torch.manual_seed(derive_seed(config["seed"], "weights"))
    model = _build(build, config["model"], "model")
    datamodule = _build(build, config["data"], "data")
    watchers = [
        _build(build, node, f"callbacks.{name}") for name, node in config["callbacks"].items()
    ]
    directory = RunDirectory(runs.run_path(config, defaults))
    ended = directory.read_status().get("status") in (None, "done", "diverged")
    fresh = config["overwrite"] or ended
    checkpoint = None if fresh else newest_readable(directory.checkpoints)
    trainer = build_trainer(config, directory, checkpoint, watchers)
    return Experiment(model, datamodule, trainer, directory, checkpoint)


def _check(config: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse what no constructor sees: unknown keys, and values that only the trainer takes."""
    for group in ("trainer", "callbacks"):  # Hydra itself misses the other groups
        if config.get(group) is None:
            raise UserError(f"{group}: one must be picked; python train.py --help lists them")
    for group in ("trainer", "data"):
        missing = sorted(set(defaults[group]) - set(config[group]))
        if missing:
            raise UserError(f"{group}.{missing[0]}: is missing")
    unknown = sorted(set(config) - set(defaults))
    if unknown:
        raise UserError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(defaults))}")
    trainer = config["trainer"]
    try:
        check_whole("seed", config["seed"], 0)
        check_whole("max_epochs", config["max_epochs"], 1)
        check_whole("trainer.max_epochs", trainer["max_epochs"], 1)
        for key in ("log_every_n_steps", "check_val_every_n_epoch"):
            check_whole(f"trainer.{key}", trainer[key], 1)
        for key in ("limit_train_batches", "limit_val_batches"):
            check_number(f"trainer.{key}", trainer[key], 0, 1e9, open_low=True)
        for key in ("overwrite", "keep", "debug"):
            check_bool(key, config[key])
        if not isinstance(config["output_dir"], str) or not config["output_dir"]:
            raise ValueError(f"output_dir must be a folder, got {config['output_dir']!r}")
        check_dims("hidden_dims", config["hidden_dims"])
        if config["max_steps"] != -1:
            check_whole("max_steps", config["max_steps"], 1)
    except ValueError as error:
        raise UserError(str(error)) from error
    if config["evaluate"] not in EVALUATIONS:
        raise UserError(
            f"evaluate must be one of {', '.join(EVALUATIONS)}, got {config['evaluate']!r}"
        )
    for key, value in (("precision", config["precision"]), ("precision", trainer["precision"])):
        if value not in PRECISIONS:
            raise UserError(f"{key} must be one of {', '.join(PRECISIONS)}, got {value!r}")


def _build(build: Build, node: dict[str, Any], key: str) -> Any:
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{key}: needs a _target_, got {node!r}")
    try:
        return build(node)
    except Exception as error:  # hydra wraps what a constructor raises
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        raise_if_out_of_memory(cause, f"building {key}: try smaller hidden_dims or latent_dim")
        if isinstance(cause, ValueError | TypeError):
            raise UserError(f"{key}: {str(cause).splitlines()[0]}") from error
        raise


def build_trainer(
    config: dict[str, Any],
    directory: RunDirectory,
    checkpoint: Path | None,
    watchers: list[Callback],
) -> pl.Trainer:
    """The trainer of a run, with the callbacks that every run has beside the `watchers`."""
    savers: list[Callback] = [SaveOnStop(directory.checkpoints / LATEST)]
    savers.append(_checkpoint(_WhereMeasured, directory, BEST, monitor=OBJECTIVE))
    savers.append(_checkpoint(ModelCheckpoint, directory, LATEST))
    if config["max_steps"] != -1:
        watchers = [*watchers, StopAfter(config["max_steps"])]
    logger = _Logger(
        directory.path,
        name="",
        version="",
        default_hp_metric=False,
        # what was logged behind the checkpoint is logged again
        purge_step=read_step(checkpoint) + 1 if checkpoint else None,
    )
    try:
        return pl.Trainer(
            **config["trainer"],
            default_root_dir=directory.path,
            logger=logger,
            callbacks=[StepSeed(config["seed"]), RunLog(), *watchers, *savers],
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=False,  # ours stands in conf/callbacks
            enable_model_summary=False,  # architecture.txt
            enable_autolog_hparams=False,  # logged once, with the final metrics
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {str(error).splitlines()[0]}") from error


class _WhereMeasured(ModelCheckpoint):
    """ModelCheckpoint that passes over the epochs whose figure was not measured."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if this epoch is the best."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)


def _checkpoint(
    kind: type[ModelCheckpoint], directory: RunDirectory, file: str, **options: Any
) -> ModelCheckpoint:
    """At each epoch's end, behind its validation (Lightning would skip that on resuming)."""
    return kind(
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
        """Keep the file open at the end of fit: the test figures follow."""
        self.save()

    def close(self) -> None:
        """End the file, if one was begun: a run that stands gets none."""
        if self._experiment is not None:
            self._experiment.close()
