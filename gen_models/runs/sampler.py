"""A run's sampler, `sampler.safetensors`: mixtures of latents, fitted to the run's weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

from gen_models.errors import UserError, first_line
from gen_models.files import replaced, writing
from gen_models.runs.directory import RunDirectory

TENSORS = ("weights", "means", "factors")
RECORD = "sampler"  # the one key of the file's own metadata, in JSON


def read_record(run: RunDirectory) -> dict[str, Any]:
    """A run's sampler as it was recorded, its "name" first; {} if it has none. Without torch.

    Raises:
        UserError: The file is not one of ours.
    """
    if not run.sampler.exists():
        return {}
    from safetensors import safe_open

    try:
        with safe_open(run.sampler, "numpy") as file:
            record: dict[str, Any] = json.loads(file.metadata()[RECORD])
        if not isinstance(record["name"], str) or not isinstance(record["weights_sha256"], str):
            raise ValueError("its record is not a sampler's")
    except Exception as error:  # a damaged file makes the reader raise anything
        raise _unusable(run, f"is not a sampler ({first_line(error)})") from error
    return record


def write_sampler(run: RunDirectory, tensors: dict[str, Any], record: dict[str, Any]) -> None:
    """Keep a sampler with its record and the hash of the run's weights, whole or not at all.

    Args:
        run: A finished run.
        tensors: "weights", "means" and "factors", as `WithSampler` takes them.
        record: "name", and how it was fitted.

    Raises:
        UserError: It cannot be written.
    """
    from safetensors.torch import save

    record = record | {"weights_sha256": hash_file(run.weights)}
    with writing(run.sampler, "free some space"), replaced(run.sampler) as temporary:
        temporary.write_bytes(save(tensors, {RECORD: json.dumps(record)}))


def read_sampler(run: RunDirectory, latent_dim: int) -> tuple[str, dict[str, Any]]:
    """A run's sampler: its name, and the tensors that `WithSampler` takes.

    Raises:
        UserError: The file is not one of ours, or was fitted to other weights.
    """
    from safetensors.torch import load_file

    record = read_record(run)
    if record["weights_sha256"] != hash_file(run.weights):
        raise _unusable(run, "was fitted to other weights than this run's model.safetensors")
    tensors = {name: tensor.float() for name, tensor in load_file(run.sampler).items()}
    if set(tensors) != set(TENSORS):
        raise _unusable(run, f"must hold {', '.join(TENSORS)}")
    classes, components, width = tensors["means"].shape
    mixtures = (classes, components)
    if (
        tensors["weights"].shape != mixtures
        or tensors["factors"].shape != (*mixtures, width, width)
        or width + (0 if classes == 1 else classes) != latent_dim
    ):
        raise _unusable(run, f"does not fit latents of width {latent_dim}")
    return record["name"], tensors


def sampler_measured_with(status: dict[str, Any]) -> str | None:
    """Name of the sampler whose images were measured; None for the prior.

    In the full evaluation, or, if there is none, in the quick one.
    """
    name: str | None = status.get("evaluation", status.get("quick", {})).get("sampler")
    return name


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unusable(run: RunDirectory, reason: str) -> UserError:
    return UserError(
        f"{run.sampler}: {reason}: gen-models fit-sampler {run.path} fits another, with --remove "
        "the prior is used"
    )
