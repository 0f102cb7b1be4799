"""The data module that all models share."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from gen_models.checks import check_bool, check_choice, check_whole
from gen_models.data import datasets
from gen_models.data.datasets import DATA_SETS, Split
from gen_models.data.loader import InMemoryLoader
from gen_models.errors import UserError
from gen_models.files import expanded

LEAST = 6  # images of each part: an image and its five nearest, for `coverage`


class MNISTDataModule(pl.LightningDataModule):
    """MNIST, Fashion-MNIST, KMNIST or scikit-learn's digits, split the same way in every run.

    The validation images are held out of the official training images by a fixed permutation; the
    test images are read by `test` and by evaluation alone.

    Args:
        name: One of `DATA_SETS`.
        root: Folder of the files in torchvision's layout; what is missing is downloaded there.
            None: the environment variable GEN_MODELS_DATA, else `data`.
        batch_size: Images a training step, over all processes.
        train_on_validation: Train on the validation images too, as published figures do; `val/...`
            then says nothing of new images.
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
        train_on_validation: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.name: str = check_choice("name", name, DATA_SETS)
        self.root = expanded(root or os.environ.get("GEN_MODELS_DATA") or "data")
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.train_on_validation = check_bool("train_on_validation", train_on_validation)
        self.seed = check_whole("seed", seed, 0)
        self.splits: dict[str, Split] = {}

    def prepare_data(self) -> None:
        """Download what is not on disk."""
        datasets.download(self.name, self.root)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the files, and split them.

        Raises:
            UserError: A file is missing, damaged or of another data set; the message names it.
        """
        if self.splits:
            return
        splits = datasets.load(self.name, self.root)
        for name, split in splits.items():
            if len(split.images) < LEAST:
                raise UserError(
                    f"{self.name}: has {len(split.images)} {name} images, but a model's metrics "
                    f"need {LEAST} or more: choose another data set"
                )
        if self.train_on_validation:
            kept, held_out = splits["train"], splits["validation"]
            both = (torch.cat(parts) for parts in zip(kept, held_out, strict=True))
            splits = {**splits, "train": Split(*both)}
        self.splits = splits

    def train_dataloader(self) -> InMemoryLoader:
        """Shuffled batches of the training images, all of them full.

        Raises:
            UserError: There are fewer images than a batch has.
        """
        count = len(self.splits["train"].images)
        if self.batch_size > count:
            raise UserError(
                f"data.batch_size={self.batch_size} is larger than {self.name}'s {count:,} "
                "training images: choose a smaller one"
            )
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
        images, labels = self.splits[split]
        if trainer:
            images = _on_device(images, trainer.strategy.root_device)
        return InMemoryLoader(
            images,
            labels.to(images.device),
            batch_size=self.batch_size,
            rank=trainer.global_rank if trainer else 0,
            world_size=world_size,
            **options,
        )


def load_data(name: str, root: str | Path | None) -> MNISTDataModule:
    """A data set ready to be used: downloaded if it is not on disk, read, checked and split.

    Args:
        name: One of `DATA_SETS`.
        root: As for `MNISTDataModule`.

    Raises:
        UserError: A file is missing, damaged or of another data set; the message names it.
    """
    data = MNISTDataModule(name=name, root=root)
    data.prepare_data()
    data.setup()
    return data


def _on_device(images: Tensor, device: torch.device) -> Tensor:
    """The images on the training device, where they take less than half of its free memory."""
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
