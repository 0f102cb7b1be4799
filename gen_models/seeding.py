"""Counter-based randomness: every random number is a function of (seed, purpose, step).

Nothing depends on how often anything was drawn before, so resuming a run, validating more often
or logging more pictures changes no weight.
"""

import hashlib

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from any parts, e.g. `derive_seed(run_seed, "batch", step)`.

    32 bits, because torch's CPU generator (mt19937) reads no more of a seed than that.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose; the global one is left alone."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))


class StepSeed(Callback):
    """Seeds the global generator from (seed, step) at the start of each training batch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Tensor, batch_idx: int
    ) -> None:
        """Seed for what the step draws: noise, dropout, binarised pixels."""
        seed = derive_seed(self.seed, "step", trainer.global_step)
        torch.default_generator.manual_seed(seed)
        # torch.manual_seed would queue a call, with a stack trace, for each absent accelerator.
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif pl_module.device.type == "mps":
            torch.mps.manual_seed(seed)
