"""Counter-based randomness: every random number is a function of (seed, purpose, step).

Nothing depends on how often anything was drawn before, so resuming a run, validating more often
or logging more pictures changes no weight.
"""

import hashlib
from contextlib import AbstractContextManager

import torch


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from any parts, e.g. `derive_seed(run_seed, "batch", step)`.

    32 bits, because torch's CPU generator (mt19937) reads no more of a seed than that.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose; the global one is left alone."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))


def same_convolutions() -> AbstractContextManager[None]:
    """Convolutions on an NVIDIA GPU that give the same numbers each time, in float32.

    By default cuDNN adds in an order that changes from run to run, and in TF32, which keeps 10 bits
    of each factor.
    """
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
