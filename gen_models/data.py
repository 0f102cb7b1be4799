"""The data sets, in memory as one uint8 tensor each, and the data module that both models share.

A batch is one indexing operation. Images reach the models as float (batch, 1, 28, 28) in [0, 1];
nothing else in the project sets a pixel range.
"""

import hashlib
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision import datasets

from gen_models.checks import check_whole
from gen_models.errors import UserError
from gen_models.layers import IMAGE_SIZE
from gen_models.seeding import generator

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none


class Source(NamedTuple):
    """A data set in torchvision's layout: `<root>/<folder>/raw/<file>`, uncompressed idx files."""

    dataset: type[datasets.MNIST]
    train_size: int
    test_size: int
    md5: dict[str, str]  # of the uncompressed files, where known
    validation_size: int = 5000

    @property
    def folder(self) -> str:
        """Name of its folder under the root."""
        return self.dataset.__name__


SOURCES = {
    "mnist": Source(
        datasets.MNIST,
        60_000,
        10_000,
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fashion_mnist": Source(datasets.FashionMNIST, 60_000, 10_000, {}),
    "kmnist": Source(datasets.KMNIST, 60_000, 10_000, {}),
}
DIGITS_SIZES = {"train": 1297, "validation": 200, "test": 300}
DATA_SETS = [*SOURCES, "digits"]


class Split(NamedTuple):
    """Images, (n, 1, 28, 28) uint8, and their labels, (n,) int64."""

    images: Tensor
    labels: Tensor


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
        if self.name in SOURCES:
            _download(SOURCES[self.name], self.root, self.name)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the files, and split them.

        Raises:
            UserError: A file is missing, corrupt or another one; the message names it.
        """
        if self.splits:
            return
        source = SOURCES.get(self.name)
        splits = _load_digits() if source is None else _load_idx(source, self.root)
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


def _load_digits() -> dict[str, Split]:
    """Scikit-learn's 1,797 digits, 8x8 with 17 grey levels, enlarged bilinearly to 28x28."""
    digits = load_digits()
    small = torch.from_numpy(digits.images).float().div(16).unsqueeze(1)  # (n, 1, 8, 8) in [0, 1]
    large = F.interpolate(small, size=IMAGE_SIZE, mode="bilinear", align_corners=False)
    images = large.mul(255).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target)
    parts = _fixed_permutation("digits", len(images)).split(list(DIGITS_SIZES.values()))
    return {
        name: Split(images[part], labels[part])
        for name, part in zip(DIGITS_SIZES, parts, strict=True)
    }


def _load_idx(source: Source, root: Path) -> dict[str, Split]:
    read = {
        (part, kind): _read_idx(source, root, f"{part}-{kind}")
        for part in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    }
    train, test = (
        Split(read[part, "images-idx3-ubyte"].unsqueeze(1), read[part, "labels-idx1-ubyte"].long())
        for part in ("train", "t10k")
    )
    order = _fixed_permutation("validation", len(train.images))
    held_out, kept = order[: source.validation_size], order[source.validation_size :]
    return {
        "train": Split(train.images[kept], train.labels[kept]),
        "validation": Split(train.images[held_out], train.labels[held_out]),
        "test": test,
    }


def _fixed_permutation(purpose: str, n: int) -> Tensor:
    """The same in every run, whatever its seed."""
    return torch.randperm(n, generator=generator("split", purpose))


def _read_idx(source: Source, root: Path, file: str) -> Tensor:
    """One idx file as a uint8 tensor, checked: magic number, sizes, length, MD5 where known.

    Format: http://yann.lecun.com/exdb/mnist, "FILE FORMATS FOR THE MNIST DATABASE".
    """
    path = root / source.folder / "raw" / file
    remedy = "delete it, and it is downloaded anew"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    n = source.train_size if file.startswith("train") else source.test_size
    shape = [n, IMAGE_SIZE, IMAGE_SIZE] if "images" in file else [n]
    header = 4 + 4 * len(shape)
    magic = 0x0800 + len(shape)  # unsigned bytes, so many dimensions
    if len(content) < header or struct.unpack(">I", content[:4])[0] != magic:
        raise UserError(f"{path}: not an idx file of {len(shape)} dimensions: {remedy}")
    found = list(struct.unpack(f">{len(shape)}I", content[4:header]))
    if found != shape:
        raise UserError(f"{path}: holds {_times(found)}, expected {_times(shape)}: {remedy}")
    if len(content) != header + int(np.prod(shape)):
        raise UserError(
            f"{path}: {len(content):,} bytes long, expected {header + int(np.prod(shape)):,}:"
            f" {remedy}"
        )
    if not _is_published(content, source, path):
        raise UserError(f"{path}: its content is not the published one: {remedy}")
    pixels = np.frombuffer(content, dtype=np.uint8, offset=header)
    return torch.from_numpy(pixels.copy()).view(shape)


def _is_published(content: bytes, source: Source, path: Path) -> bool:
    """Whether an idx file is the published one, as far as that is known.

    By the MD5 of the file itself; for a data set that publishes only the MD5 of its .gz files, by
    the CRC32 at the end of the .gz that torchvision's download leaves beside it.
    """
    if path.name in source.md5:
        return _md5(content) == source.md5[path.name]
    archive = path.with_name(path.name + ".gz")
    if not archive.is_file():
        return True
    compressed = archive.read_bytes()
    published = dict(source.dataset.resources)[archive.name]
    crc32, _ = struct.unpack("<II", compressed[-8:])  # RFC 1952, section 2.3.1
    return _md5(compressed) == published and crc32 == zlib.crc32(content)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _times(sizes: list[int]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)


def _download(source: Source, root: Path, name: str) -> None:
    raw = root / source.folder / "raw"
    if all((raw / _file(url)).is_file() for url, _ in source.dataset.resources):
        return
    try:
        raw.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"data.root={root}: cannot be written ({error.strerror}): choose another folder by "
            "data.root=FOLDER or GEN_MODELS_DATA"
        ) from error
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        source.dataset(root, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"{name} is not in {root} and could not be downloaded ({reason}): put its idx files in "
            f"{raw}, or set GEN_MODELS_DATA to the folder that holds {source.folder}/raw, or use "
            "data=digits, which needs no download"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _file(url: str) -> str:
    return Path(url).stem  # without .gz
