"""The weights of a run on the disk: checkpoints while it trains, then the model of a finished run.

Checkpoints are written whole or not at all, and the one before `latest` is kept. Lightning's own
writer goes through the temporary folder, which is atomic only on the same file system, and hides a
PermissionError; this one writes to the folder of the file that it replaces. A finished run has
`model.safetensors`, and `model.json` to rebuild the model around them.

Nothing that is read can run code: weights are safetensors or checkpoints of plain types, and
`model.json` may name models of gen_models only, or of a module that the user allows by the
environment variable GEN_MODELS_IMPORT.
"""

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import CheckpointIO
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from gen_models.errors import UserError, first_line, system_error
from gen_models.files import read_json, replaced, write_json, writing
from gen_models.models.interface import Encoder, GenerativeModel, check_model
from gen_models.models.sampler import WithSampler
from gen_models.places import PRETRAINED
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import read_sampler

log = logging.getLogger(__name__)

LATEST, PREVIOUS, BEST = "latest.ckpt", "latest-previous.ckpt", "best.ckpt"
TEMPORARY = ".tmp-"  # and the process's number
ALLOWED = "GEN_MODELS_IMPORT"  # other modules that hold models, separated by commas


class AtomicCheckpointIO(CheckpointIO):
    """Writes, reads and removes Lightning checkpoints."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write next to `path`, flush to the disk, check that it opens, then replace `path`.

        Raises:
            OSError: It could not be written and there is no earlier one. Where there is an
                earlier one, a warning is logged and training continues.
            UnpicklingError: It holds other than plain types and tensors.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _peek(temporary)
            if path.name == LATEST and path.exists():
                os.replace(path, path.with_name(PREVIOUS))
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError
            system = system_error(error)
            reason = system.strerror if system else error
            if not (path.exists() or path.with_name(PREVIOUS).exists()):
                raise OSError(f"{path}: cannot be written ({reason})") from error
            log.warning("%s: could not be written (%s); the one before is kept", path, reason)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file of plain types and tensors; anything else is refused without being run.

        To the CPU, from where Lightning moves them: a run of a GPU can be resumed without one.
        """
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make the folder, try to write to it, and delete the unfinished files of a kill -9.

    Raises:
        UserError: It cannot be written: better known now than after an epoch.
    """
    with writing(folder, "choose another output_dir"):
        folder.mkdir(exist_ok=True)
        (folder / f"probe{TEMPORARY}{os.getpid()}").write_text("written", encoding="utf-8")
        for unfinished in folder.glob(f"*{TEMPORARY}*"):
            unfinished.unlink()


def newest_readable(folder: Path) -> Path | None:
    """`latest.ckpt`, or the one before it where the newest does not open, or None without any.

    Raises:
        UserError: There are checkpoints, and none opens: the user decides whether to start again.
    """
    paths = [path for path in (folder / LATEST, folder / PREVIOUS) if path.exists()]
    for path in paths:
        try:
            _peek(path)
        except Exception as error:  # whatever a damaged file makes the reader raise
            log.warning("%s: does not open (%s)", path, first_line(error))
        else:
            return path
    if paths:
        raise UserError(f"{folder}: no checkpoint in it opens: overwrite=true starts again")
    return None


def read_step(path: Path) -> int:
    """The training batches before a checkpoint."""
    return int(_peek(path)["global_step"])


def _peek(path: Path) -> dict[str, Any]:
    """A checkpoint without the tensors' content."""
    content: dict[str, Any] = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    return content


def save_model(run: RunDirectory, model: pl.LightningModule) -> None:
    """Write the weights, and what is needed to rebuild the model around them."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replaced(run.weights) as temporary:
        temporary.write_bytes(to_bytes(weights))
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    write_json(run.model, {"class": name, "arguments": dict(model.hparams)})


def load_model(
    run_dir: str | Path, *, checkpoint: str = "last", sampler: bool = True
) -> GenerativeModel:
    """Rebuild a trained model, in eval mode on the CPU; its weights ask for no gradients.

    Args:
        run_dir: A run directory; `model.json`, `model.safetensors` and, where there is one,
            `sampler.safetensors` are all that is read.
        checkpoint: "last": the last epoch's weights, as in every metric. "best": those of
            `checkpoints/best.ckpt`, an extra.
        sampler: Return a run that has a sampler as a `WithSampler`, whose `model` is the trained
            one. False: the trained model itself, which draws from its prior.

    Raises:
        UserError: Not a finished run, or one of its files is damaged.
    """
    run = RunDirectory(run_dir)
    if not run.model.exists():
        status = run.read_status().get("status")
        reason = f"its status is {status}" if status else "there is no status.json in it"
        remedy = "name a run directory"
        if (PRETRAINED / run_dir / run.model.name).exists():
            remedy = f'load_pretrained("{run_dir}") loads the model of this name'
        raise UserError(f"{run.path}: not a finished run ({reason}): {remedy}")
    record = read_json(run.model)
    try:
        built = _model_class(record, run.model)(**record["arguments"])
        left_out = tuple(record.get("left_out", ()))
        for part in left_out:
            delattr(built, part)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.model}: not the arguments of its model ({first_line(error)}): train it again"
        ) from error
    model = check_model(built, str(run.model))
    model.left_out = left_out
    if checkpoint not in ("last", "best"):
        raise UserError(f"checkpoint must be last or best, got {checkpoint!r}")
    sampler = sampler and run.sampler.exists()
    if sampler and checkpoint != "last":
        raise UserError(
            f"{run.sampler}: fitted to the last epoch's weights, not to {checkpoint}.ckpt: "
            f"gen-models fit-sampler {run.path} --remove deletes it"
        )
    file = run.weights if checkpoint == "last" else run.checkpoints / BEST
    if not file.exists():
        raise UserError(f"{file}: missing, so this run has no {checkpoint} weights: train it again")
    try:
        model.load_state_dict(_read_weights(file))
    except Exception as error:  # whatever a damaged file makes the readers raise
        reason = first_line(error)
        raise UserError(f"{file}: not weights of this model ({reason}): train it again") from error
    model.eval().requires_grad_(False)
    if not sampler:
        return model
    assert isinstance(model, Encoder)
    name, tensors = read_sampler(run, model.latent_dim)
    return WithSampler(model, name, **tensors).eval()


def _read_weights(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        return load_file(file)
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    weights: dict[str, torch.Tensor] = content["state_dict"]
    return weights


def _model_class(record: dict[str, Any], file: Path) -> type[pl.LightningModule]:
    """The class that `model.json` names, if it is one that may be imported."""
    module_name, _, class_name = str(record.get("class")).rpartition(".")
    allowed = os.environ.get(ALLOWED, "").split(",")
    own = module_name.startswith("gen_models.")
    if module_name and (own or module_name in allowed or module_name in sys.modules):
        try:
            cls = getattr(importlib.import_module(module_name), class_name, None)
        except ModuleNotFoundError:
            cls = None
        if isinstance(cls, type) and issubclass(cls, pl.LightningModule):
            return cls
    remedy = "" if own else f": if it is yours, {ALLOWED}={module_name} allows its import"
    raise UserError(f"{file}: {record.get('class')!r} is not a model of gen_models{remedy}")
