"""The run directory as a contract: its name, its files, its status, the model in it.

config.yaml  architecture.txt  status.json  train.log  events.out.tfevents.*
checkpoints/{latest,latest-previous,best}.ckpt   model.safetensors + model.json
metrics.json  evaluation.npz  figures/*.png  projector/
"""

import ast
import fcntl
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from gen_models.checkpoints import BEST
from gen_models.errors import UserError

LONGEST_NAME = 100  # characters; most file systems allow 255


class RunDirectory:
    """Paths of one run, and what stands in its status."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.architecture = self.path / "architecture.txt"
        self.status = self.path / "status.json"
        self.log = self.path / "train.log"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "model.safetensors"
        self.model = self.path / "model.json"
        self.metrics = self.path / "metrics.json"
        self.figures = self.path / "figures"

    def read_status(self) -> dict[str, Any]:
        """What `write_status` wrote; empty if there is no run here."""
        if not os.path.exists(self.status):  # Path's own raises for a name that is too long
            return {}
        status = read_json(self.status)
        if "status" not in status or "fingerprint" not in status:
            raise _other_version(self.status)
        return status

    def write_status(self, **fields: Any) -> None:
        """Add fields to the status."""
        write_json(self.status, {**self.read_status(), **fields})

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration of the run."""
        try:
            config: Any = OmegaConf.to_container(OmegaConf.load(self.config))
            identity(config)
        except OSError as error:
            raise UserError(f"{self.config}: cannot be read ({error.strerror})") from error
        except Exception as error:  # of YAML, of OmegaConf, or a key that is missing
            raise _other_version(self.config) from error
        return {str(key): value for key, value in config.items()}

    def write_config(self, config: dict[str, Any]) -> None:
        """Keep the resolved configuration."""
        OmegaConf.save(OmegaConf.create(config), self.config)

    def clear(self) -> None:
        """Delete what a run has left here."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the directory and keep other processes out of it; a kill -9 frees it.

        Raises:
            UserError: Another process trains here, or the directory cannot be written.
        """
        made = not os.path.exists(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}): choose another output_dir"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path}: another process is training this run: wait for it, or change "
                    "seed or output_dir"
                ) from None
            try:
                yield
            finally:
                if made and not self.status.exists():  # refused or stopped before it began
                    shutil.rmtree(self.path, ignore_errors=True)


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """What changes the figures of a run, flat; nothing else decides its name or its group."""
    trainer = config["trainer"]
    arguments = {key: value for key, value in config["model"].items() if not key.startswith("_")}
    return {
        "seed": config["seed"],
        "data": config["data"]["name"],
        "batch_size": config["data"]["batch_size"],
        "model": model_name(config),
        **{f"model.{key}": value for key, value in arguments.items()},
        "max_epochs": trainer["max_epochs"],
        "max_steps": config["max_steps"],
        "limit_train_batches": trainer["limit_train_batches"],
        "limit_val_batches": trainer["limit_val_batches"],
        "precision": trainer["precision"],
    }


def model_name(config: dict[str, Any]) -> str:
    """The model's class in lower case, e.g. "gan"."""
    return str(config["model"]["_target_"]).rpartition(".")[2].lower()


def run_path(config: dict[str, Any], defaults: dict[str, Any]) -> Path:
    """`<output_dir>/<data>/<model>_<phase>/<name>`; the name says what differs from `defaults`.

    Args:
        config: The configuration of the run.
        defaults: The configuration of the same data set, model and phase without further options.
    """
    ours, theirs = identity(config), identity(defaults)
    changed = [key for key in ours if key != "seed" and ours[key] != theirs.get(key)]
    parts = [f"seed{ours['seed']}", *(_label(key, ours[key]) for key in changed)]
    name = "-".join(parts)
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST_NAME - 9]}-{digest}"
    folder = f"{model_name(config)}_{config['phase']}"
    return Path(config["output_dir"]) / config["data"]["name"] / folder / name


def _label(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if isinstance(value, list):
        return name + "x".join(f"{part:g}" for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}{value:g}"
    return f"{name}_{str(value).lower()}"


def fingerprint(model_class: type) -> str:
    """Hash of the code that trains: the model's file, and the files below it."""
    package = Path(__file__).parent
    names = ["layers", "losses", "datasets", "data", "seeding", "experiment", "training"]
    files = {Path(importlib.import_module(model_class.__module__).__file__ or "")}
    return hash_code(files | {package / f"{name}.py" for name in names})


def hash_code(files: Iterable[Path]) -> str:
    """Hash of Python files; comments, layout and docstrings aside."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda path: path.name):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                body.pop(0)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def save_model(run: RunDirectory, model: pl.LightningModule) -> None:
    """Write the weights and what is needed to rebuild the model around them."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    temporary = run.weights.with_suffix(".tmp")
    temporary.write_bytes(to_bytes(weights))
    os.replace(temporary, run.weights)
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    write_json(run.model, {"class": name, "arguments": dict(model.hparams)})


def load_model(run_dir: str | Path, *, checkpoint: str = "last") -> Any:
    """Rebuild a trained model, in eval mode on the CPU.

    Args:
        run_dir: A run directory; `model.json` and `model.safetensors` are all that is read.
        checkpoint: "last": the last epoch's weights, as in every figure. "best": those of
            `checkpoints/best.ckpt`, an extra.

    Raises:
        UserError: Not a finished run, or a file that is not ours.
    """
    run = RunDirectory(run_dir)
    if not run.model.exists():
        status = run.read_status().get("status")
        found = f"its status is {status}" if status else "there is no status.json in it"
        raise UserError(f"{run.path}: not a finished run ({found}): name a run directory")
    record = read_json(run.model)
    try:
        model = _model_class(record, run.model)(**record["arguments"])
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{run.model}: not the arguments of its model ({reason})") from error
    if checkpoint not in ("last", "best"):
        raise UserError(f"checkpoint must be last or best, got {checkpoint!r}")
    file = run.weights if checkpoint == "last" else run.checkpoints / BEST
    if not file.exists():
        raise UserError(f"{file}: missing; this run has no {checkpoint} weights")
    try:
        if checkpoint == "last":
            weights = load_file(file)
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, KeyError, ValueError, EOFError, OSError) as error:
        raise _not_ours(file, error) from error
    except Exception as error:  # pickle.UnpicklingError and its like
        raise _not_ours(file, error) from error
    model.eval()
    return model


def _other_version(file: Path) -> UserError:
    return UserError(
        f"{file}: not a run's, or of another version of gen-models: train the run again "
        "(overwrite=true)"
    )


def _not_ours(file: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{file}: not weights of this model ({reason})")


def _model_class(record: dict[str, Any], file: Path) -> type:
    """The class that `model.json` names: only a LightningModule of this package is accepted."""
    module_name, _, class_name = str(record.get("class")).rpartition(".")
    if module_name.startswith("gen_models."):
        try:
            found = getattr(importlib.import_module(module_name), class_name, None)
        except ModuleNotFoundError:
            found = None
        if isinstance(found, type) and issubclass(found, pl.LightningModule):
            return found
    raise UserError(f"{file}: {record.get('class')!r} is not a model of gen_models")


def read_json(path: Path) -> dict[str, Any]:
    """Read one of our JSON files; UserError if it is not one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not one of our files")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)
