"""The settings that change a run's figures, and the path that follows from them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

GROUPS = ("data", "model", "phase")  # the options that name a run's folder
LONGEST_NAME = 100  # characters; most file systems allow 255
LISTED_APART = (  # options of Lightning's trainer: listed below, or without influence on figures
    "max_epochs", "precision", "limit_train_batches", "limit_val_batches", "accelerator", "devices",
    "strategy", "num_nodes", "log_every_n_steps", "check_val_every_n_epoch",
)  # fmt: skip


class Job(NamedTuple):
    """One run as the command line describes it."""

    config: dict[str, Any]  # resolved
    defaults: dict[str, Any]  # the same data set, model and phase without further options

    @property
    def changed(self) -> list[str]:
        """The settings that differ from the defaults, without the seed."""
        settings, usual = identity(self.config), identity(self.defaults)
        return [
            key
            for key in settings
            if key not in ("seed", "data") and settings[key] != usual.get(key)
        ]

    @property
    def path(self) -> Path:
        """Its run directory, `<output_dir>/<data>/<model>_<phase>/<name>`.

        The name says what differs from the defaults.
        """
        settings = identity(self.config)
        changes = (_label(key, settings[key]) for key in self.changed)
        parts = [f"seed{settings['seed']}", *changes]
        name = "-".join(parts)
        if len(name) > LONGEST_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            name = f"{name[: LONGEST_NAME - 9]}-{digest}"
        folder = f"{model_name(self.config)}_{self.config['phase']}"
        return Path(self.config["output_dir"]) / self.config["data"]["name"] / folder / name


def group_overrides(overrides: Iterable[str]) -> list[str]:
    """The overrides that pick data set, model and phase, from which the defaults are composed."""
    return [text for text in overrides if text.partition("=")[0] in GROUPS]


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that change a run's figures, flat; they alone decide its name and its group."""
    trainer = config["trainer"]
    arguments = {key: value for key, value in config["model"].items() if not key.startswith("_")}
    data = config["data"]
    callbacks, early = config.get("callbacks") or {}, {}
    if "early_stopping" in callbacks:  # and how often it looks
        early = callbacks["early_stopping"] | callbacks.get("validation_distance", {})
    return {
        "seed": config["seed"],
        "data": data["name"],
        **{f"data.{key}": data[key] for key in ("size", "channels") if key in data},
        "batch_size": data["batch_size"],
        "train_on_validation": data.get("train_on_validation", False),
        "model": model_name(config),
        **{f"model.{key}": value for key, value in arguments.items()},
        "max_epochs": trainer["max_epochs"],
        "max_steps": config["max_steps"],
        "lr_schedule": config["lr_schedule"],
        "limit_train_batches": trainer["limit_train_batches"],
        "limit_val_batches": trainer["limit_val_batches"],
        "precision": trainer["precision"],
        **{f"trainer.{key}": value for key, value in trainer.items() if key not in LISTED_APART},
        **{f"early.{key}": value for key, value in early.items() if not key.startswith("_")},
        **({"debug": config["debug"]} if config.get("debug") else {}),
    }


def model_name(config: dict[str, Any]) -> str:
    """The model's class in lower case, e.g. "gan"."""
    return str(config["model"]["_target_"]).rpartition(".")[2].lower()


def model_title(name: str) -> str:
    """A model's name as a sentence has it: "GAN", "VAE", "Flow"."""
    return name.upper() if len(name) <= 3 else name.capitalize()


def run_title(config: dict[str, Any]) -> str:
    """Model and phase, as titles of pictures have them: "GAN final"."""
    return f"{model_title(model_name(config))} {config['phase']}"


def _label(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if isinstance(value, list) and not any(isinstance(part, str) for part in value):
        return name + "x".join(f"{part:g}" for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}{value:g}"
    return f"{name}_{str(value).lower()}".replace("/", "_")
