"""The data sets: downloaded, read, checked, and split the same way in every run."""

import socket
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file
from torchvision.datasets.utils import check_integrity

from gen_models.data.loader import IMAGE_SIZE
from gen_models.errors import UserError
from gen_models.seeding import generator


class Split(NamedTuple):
    """Images, (n, 1, 28, 28) uint8, and their labels, (n,) int64."""

    images: Tensor
    labels: Tensor


DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none
# What torchvision's reader raises of a file's bytes: a foreign header, too few values or too many.
UNREADABLE = (AssertionError, LookupError, TypeError, ValueError, RuntimeError)


class Source(NamedTuple):
    """A data set in torchvision's layout: `<root>/<folder>/raw/<file>`, uncompressed idx files."""

    dataset: type[MNIST]
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
        MNIST,
        60_000,
        10_000,
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fashion_mnist": Source(FashionMNIST, 60_000, 10_000, {}),
    "kmnist": Source(KMNIST, 60_000, 10_000, {}),
}
DIGITS_SIZES = {"train": 1297, "validation": 200, "test": 300}
DATA_SETS = [*SOURCES, "digits"]


def download(name: str, root: Path) -> None:
    """Download what of a data set is not on disk.

    Raises:
        UserError: That failed; the message names the ways out.
    """
    if name in SOURCES:
        _download(SOURCES[name], root, name)


def load(name: str, root: Path) -> dict[str, Split]:
    """Read and check the files of a data set: "train", "validation" and "test".

    Raises:
        UserError: A file is missing, corrupt or another one; the message names it.
    """
    return _load_idx(SOURCES[name], root) if name in SOURCES else _load_digits()


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
    train, test = (
        Split(
            _read_idx(source, root, f"{part}-images-idx3-ubyte", n).unsqueeze(1),
            _read_idx(source, root, f"{part}-labels-idx1-ubyte", n),
        )
        for part, n in (("train", source.train_size), ("t10k", source.test_size))
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


def _read_idx(source: Source, root: Path, file: str, n: int) -> Tensor:
    """One file by torchvision's reader, checked: images (n, 28, 28) uint8 or labels (n,) int64."""
    path = root / source.folder / "raw" / file
    remedy = "delete it, and it is downloaded anew"
    kind, read, shape = (
        ("images", read_image_file, [n, IMAGE_SIZE, IMAGE_SIZE])
        if "images" in file
        else ("labels", read_label_file, [n])
    )
    try:
        content: Tensor = read(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a whole idx file of {kind}: {remedy}") from error
    found = list(content.shape)
    if found != shape:
        raise UserError(f"{path}: holds {_times(found)}, expected {_times(shape)}: {remedy}")
    if not _is_published(path, source):
        raise UserError(f"{path}: its content is not the published one: {remedy}")
    if kind == "labels" and content.max() > 9:
        raise UserError(f"{path}: holds a label of {content.max()}, expected 0 to 9: {remedy}")
    return content


def _is_published(path: Path, source: Source) -> bool:
    """Whether an idx file is the published one, as far as that is known.

    By the MD5 of the file itself; for a data set that publishes only the MD5 of its .gz files, by
    the CRC32 at the end of the .gz that torchvision's download leaves next to it.
    """
    archive = path.with_name(path.name + ".gz")
    if path.name in source.md5 or not archive.is_file():
        published: bool = check_integrity(path, source.md5.get(path.name))
        return published
    if not check_integrity(archive, dict(source.dataset.resources)[archive.name]):
        return False
    crc32 = int.from_bytes(archive.read_bytes()[-8:-4], "little")  # RFC 1952, section 2.3.1
    return crc32 == zlib.crc32(path.read_bytes())


def _times(sizes: list[int]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)


def _download(source: Source, root: Path, name: str) -> None:
    raw = root / source.folder / "raw"
    if all((raw / Path(url).stem).is_file() for url, _ in source.dataset.resources):
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
