"""Batches of a data set that lies in memory as one uint8 tensor: a batch is one indexing operation.

Images reach the models as float (batch, c, h, w) in [0, 1]; nothing else sets a pixel range.
"""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.seeding import generator


class Batch(NamedTuple):
    """The argument of a model's steps."""

    images: Tensor  # (b, c, h, w) float in [0, 1]
    labels: Tensor | None = None  # (b,) int64; None where the data set has none


@dataclass(eq=False, repr=False)
class InMemoryLoader:
    """Batches of one tensor, with an order that is a function of (seed, epoch).

    Lightning calls `set_epoch` through `sampler`, and saves and restores `state_dict` with its
    checkpoints, so that training resumes at the very next batch.
    """

    images: Tensor  # (n, c, h, w) uint8, on the device where the batches shall be
    labels: Tensor | None = None  # (n,) int64, on the same device
    _: KW_ONLY
    batch_size: int  # over all ranks
    shuffle_seed: int | None = None  # of the permutations; None keeps the order
    drop_last: bool = False  # leave out a last batch that is not full
    rank: int = 0  # this process
    world_size: int = 1  # each process takes every `world_size`-th image of a batch

    batch_sampler = None  # Lightning reads it, and `sampler`, of a loader that is no DataLoader
    epoch = 0
    position = 0  # batches handed out in this epoch
    _resume_at = 0

    @property
    def sampler(self) -> "InMemoryLoader":
        """The loader itself, whose `set_epoch` Lightning calls."""
        return self

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(len(self.images), self.batch_size)
        # A rest that would leave a process without an image is part of the batch before it.
        return full if self.drop_last or rest < self.world_size else full + 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next iteration."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch have been handed out."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next iteration, and only that, after `state["position"]` batches."""
        self._resume_at = state["position"] if state["position"] < len(self) else 0

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch; nothing happens before the first `next`."""
        start, self._resume_at = self._resume_at, 0
        order = None  # the images as they are
        if self.shuffle_seed is not None:
            shuffle = generator("order", self.shuffle_seed, self.epoch)
            order = torch.randperm(len(self.images), generator=shuffle).to(self.images.device)
        for index in range(start, len(self)):
            self.position = index + 1
            begin, end = index * self.batch_size, (index + 1) * self.batch_size
            if index == len(self) - 1 and not self.drop_last:
                end = len(self.images)
            own = slice(begin + self.rank, end, self.world_size)
            rows = own if order is None else order[own]
            images = self.images[rows].to(torch.float32).div_(255)
            yield Batch(images, None if self.labels is None else self.labels[rows])
