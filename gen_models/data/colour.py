"""CIFAR-10 and SVHN, as torchvision downloads, checks and reads them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torchvision.datasets import CIFAR10, SVHN

from gen_models.data.dataset import Dataset, Split, hold_out
from gen_models.data.facts import FACTS
from gen_models.errors import UserError


class ColourSource(NamedTuple):
    """A data set in torchvision's layout: `<root>/<file>`."""

    dataset: type[CIFAR10] | type[SVHN]
    train: dict[str, Any]  # arguments of torchvision's class
    test: dict[str, Any]
    validation_size: int = 5000  # of the training images
    instead: str = "data=color_mnist"  # a set without a download

    @property
    def files(self) -> list[str]:
        """The files that are read, by their paths under the root."""
        if issubclass(self.dataset, SVHN):
            return [self.dataset.split_list[name][1] for name in ("train", "test")]
        names = [file for file, _ in (*self.dataset.train_list, *self.dataset.test_list)]
        return [f"{self.dataset.base_folder}/{file}" for file in (*names, "batches.meta")]

    @property
    def downloads(self) -> list[str]:
        """What torchvision downloads to the root: it takes what is already there."""
        return self.files if issubclass(self.dataset, SVHN) else [self.dataset.filename]

    @property
    def wanted(self) -> str:
        """What the user may put in the root."""
        return " and ".join(self.downloads)

    def folder(self, root: Path) -> Path:
        """The root, or the folder in it with the name of torchvision's class."""
        inside = root / self.dataset.__name__
        return inside if (inside / self.files[0]).exists() else root

    def missing(self, root: Path) -> str:
        """The error of a file that is missing; empty if none is."""
        folder = self.folder(root)
        missing = [file for file in self.files if not os.path.isfile(folder / file)]
        return f"there is no {folder / missing[0]}" if missing else ""

    def fetch(self, root: Path, new: str) -> None:
        """Let torchvision download what is not in the root to a new folder, and unpack it."""
        for file in self.downloads:
            if os.path.isfile(root / file):
                os.symlink((root / file).absolute(), Path(new, file))
        for options in (self.train, self.test):
            self.dataset(new, download=True, **options)


COLOUR_SOURCES = {
    "cifar10": ColourSource(CIFAR10, {"train": True}, {"train": False}),
    "svhn": ColourSource(SVHN, {"split": "train"}, {"split": "test"}),
}


def load_colour(name: str, root: Path) -> Dataset:
    """Read the files of CIFAR-10 or SVHN.

    Raises:
        UserError: A file is missing, or is not the published one.
    """
    source = COLOUR_SOURCES[name]
    if missing := source.missing(root):
        raise UserError(missing)
    folder = source.folder(root)
    try:  # torchvision compares MD5 sums before anything is unpickled
        official, test = (_split(source.dataset(folder, **o)) for o in (source.train, source.test))
    except RuntimeError as error:
        raise UserError(
            f"{folder}: its files of {source.dataset.__name__} are not the published ones: put "
            f"{source.wanted} there, or move the others elsewhere and they are downloaded"
        ) from error
    train, validation = hold_out(official, source.validation_size)
    splits = {"train": train, "validation": validation, "test": test}
    return Dataset(splits, FACTS[name].class_names)


def _split(dataset: CIFAR10 | SVHN) -> Split:
    cifar = isinstance(dataset, CIFAR10)
    images = dataset.data.transpose(0, 3, 1, 2) if cifar else dataset.data  # (n, 3, 32, 32)
    labels = dataset.targets if cifar else dataset.labels
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.tensor(labels))
