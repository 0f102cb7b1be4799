"""The data module that all models share."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from gen_models.checks import check_bool, check_choice, check_whole
from gen_models.data import datasets
from gen_models.data.dataset import Dataset, Split
from gen_models.data.facts import FACTS
from gen_models.data.folder import read_folder
from gen_models.data.loader import InMemoryLoader
from gen_models.data.npz import read_npz
from gen_models.data.pictures import check_channels, check_size
from gen_models.errors import UserError
from gen_models.files import expanded

READERS = {"folder": read_folder, "npz": read_npz}


class MNISTDataModule(pl.LightningDataModule):
    """MNIST, another published data set or the user's own images, split the same way in every run.

    The validation images are held out of the official training images by a fixed permutation; the
    test images are read by `test` and by evaluation alone. Of one's own images, a hash of each name
    decides where it belongs.

    Args:
        name: One of `FACTS`; with a `source`, any other name, for runs and pages.
        source: None, or what `root` is: a "folder" of pictures, or an "npz" file.
        root: Folder of the files in torchvision's layout; what is missing is downloaded there.
            None: the environment variable GEN_MODELS_DATA, else `data`.
        size: With a `source`: height and width to which pictures are scaled and cropped, or one
            number for both. None: they have one size already.
        channels: With a `source`: 1 for grey, 3 for colour. None: as the pictures are.
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
        source: str | None = None,
        root: str | Path | None = None,
        size: Any = None,
        channels: int | None = None,
        batch_size: int = 128,
        train_on_validation: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = source if source is None else check_choice("source", source, list(READERS))
        if source is None:
            self.name: str = check_choice("name", name, list(FACTS))
            self.root = expanded(root or os.environ.get("GEN_MODELS_DATA") or "data")
        else:
            if name in FACTS:
                raise ValueError(
                    f"name {name} is that of a published data set: choose another, as "
                    f"data.name=my_{name}"
                )
            if root is None:
                place = "FOLDER" if source == "folder" else "FILE.npz"
                raise ValueError(f"root is missing; add data.root={place}, your own images")
            self.name, self.root = name, expanded(root)
        self.size = size
        self.channels = channels
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.train_on_validation = check_bool("train_on_validation", train_on_validation)
        self.seed = check_whole("seed", seed, 0)

    @cached_property
    def dataset(self) -> Dataset:
        """The images, which are read and checked when this is first asked for.

        Raises:
            UserError: A file is missing, damaged or of another data set; the message names it.
        """
        if self.source is None:
            return datasets.load(self.name, self.root)
        size, channels = check_size(self.size), check_channels(self.channels)
        return READERS[self.source](self.root, size, channels)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The parts of the data set; "train" with the images of "validation", if so asked."""
        splits = self.dataset.splits
        if not self.train_on_validation:
            return splits
        (images, labels), (more, their_labels) = splits["train"], splits["validation"]
        if labels is not None and their_labels is not None:
            labels = torch.cat([labels, their_labels])
        return splits | {"train": Split(torch.cat([images, more]), labels)}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width; those of a published data set are known without its files."""
        return FACTS[self.name].image_shape if self.source is None else self.dataset.image_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class; none where the images have no labels."""
        return FACTS[self.name].class_names if self.source is None else self.dataset.class_names

    @property
    def key(self) -> str:
        """The name, made unique by the images' digest where it does not say which they are."""
        digest = self.dataset.digest
        return f"{self.name}-{digest[:8]}" if digest else self.name

    def prepare_data(self) -> None:
        """Download what is not on disk."""
        if self.source is None:
            datasets.download(self.name, self.root)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the images.

        Raises:
            UserError: A file is missing, damaged or of another data set; the message names it.
        """
        _ = self.dataset  # it is read when it is first asked for

    def train_dataloader(self) -> InMemoryLoader:
        """Shuffled batches of the training images, all of them full.

        Raises:
            UserError: There are fewer images than a batch has.
        """
        count = len(self.splits["train"].images)
        if self.batch_size > count:
            raise UserError(
                f"data.batch_size={self.batch_size}: {self.name} has only {count:,} training "
                "images: choose a smaller one"
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
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if self.batch_size % world_size:
            raise UserError(
                f"data.batch_size={self.batch_size} cannot be shared by {world_size} devices: "
                "choose a multiple"
            )
        images, labels = self.splits[split]
        device = trainer.strategy.root_device if trainer else images.device
        if device.type != "cuda" or images.nbytes <= torch.cuda.mem_get_info(device)[0] / 2:
            images = images.to(device)  # unless they take more than half of a GPU's free memory
        labels = None if labels is None else labels.to(images.device)
        options |= {"batch_size": self.batch_size, "rank": rank, "world_size": world_size}
        return InMemoryLoader(images, labels, **options)


def load_data(options: Mapping[str, Any], root: str | Path | None = None) -> MNISTDataModule:
    """A data set ready to be used: downloaded if it is not on disk, read, checked and split.

    Args:
        options: The node "data" of a run's configuration; "name" alone will do.
        root: Where the data set is, if not where the node says.

    Raises:
        UserError: A file is missing, damaged or of another data set; the message names it.
    """
    kept = {key: options[key] for key in ("source", "size", "channels") if key in options}
    data = MNISTDataModule(name=options["name"], root=root or options.get("root"), **kept)
    data.prepare_data()
    data.setup()
    return data
