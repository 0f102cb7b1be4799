"""The data sets: downloaded, read, checked, and split the same way in every run."""

import difflib
import gzip
import hashlib
import math
import os
import socket
import tempfile
import zlib
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from gen_models.data.loader import IMAGE_SIZE
from gen_models.errors import UserError
from gen_models.seeding import generator


class Split(NamedTuple):
    """Images, (n, 1, 28, 28) uint8, and their labels, (n,) int64."""

    images: Tensor
    labels: Tensor


DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none
UINT8 = 8  # as an idx file's header says it
LOOKED_AT = 1000  # entries of a folder, for the name nearest to one that is missing
FILES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


class Source(NamedTuple):
    """A data set in torchvision's layout: `<root>/<folder>/raw/<file>`, idx files or .gz."""

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
    """Download a data set that is not on disk; nothing is left of a download that fails.

    Raises:
        UserError: That failed; the message names the ways out.
    """
    if name in SOURCES and not _find(SOURCES[name], root):
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
    paths = _find(source, root)
    if not paths:
        raise UserError(_missing(source, root))
    train, test = (
        Split(
            _read_idx(source, paths[f"{part}-images-idx3-ubyte"], n, dims=3).unsqueeze(1),
            _read_idx(source, paths[f"{part}-labels-idx1-ubyte"], n, dims=1).long(),
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


def _find(source: Source, root: Path) -> dict[str, Path] | None:
    """The four files, by their names in `FILES`, in the first folder that has them all."""
    for folder in _folders(source, root):
        found = {file: _file(folder, file) for file in FILES}
        if all(found.values()):
            return {file: path for file, path in found.items() if path}
    return None


def _folders(source: Source, root: Path) -> list[Path]:
    """Where the files may lie: torchvision's place first; the data set's own folder as `root` too.

    The files of all these sets have the same names, so a folder must have the set's name, unless
    its content proves which one it is.
    """
    parents, root = [root / source.folder], root.absolute()
    with suppress(OSError):
        parents += sorted(path for path in root.iterdir() if path.is_dir())
    parents += [root, root.parent] if root.name == "raw" else [root]
    named = [folder for folder in parents if _letters(folder.name) == _letters(source.folder)]
    if source.md5:
        named += [root]
    return [folder for parent in dict.fromkeys(named) for folder in (parent / "raw", parent)]


def _letters(name: str) -> str:
    """The name of a folder in any writing: FashionMNIST, fashion-mnist, fashion_mnist."""
    return "".join(filter(str.isalnum, name)).lower()


def _file(folder: Path, file: str) -> Path | None:
    """A file by our name or by the original site's (with a dot), as it is or compressed."""
    names = [file, file.replace("-idx", ".idx")]
    paths = [folder / f"{name}{ending}" for ending in ("", ".gz") for name in names]
    return next((path for path in paths if os.path.isfile(path)), None)


def _missing(source: Source, root: Path) -> str:
    """Which file is not there, and the nearest one that is."""
    first, *others = _folders(source, root)
    folder = max([first, *others], key=lambda each: sum(bool(_file(each, f)) for f in FILES))
    file = next(file for file in FILES if not _file(folder, file))
    levels = ("*", "*/*", "*/*/*")
    near = [p for level in levels for p in islice(root.glob(level), LOOKED_AT) if os.path.isfile(p)]
    near = [path for path in near if path.parent != folder or path.name not in FILES]
    names = difflib.get_close_matches(file, [path.name for path in near], n=1)
    nearest = next((f" (the nearest is {path})" for path in near if path.name in names), "")
    return f"there is no {folder / file}{nearest}"


def _read_idx(source: Source, path: Path, n: int, *, dims: int) -> Tensor:
    """One file, checked: images (n, 28, 28) or labels (n,), uint8."""
    remedy = f"put the published file there, or move it elsewhere and {source.folder} is downloaded"
    try:
        published = path.read_bytes()
        content = gzip.decompress(published) if path.suffix == ".gz" else published
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise UserError(f"{path}: cannot be read ({reason}): {remedy}") from error
    kind = "images" if dims == 3 else "labels"
    shape = [int.from_bytes(content[4 * k : 4 * k + 4], "big") for k in range(1, dims + 1)]
    header = 4 + 4 * dims  # bytes
    if content[:4] != bytes([0, 0, UINT8, dims]) or len(content) != header + math.prod(shape):
        raise UserError(f"{path}: not a whole idx file of {kind}: {remedy}")
    expected = [n, IMAGE_SIZE, IMAGE_SIZE][:dims]
    if shape != expected:
        raise UserError(f"{path}: holds {_times(shape)}, expected {_times(expected)}: {remedy}")
    if not _is_published(source, path, published, content):
        raise UserError(f"{path}: its content is not the published one: {remedy}")
    tensor = torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8).view(shape)
    if kind == "labels" and tensor.max() > 9:
        raise UserError(f"{path}: holds a label of {tensor.max()}, expected 0 to 9: {remedy}")
    return tensor


def _is_published(source: Source, path: Path, published: bytes, content: bytes) -> bool:
    """Whether a file is the published one, as far as that is known.

    By the MD5 of the content; for a data set that publishes only the MD5 of its .gz files, by that
    or by the CRC32 at the end of the .gz that torchvision's download leaves next to the file.
    """
    name = path.name.removesuffix(".gz").replace(".idx", "-idx")
    if name in source.md5:
        return _md5(content) == source.md5[name]
    if path.suffix != ".gz":
        archive = path.with_name(f"{path.name}.gz")
        if not archive.is_file():
            return True
        published = archive.read_bytes()
    crc32 = int.from_bytes(published[-8:-4], "little")  # RFC 1952, section 2.3.1
    known = {Path(url).name: md5 for url, md5 in source.dataset.resources}
    return _md5(published) == known[f"{name}.gz"] and crc32 == zlib.crc32(content)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _times(sizes: list[int]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)


def _download(source: Source, root: Path, name: str) -> None:
    raw = root / source.folder / "raw"
    there = next(path for path in (root, *root.absolute().parents) if os.path.exists(path))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=there) as folder:
            try:
                source.dataset(folder, download=True)
            except (OSError, RuntimeError) as error:  # URLError is an OSError
                reason = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"{name}: {_missing(source, root)}, and it could not be downloaded ({reason}): "
                    f"put its four files in {raw}, or set GEN_MODELS_DATA to the folder that holds "
                    f"{source.folder}/raw, or use data=digits, which needs no download"
                ) from error
            raw.mkdir(parents=True, exist_ok=True)
            for file in Path(folder, source.folder, "raw").iterdir():
                if not (raw / file.name).exists():  # what is there may be the user's own
                    os.replace(file, raw / file.name)
    except OSError as error:
        raise UserError(
            f"data.root={root}: {_missing(source, root)}, and a download cannot be written "
            f"({error.strerror}): choose another folder by data.root=FOLDER or GEN_MODELS_DATA"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
