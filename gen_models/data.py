"""The data module that both models share, and its loader: a data set as one uint8 tensor.

A batch is one indexing operation. Images reach the models as float (batch, 1, 28, 28) in [0, 1];
nothing else in the project sets a pixel range.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from gen_models import datasets
from gen_models.checks import check_whole
from gen_models.datasets import DATA_SETS, Split
from gen_models.errors import UserError
from gen_models.seeding import generator


class InMemoryLoader:
    """Batches of one tensor, with an order that is a function of (seed, epoch).

    Lightning calls `set_epoch` through `sampler`, and saves and restores `state_dict` with its
    checkpoints, so that training goes on at the very next batch.

    Args:
        images: (n, 1, 28, 28) uint8, on the device where the batches shall be.
        batch_size: Images a batch, over all ranks.
        shuffle_seed: Seed of the permutations; None keeps the order.
        drop_last: Leave out a last batch that is not full.
        rank: This process.
        world_size: Number of processes; each takes every `world_size`-th image of a batch.
    """

    batch_sampler = None  # Lightning asks for both on anything that is not a DataLoader

    def __init__(
        self,
        images: Tensor,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.sampler = self
        self.epoch = 0
        self.position = 0  # batches handed out in this epoch
        self._resume_at = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        n = len(self.images)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next iteration."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch have been handed out."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next iteration, and only that, after `state["position"]` batches."""
        self._resume_at = state["position"] if state["position"] < len(self) else 0

    def __iter__(self) -> Iterator[Tensor]:
        """Batches, float (b, 1, 28, 28) in [0, 1]; nothing happens before the first `next`."""
        start, self._resume_at = self._resume_at, 0
        order = self._order()
        for index in range(start, len(self)):
            self.position = index + 1
            begin = index * self.batch_size
            chosen = slice(begin + self.rank, begin + self.batch_size, self.world_size)
            batch = self.images[chosen] if order is None else self.images[order[chosen]]
            yield batch.to(torch.float32).div_(255)

    def _order(self) -> Tensor | None:
        if self.shuffle_seed is None:
            return None
        own = generator("order", self.shuffle_seed, self.epoch)
        return torch.randperm(len(self.images), generator=own).to(self.images.device)


class MNISTDataModule(pl.LightningDataModule):
    """MNIST, Fashion-MNIST, KMNIST or scikit-learn's digits, split the same way in every run.

    The validation images are held out of the official training images by a fixed permutation; the
    test images are read by `test` and by evaluation alone.

    Args:
        name: One of `DATA_SETS`.
        root: Folder of the files in torchvision's layout; what is missing is downloaded there.
            None means the environment variable GEN_MODELS_DATA, else `data`.
        batch_size: Images a training step, over all processes.
        seed: Of the order of the training images.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        *,
        name: str = "mnist",
        root: str | Path | None = None,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if name not in DATA_SETS:
            raise ValueError(f"name must be one of {', '.join(DATA_SETS)}, got {name!r}")
        self.name: str = name
        self.root = Path(root or os.environ.get("GEN_MODELS_DATA") or "data").expanduser()
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.seed = check_whole("seed", seed, 0)
        self.splits: dict[str, Split] = {}

    def prepare_data(self) -> None:
        """Download what is not on disk."""
        datasets.download(self.name, self.root)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the files, and split them.

        Raises:
            UserError: A file is missing, corrupt or another one; the message names it.
        """
        if self.splits:
            return
        splits = datasets.load(self.name, self.root)
        if self.batch_size > len(splits["train"].images):
            raise UserError(
                f"data.batch_size={self.batch_size} is larger than {self.name}'s "
                f"{len(splits['train'].images):,} training images: choose a smaller one"
            )
        self.splits = splits

    def train_dataloader(self) -> InMemoryLoader:
        """Shuffled batches of the training images, all of them full."""
        return self._loader("train", shuffle_seed=self.seed, drop_last=True)

    def val_dataloader(self) -> InMemoryLoader:
        """The validation images, in order."""
        return self._loader("validation")

    def test_dataloader(self) -> InMemoryLoader:
        """The test images, in order."""
        return self._loader("test")

    def _loader(self, split: str, **options: Any) -> InMemoryLoader:
        trainer = self.trainer
        world_size = trainer.world_size if trainer else 1
        if self.batch_size % world_size:
            raise UserError(
                f"data.batch_size={self.batch_size} cannot be shared by {world_size} devices: "
                "choose a multiple"
            )
        images = self.splits[split].images
        if trainer:
            images = _on_device(images, trainer.strategy.root_device)
        rank = trainer.global_rank if trainer else 0
        return InMemoryLoader(
            images, batch_size=self.batch_size, rank=rank, world_size=world_size, **options
        )


def _on_device(images: Tensor, device: torch.device) -> Tensor:
    """The images on the training device, where they take less than half of its free memory."""
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
