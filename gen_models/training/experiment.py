"""From a plain configuration to what trains: model, data, callbacks, trainer, run directory."""

import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback

from gen_models.checks import check_bool, check_dims, check_number, check_whole
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError, first_line, raise_if_out_of_memory
from gen_models.models.interface import Encoder, GenerativeModel, check_model
from gen_models.places import COMMAND
from gen_models.runs.checkpoints import newest_readable
from gen_models.runs.directory import RunDirectory
from gen_models.runs.fingerprint import fingerprint
from gen_models.runs.identity import identity, model_name, run_path
from gen_models.threads import check_threads
from gen_models.training.schedule import rate_factor
from gen_models.training.trainer import build_trainer, seed_weights

PRECISIONS = ("32-true", "bf16-mixed")
EVALUATIONS = ("full", "quick", "none")
SAMPLERS = (None, "gmm", "normal")
PASSED_ON = ("hidden_dims", "lr", "activation")  # options whose value the model's YAML takes

Build = Callable[[dict[str, Any]], Any]


class Experiment(NamedTuple):
    """What one run is made of."""

    model: GenerativeModel
    datamodule: MNISTDataModule
    trainer: pl.Trainer
    directory: RunDirectory
    checkpoint: Path | None  # from which to go on
    origin: RunDirectory  # the run of that checkpoint: this one, or the one that it extends


def assemble(
    config: dict[str, Any],
    *,
    defaults: dict[str, Any],
    build: Build,
    watchers: Sequence[Callback] = (),
) -> Experiment:
    """Check the configuration and build everything; no data is read and nothing is written.

    The arguments are those of `train`.

    Raises:
        UserError: A value is out of its range or a key unknown; the line names it.
    """
    _check(config, defaults)
    seed_weights(config["seed"])
    model = check_model(_build(build, config["model"], "model"), "model")
    model.cuda_graphs = check_bool("cuda_graphs", config["cuda_graphs"])
    datamodule = _build(build, config["data"], "data")
    callbacks = [
        _build(build, node, f"callbacks.{name}") for name, node in config["callbacks"].items()
    ]
    for key in PASSED_ON:
        value = config[key]
        if value != defaults[key] and value not in config["model"].values():
            raise UserError(
                f"{key}={value}: the model {model_name(config)} takes no {key}, or another option "
                "of it replaces this one: leave it out"
            )
    if config["sampler"] and not isinstance(model, Encoder):
        raise UserError(
            f"sampler={config['sampler']}: the model {model_name(config)} has no encoder, so no "
            "sampler can be fitted: leave it out"
        )
    directory = RunDirectory(run_path(config, defaults), replaced=config["overwrite"])
    status = directory.read_status().get("status")
    stands = status in ("done", "diverged") and not config["overwrite"]
    goes_on = status is not None and not stands and not config["overwrite"]
    origin, checkpoint = directory, newest_readable(directory.checkpoints) if goes_on else None
    if config["extend"] is not None and checkpoint is None and not stands:
        origin = _shorter_run(config, type(model))
        checkpoint = newest_readable(origin.checkpoints)
    trainer = build_trainer(config, directory, checkpoint, [*callbacks, *watchers])
    options = config["trainer"]
    if trainer.world_size > 1 and options["strategy"] == "auto":
        key = "devices" if options["num_nodes"] == 1 else "num_nodes"
        raise UserError(
            f"trainer.{key}={options[key]}: needs trainer=ddp; one of several GPUs is "
            "trainer.devices=[0]"
        )
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise UserError(
            f"trainer.devices={trainer.num_devices}: this machine has {cores} cores: choose fewer"
        )
    return Experiment(model, datamodule, trainer, directory, checkpoint, origin)


def check_length(config: dict[str, Any], datamodule: MNISTDataModule) -> None:
    """Refuse a training of no batch, or of more than its epochs have.

    Args:
        config: The resolved configuration.
        datamodule: Set up.

    Raises:
        UserError: The line names the option.
    """
    loaders = {"train": datamodule.train_dataloader(), "val": datamodule.val_dataloader()}
    batches = {}
    for name, loader in loaders.items():
        key = f"limit_{name}_batches"
        limit, available = config["trainer"][key], len(loader)
        batches[name] = min(limit, available) if isinstance(limit, int) else int(limit * available)
        if batches[name] == 0:
            raise UserError(f"trainer.{key}={limit}: that is none of the {available} batches")
    epochs, steps = config["trainer"]["max_epochs"], config["max_steps"]
    if steps > epochs * batches["train"]:
        raise UserError(
            f"max_steps={steps}: max_epochs={epochs} has only {epochs * batches['train']} batches: "
            f"set max_epochs={ceil(steps / batches['train'])} too"
        )


