"""Where a run is measured: on the GPU that trained it, or another one, else on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
import torch

from gen_models.errors import UserError
from gen_models.models.interface import GenerativeModel
from gen_models.runs.directory import RunDirectory


def at_rest(model: GenerativeModel) -> GenerativeModel:
    """A model as `load_model` gives it: in eval mode, without gradients or a trainer."""
    assert isinstance(model, pl.LightningModule)
    model.trainer = None
    model.zero_grad()
    model.eval().requires_grad_(False)
    return model


@contextmanager
def measuring(run: RunDirectory) -> Iterator[torch.device]:
    """The device on which a run is measured, while it is.

    CUDA, if there is any and the run was trained on a GPU: with trainer.accelerator=cpu it is
    measured on the CPU too. Convolutions are exact to float32 there, as on the CPU and as products
    of matrices are: TF32, cuDNN's default, would keep 10 bits of each factor. They also are the
    same each time.

    Raises:
        UserError: The GPU's memory is too small, or in use.
    """
    by_gpu = run.read_status().get("device", "cpu") != "cpu"
    device = torch.device("cuda" if by_gpu and torch.cuda.is_available() else "cpu")
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield device
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{run.path}: too little of the GPU's memory is free to measure it: free some, or "
            f"measure on the CPU (CUDA_VISIBLE_DEVICES= gen-models evaluate {run.path})"
        ) from error
