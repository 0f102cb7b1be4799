"""CIFAR-10 and SVHN, as torchvision downloads, checks and reads them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torchvision.datasets import CIFAR10, SVHN
from torchvision.datasets.utils import check_integrity

from gen_models.data.dataset import Dataset, Split, hold_out
from gen_models.data.facts import FACTS
from gen_models.errors import UserError


class ColourSource(NamedTuple):
    """A data set in torchvision's layout: `<root>/<file>`."""

    dataset: type[CIFAR10] | type[SVHN]
    train: dict[str, Any]  # arguments of torchvision's class
    test: dict[str, Any]
    validation_size: int = 5000  # of the training images

    @property
    def files(self) -> dict[str, str]:
        """The files that are read, by their paths under the root, with the MD5 of each."""
        if issubclass(self.dataset, SVHN):
            splits = self.dataset.split_list
            return {splits[name][1]: splits[name][2] for name in ("train", "test")}
        folder, meta = self.dataset.base_folder, self.dataset.meta
        files = [*self.dataset.train_list, *self.dataset.test_list, (meta["filename"], meta["md5"])]
        return {f"{folder}/{file}": md5 for file, md5 in files}

    @property
    def downloads(self) -> list[str]:
        """What torchvision downloads to the root: it takes what is already there."""
        return list(self.files) if issubclass(self.dataset, SVHN) else [self.dataset.filename]

    def folder(self, root: Path) -> Path:
        """The root, or the folder in it with the name of torchvision's class."""
        inside = root / self.dataset.__name__
        return inside if (inside / next(iter(self.files))).exists() else root

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
        UserError: A file is missing, or is not the published one; the message names it.
    """
    source = COLOUR_SOURCES[name]
    if missing := source.missing(root):
        raise UserError(missing)
    folder = source.folder(root)
    for file, md5 in source.files.items():
        if not check_integrity(folder / file, md5):  # before anything in it is unpickled
            raise UserError(
                f"{folder / file}: its content is not the published one: put the published file "
                f"there, or move it elsewhere and {source.dataset.__name__} is downloaded"
            )
    official, test = (_split(source.dataset(folder, **o)) for o in (source.train, source.test))
    train, validation = hold_out(official, source.validation_size)
    splits = {"train": train, "validation": validation, "test": test}
    return Dataset(splits, FACTS[name].class_names)


def _split(dataset: CIFAR10 | SVHN) -> Split:
    cifar = isinstance(dataset, CIFAR10)
    images = dataset.data.transpose(0, 3, 1, 2) if cifar else dataset.data  # (n, 3, 32, 32)
    labels = dataset.targets if cifar else dataset.labels
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.tensor(labels))