def _shorter_run(config: dict[str, Any], model_class: type) -> RunDirectory:
    """The run that `extend` names: finished, and this one but for fewer epochs.

    Raises:
        UserError: It is not; the line says in what.
    """
    source = RunDirectory(str(config["extend"]))
    status = source.read_status()
    if status.get("status") != "done":
        found = status.get("status", "no run there")
        raise UserError(f"extend={source.path}: not a finished run ({found})")
    if status["fingerprint"] != fingerprint(model_class):
        raise UserError(f"extend={source.path}: was trained by other code: leave extend out")
    shorter, longer = identity(source.read_config()), identity(config)
    for key in longer:
        if key != "max_epochs" and shorter.get(key) != longer[key]:
            raise UserError(
                f"extend={source.path}: has {key}={shorter.get(key)}, not {longer[key]}: only "
                "max_epochs may differ"
            )
    if shorter["max_epochs"] >= longer["max_epochs"] or longer["max_steps"] != -1:
        raise UserError(
            f"extend={source.path}: has {shorter['max_epochs']} epochs: max_epochs must be more, "
            "and max_steps not set"
        )
    if longer["lr_schedule"] != "constant":
        raise UserError("extend: needs lr_schedule=constant: other schedules depend on max_epochs")
    return source


def _check(config: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse what no constructor sees: unknown keys, and values that only the trainer takes."""
    for group in ("trainer", "callbacks"):  # Hydra itself misses the other groups
        if config.get(group) is None:
            raise UserError(f"{group}: one must be picked; {COMMAND} --help lists them")
    for group in ("trainer", "data"):
        missing = sorted(set(defaults[group]) - set(config[group]))
        if missing:
            raise UserError(f"{group}.{missing[0]}: is missing")
    unknown = sorted(set(config) - set(defaults))
    if unknown:
        raise UserError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(defaults))}")
    check_threads(config.get("threads"))
    trainer = config["trainer"]
    try:
        check_whole("seed", config["seed"], 0)
        check_whole("max_epochs", config["max_epochs"], 1)
        check_whole("trainer.max_epochs", trainer["max_epochs"], 1)
        for key in ("log_every_n_steps", "check_val_every_n_epoch"):
            check_whole(f"trainer.{key}", trainer[key], 1)
        for key in ("limit_train_batches", "limit_val_batches"):
            check_number(f"trainer.{key}", trainer[key], 0, 1e9, open_low=True)
            if trainer[key] == 1 and isinstance(trainer[key], int):
                raise ValueError(f"trainer.{key}=1: say 1.0 for all batches, or 2 or more of them")
        for key in ("overwrite", "keep", "debug"):
            check_bool(key, config[key])
        _check_folder("output_dir", config["output_dir"])
        for key, folder in (("data.root", config["data"]["root"]), ("extend", config["extend"])):
            if folder is not None:
                _check_folder(key, folder)
        check_dims("hidden_dims", config["hidden_dims"])
        rate_factor(config["lr_schedule"], 0.0)
        if config["max_steps"] != -1:
            check_whole("max_steps", config["max_steps"], 1)
    except ValueError as error:
        raise UserError(str(error)) from error
    if config["data"].get("seed", config["seed"]) != config["seed"]:
        raise UserError("data.seed: is that of the run: set seed")
    if config["max_epochs"] not in (defaults["max_epochs"], trainer["max_epochs"]):
        raise UserError(
            f"max_epochs={config['max_epochs']}: trainer.max_epochs is {trainer['max_epochs']}: "
            "set that (trainer=smoke has its own)"
        )
    if config["evaluate"] not in EVALUATIONS:
        raise UserError(
            f"evaluate must be one of {', '.join(EVALUATIONS)}, got {config['evaluate']!r}"
        )
    if config["sampler"] not in SAMPLERS:
        known = ", ".join(map(str, SAMPLERS[1:]))
        raise UserError(f"sampler must be null or one of {known}, got {config['sampler']!r}")
    for key, value in (("precision", config["precision"]), ("precision", trainer["precision"])):
        if value not in PRECISIONS:
            raise UserError(f"{key} must be one of {', '.join(PRECISIONS)}, got {value!r}")


def _check_folder(key: str, value: Any) -> None:
    if isinstance(value, int | float):
        raise ValueError(
            f"{key} must be a folder, got {value!r}: a name that looks like a number needs quotes: "
            f"\"{key}='{value}'\""
        )
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be a folder, got {value!r}")


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
            raise UserError(f"{key}: {first_line(cause)}") from error
        raise
