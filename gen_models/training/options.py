"""Refuses options that no constructor sees, or that do not fit one another or a shorter run."""

import os
from math import ceil
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.accelerators import CPUAccelerator

from gen_models.checks import check_bool, check_choice, check_dims, check_number, check_whole
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError, unknown_option
from gen_models.machine import check_threads
from gen_models.places import COMMAND
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job, fingerprint, identity, model_name
from gen_models.training.schedule import SCHEDULES

PRECISIONS = ("32-true", "bf16-mixed")
EVALUATIONS = ("full", "quick", "none")
SAMPLERS = ("null", "gmm", "normal")
PASSED_ON = ("hidden_dims", "lr", "activation")  # options whose value the model's YAML takes


def check_options(job: Job) -> None:
    """Refuse unknown keys, and values that are out of their range, before anything is built.

    Raises:
        UserError: The line names the option.
    """
    config, defaults = job.config, job.defaults
    if "_target_" not in (config.get("model") or {}):
        raise UserError(f"model: needs a _target_, got {config.get('model')!r}")
    for group in ("trainer", "callbacks", "logger"):  # Hydra itself misses the other groups
        if config.get(group) is None:
            raise UserError(f"{group}: one must be picked; {COMMAND} --help lists them")
    for group in ("trainer", "data"):
        if missing := sorted(set(defaults[group]) - set(config[group])):
            raise UserError(f"{group}.{missing[0]}: is missing")
    if unknown := sorted(set(config) - set(defaults)):
        raise UserError(unknown_option(unknown[0], defaults))
    check_threads(config.get("threads"))
    trainer, data = config["trainer"], config["data"]
    try:
        _check_values(config)
    except ValueError as error:
        raise UserError(str(error)) from error
    name = data["name"]
    if not isinstance(name, str) or name in ("", ".", "..") or set("/\\") & set(name):
        raise UserError(f"data.name={name}: must be a text without '/', such as data.name=flowers")
    if data.get("seed", config["seed"]) != config["seed"]:
        raise UserError("data.seed: is that of the run: set seed")
    if config["max_epochs"] not in (defaults["max_epochs"], trainer["max_epochs"]):
        raise UserError(
            f"max_epochs={config['max_epochs']}: trainer.max_epochs is {trainer['max_epochs']}: "
            "set that (trainer=smoke has its own)"
        )
    for key in PASSED_ON:
        value = config[key]
        if value != defaults[key] and value not in config["model"].values():
            raise UserError(
                f"{key}={value}: the model {model_name(config)} takes no {key}, or another option "
                "of it replaces this one: leave it out"
            )


def _check_values(config: dict[str, Any]) -> None:
    """Refuse each value that is out of its range: ValueError."""
    trainer = config["trainer"]
    check_whole("seed", config["seed"], 0)
    check_whole("max_epochs", config["max_epochs"], 1)
    for key in ("max_epochs", "log_every_n_steps", "check_val_every_n_epoch"):
        check_whole(f"trainer.{key}", trainer[key], 1)
    if config["max_steps"] != -1:
        check_whole("max_steps", config["max_steps"], 1)
    for key in ("limit_train_batches", "limit_val_batches"):
        check_number(f"trainer.{key}", trainer[key], 0, 1e9, open_low=True)
        if trainer[key] == 1 and isinstance(trainer[key], int):
            raise ValueError(f"trainer.{key}=1: say 1.0 for all batches, or 2 or more of them")
    for key in ("overwrite", "keep", "traceback", "cuda_graphs"):
        check_bool(key, config[key])
    tags = config["tags"]
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise ValueError(f"tags must be a list of words, such as tags=[a,b], got {tags!r}")
    callbacks = config["callbacks"]
    if "early_stopping" in callbacks and "validation_distance" not in callbacks:
        raise ValueError("callbacks.early_stopping: needs callbacks.validation_distance too")
    check_dims("hidden_dims", config["hidden_dims"])
    check_choice("lr_schedule", config["lr_schedule"], SCHEDULES)
    check_choice("evaluate", config["evaluate"], EVALUATIONS)
    sampler = config["sampler"]
    check_choice("sampler", "null" if sampler is None else sampler, SAMPLERS)
    for precision in (config["precision"], trainer["precision"]):
        check_choice("precision", precision, PRECISIONS)
    folders = {"output_dir": config["output_dir"]}
    given = {"data.root": config["data"]["root"], "extend": config["extend"]}
    folders |= {key: value for key, value in given.items() if value is not None}
    for key, value in folders.items():
        if not isinstance(value, str) or not value:
            number = isinstance(value, int | float)
            quotes = f": a name that looks like a number needs quotes: \"{key}='{value}'\""
            raise ValueError(f"{key} must be a folder, got {value!r}{quotes if number else ''}")


def check_devices(options: dict[str, Any], trainer: pl.Trainer) -> None:
    """Refuse several devices without a strategy for them, and more than there are.

    Args:
        options: Of the trainer.
        trainer: Built with them.

    Raises:
        UserError: The line names the option.
    """
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


def limit_epochs(config: dict[str, Any], data: MNISTDataModule, trainer: pl.Trainer) -> None:
    """Let the last epoch be that of `max_steps`; refuse a length that cannot be.

    Args:
        config: The resolved configuration.
        data: Set up.
        trainer: It begins no epoch after that, nor after a finished run's checkpoint.

    Raises:
        UserError: No batch at all, or more than the epochs have; the line names the option.
    """
    batches = {}
    for name, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        key = f"limit_{name}_batches"
        limit, available = config["trainer"][key], len(loader)
        batches[name] = min(limit, available) if isinstance(limit, int) else int(limit * available)
        if batches[name] == 0:
            raise UserError(f"trainer.{key}={limit}: that is none of the {available} batches")
    epochs, steps = config["trainer"]["max_epochs"], config["max_steps"]
    needed = ceil(steps / batches["train"])
    if needed > epochs:
        key = "max_epochs" if config["max_epochs"] == epochs else "trainer.max_epochs"
        raise UserError(
            f"max_steps={steps}: {key}={epochs} has only {epochs * batches['train']} batches: "
            f"set {key}={needed} too"
        )
    if steps != -1:
        trainer.fit_loop.max_epochs = needed


def check_extension(job: Job, model_class: type) -> None:
    """Refuse `extend` before any data are read, if a new run cannot extend what it names.

    Raises:
        UserError: The line says what differs.
    """
    new = job.config["overwrite"] or not RunDirectory(job.path).read_status()
    if job.config["extend"] is not None and new:
        find_shorter_run(job.config, fingerprint(model_class))


def find_shorter_run(config: dict[str, Any], code: str) -> RunDirectory:
    """The run that `extend` names: finished, and the same but for fewer epochs.

    Raises:
        UserError: It is not; the line says in what.
    """
    source = RunDirectory(str(config["extend"]))
    status = source.read_status()
    if status.get("status") != "done":
        state = status.get("status", "no run there")
        raise UserError(f"extend={source.path}: not a finished run ({state})")
    if status["fingerprint"] != code:
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
