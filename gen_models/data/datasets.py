"""The published data sets: downloaded, read, checked, and split the same way in every run."""

import gzip
import hashlib
import math
import os
import socket
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, KMNIST, MNIST, SVHN, FashionMNIST

from gen_models.data.dataset import Dataset, Split, hold_out
from gen_models.data.facts import FACTS
from gen_models.data.packaged import coloured, load_digits, load_mnist5k
from gen_models.errors import UserError
from gen_models.files import nearest_existing, writing
from gen_models.terminal import say

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none
IMAGE_SIZE = 28  # of MNIST and its kin, pixels both ways
UINT8 = 8  # the code of this type in an idx file's header
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class Source(NamedTuple):
    """A data set in MNIST's format: four idx files, each as it is or as a .gz archive."""

    dataset: type[MNIST]  # torchvision's class, which downloads it
    md5: tuple[str, ...] = ()  # of the uncompressed FILES; () if not known
    train_size: int = 60_000
    test_size: int = 10_000
    validation_size: int = 5000  # of the training images
    instead: str = "data=digits"  # a set without a download

    @property
    def folder(self) -> str:
        """Name of its folder under the root."""
        return self.dataset.__name__

    @property
    def wanted(self) -> str:
        """What the user may put in the root."""
        return f"the four files of {self.folder}/raw"

    def find(self, root: Path) -> dict[str, Path]:
        """Where those of the four files are that exist, by their names in `FILES`.

        They lie in torchvision's place, or `root` is the data set's own folder. The files of all
        these sets have the same names, so that folder must have the set's name, unless its content
        proves which one it is. A file has our name or the original site's (with a dot). An archive,
        which has a checksum, goes before a file that was unpacked from it.
        """
        folders, whole = [root / self.folder / "raw", root / self.folder], root.absolute()
        if self.md5 or self.folder in (whole.name, whole.parent.name):
            folders += [root / "raw", root]
        paths: dict[str, Path] = {}
        for folder in reversed(folders):  # the first ones go before the others
            for path in sorted(folder.glob("*-ubyte*")):  # x, x.gz
                name = path.name.removesuffix(".gz").replace(".idx", "-idx")
                if name in FILES and path.is_file():
                    paths[name] = path
        return paths

    def missing(self, root: Path) -> str:
        """The error of a file that is missing; empty if none is."""
        paths = self.find(root)
        folder = next((path.parent for path in paths.values()), root / self.folder / "raw")
        missing = [file for file in FILES if file not in paths]
        return f"there is no {folder / missing[0]}" if missing else ""

    def fetch(self, root: Path, new: str) -> None:
        """Let torchvision download the files to a new folder."""
        self.dataset(new, download=True)

    def read(self, root: Path) -> list[Split]:
        """The official training images and the test images."""
        paths, parts = self.find(root), []
        for first, n in ((0, self.train_size), (2, self.test_size)):
            images = self._read_file(paths, first, n, IMAGE_SIZE, IMAGE_SIZE)
            labels = self._read_file(paths, first + 1, n)
            parts.append(Split(images.unsqueeze(1), labels.long()))
        return parts

    def _read_file(self, paths: dict[str, Path], number: int, *shape: int) -> Tensor:
        """The uint8 content of one of the `FILES`; the published one, if its MD5 is known."""
        path = paths[FILES[number]]
        remedy = (
            f"put the published file there, or move it elsewhere and {self.folder} is downloaded"
        )
        try:
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise UserError(f"{path}: cannot be read ({reason}): {remedy}") from error
        header = bytes([0, 0, UINT8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        if not content.startswith(header) or len(content) != len(header) + math.prod(shape):
            expected = " x ".join(f"{size:,}" for size in shape)
            raise UserError(f"{path}: not a whole idx file of {expected} bytes: {remedy}")
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if self.md5 and md5 != self.md5[number]:
            raise UserError(f"{path}: its content is not the published one: {remedy}")
        tensor = torch.frombuffer(bytearray(content[len(header) :]), dtype=torch.uint8).view(shape)
        if len(shape) == 1 and tensor.max() > 9:
            raise UserError(f"{path}: holds a label of {tensor.max()}, expected 0 to 9: {remedy}")
        return tensor


class ColourSource(NamedTuple):
    """A data set that torchvision downloads, checks by its MD5 and reads."""

    dataset: type[CIFAR10] | type[SVHN]
    train: dict[str, Any]  # arguments of torchvision's class
    test: dict[str, Any]
    files: tuple[str, ...]  # below the root
    downloads: tuple[str, ...]  # to the root: torchvision takes what is already there
    validation_size: int = 5000  # of the training images
    instead: str = "data=color_mnist"  # a set without a download

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

    def read(self, root: Path) -> list[Split]:
        """The official training images and the test images."""
        folder, parts = self.folder(root), []
        for options in (self.train, self.test):
            try:  # torchvision compares MD5 sums before anything is unpickled
                part: Any = self.dataset(folder, **options)
            except RuntimeError as error:
                raise UserError(
                    f"{folder}: its files of {self.dataset.__name__} are not the published ones: "
                    f"put {self.wanted} there, or move the others elsewhere and they are downloaded"
                ) from error
            cifar = self.dataset is CIFAR10
            images = part.data.transpose(0, 3, 1, 2) if cifar else part.data  # (n, 3, 32, 32)
            labels = torch.tensor(part.targets if cifar else part.labels)
            parts.append(Split(torch.from_numpy(np.ascontiguousarray(images)), labels))
        return parts


SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
CIFAR_FILES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
SOURCES: dict[str, Source | ColourSource] = {
    "mnist": Source(
        MNIST,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    "fashion_mnist": Source(FashionMNIST),
    "kmnist": Source(KMNIST),
    "cifar10": ColourSource(
        CIFAR10,
        {"train": True},
        {"train": False},
        tuple(f"cifar-10-batches-py/{name}" for name in CIFAR_FILES),
        ("cifar-10-python.tar.gz",),
    ),
    "svhn": ColourSource(SVHN, {"split": "train"}, {"split": "test"}, SVHN_FILES, SVHN_FILES),
}


def download(name: str, root: Path) -> None:
    """Download a data set that is not on disk; nothing is left of a download that fails.

    Raises:
        UserError: The download failed; the message names the ways out.
    """
    source = SOURCES.get(name)
    if not source or not (missing := source.missing(root)):
        return
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with (
            writing(
                f"{missing}, and data.root={root}",
                "choose another folder with data.root=FOLDER or GEN_MODELS_DATA",
            ),
            tempfile.TemporaryDirectory(prefix=".download-", dir=nearest_existing(root)) as new,
        ):
            try:
                source.fetch(root, new)
            except (OSError, RuntimeError) as error:  # URLError is an OSError
                reason = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"{name}: {missing}, and it could not be downloaded ({reason}): put "
                    f"{source.wanted} in {root}, or set GEN_MODELS_DATA to the folder that holds "
                    f"them, or use {source.instead}, which needs no download"
                ) from error
            for file in Path(new).rglob("*"):
                place = root / file.relative_to(new)
                if not file.is_dir() and not place.exists():  # what is there may be the user's own
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, place)
    finally:
        socket.setdefaulttimeout(before)


def load(name: str, root: Path) -> Dataset:
    """Read and check the files of a data set.

    Args:
        name: One of `FACTS`.
        root: The folder of its files, if it has any.

    Raises:
        UserError: A file is missing, damaged or of another data set; the message names it.
    """
    if name == "digits":
        return load_digits()
    if name == "mnist5k":
        return load_mnist5k()
    if name == "color_mnist":
        base = "mnist"
        if SOURCES[base].missing(root):
            base = "mnist5k"
            say(f"color_mnist: MNIST is not in {root}: made of the 5,000 images of mnist5k instead")
        return coloured(load(base, root), base)
    source = SOURCES[name]
    if missing := source.missing(root):
        raise UserError(missing)
    official, test = source.read(root)
    splits = hold_out(official, source.validation_size, test)
    return Dataset(splits, FACTS[name].class_names)
