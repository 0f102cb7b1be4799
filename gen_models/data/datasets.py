"""The data sets: downloaded, read, checked, and split the same way in every run."""

import difflib
import gzip
import hashlib
import math
import os
import socket
import struct
import tempfile
import zlib
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from gen_models.data.dataset import Dataset, Split
from gen_models.errors import UserError
from gen_models.files import nearest_existing, writing
from gen_models.seeding import generator

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none
IMAGE_SIZE = 28  # of MNIST and its kin, pixels both ways
UINT8 = 8  # the code of this type in an idx file's header
MOST_NAMES = 1000  # of a folder, compared with the name of a missing file
TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FILES = TRAIN_FILES + TEST_FILES


class Source(NamedTuple):
    """A data set in torchvision's layout: `<root>/<folder>/raw/<file>`, idx files or .gz.

    Where the MD5 of the uncompressed files is not known, an archive is read in preference to the
    file that was unpacked from it, since torchvision knows the archive's MD5.
    """

    dataset: type[MNIST]
    md5: dict[str, str]  # of the uncompressed files; {} if not known
    train_size: int = 60_000
    validation_size: int = 5000  # of the training images
    test_size: int = 10_000

    @property
    def folder(self) -> str:
        """Name of its folder under the root."""
        return self.dataset.__name__


SOURCES = {
    "mnist": Source(
        MNIST,
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fashion_mnist": Source(FashionMNIST, {}),
    "kmnist": Source(KMNIST, {}),
}
DIGITS_SIZES = {"train": 1297, "validation": 200, "test": 300}
DATA_SETS = [*SOURCES, "digits"]


def download(name: str, root: Path) -> None:
    """Download a data set that is not on disk; nothing is left of a download that fails.

    Raises:
        UserError: The download failed; the message names the ways out.
    """
    source = SOURCES.get(name)
    if source is None:
        return
    folder, paths = _find(source, root)
    if len(paths) == len(FILES):
        return
    raw, missing = root / source.folder / "raw", _missing(root, folder, paths)
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
                source.dataset(new, download=True)
            except (OSError, RuntimeError) as error:  # URLError is an OSError
                reason = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"{name}: {missing}, and it could not be downloaded ({reason}): put its four "
                    f"files in {raw}, or set GEN_MODELS_DATA to the folder that holds "
                    f"{source.folder}/raw, or use data=digits, which needs no download"
                ) from error
            raw.mkdir(parents=True, exist_ok=True)
            for file in Path(new, source.folder, "raw").iterdir():
                if not (raw / file.name).exists():  # what is there may be the user's own
                    os.replace(file, raw / file.name)
    finally:
        socket.setdefaulttimeout(before)


def load(name: str, root: Path) -> Dataset:
    """Read and check the files of a data set.

    Raises:
        UserError: A file is missing, damaged or of another data set; the message names it.
    """
    if name not in SOURCES:
        return _load_digits()
    source = SOURCES[name]
    folder, paths = _find(source, root)
    if len(paths) < len(FILES):
        raise UserError(_missing(root, folder, paths))
    official, test = (
        Split(
            _read_idx(source, paths[images], n, IMAGE_SIZE, IMAGE_SIZE).unsqueeze(1),
            _read_idx(source, paths[labels], n).long(),
        )
        for (images, labels), n in (
            (TRAIN_FILES, source.train_size),
            (TEST_FILES, source.test_size),
        )
    )
    order = _fixed_permutation("validation", source.train_size)
    held_out, kept = order[: source.validation_size], order[source.validation_size :]
    train, validation = (official.take(rows) for rows in (kept, held_out))
    return Dataset({"train": train, "validation": validation, "test": test})


def _load_digits() -> Dataset:
    """Scikit-learn's 1,797 digits, 8x8 with 17 grey levels, enlarged bilinearly to 28x28."""
    raw = load_digits()
    small = torch.from_numpy(raw.images).float().div(16).unsqueeze(1)  # (n, 1, 8, 8) in [0, 1]
    large = F.interpolate(small, size=IMAGE_SIZE, mode="bilinear", align_corners=False)
    images = large.mul(255).round().to(torch.uint8)
    digits = Split(images, torch.from_numpy(raw.target))
    parts = _fixed_permutation("digits", len(images)).split(list(DIGITS_SIZES.values()))
    splits = {name: digits.take(part) for name, part in zip(DIGITS_SIZES, parts, strict=True)}
    return Dataset(splits)


def _fixed_permutation(purpose: str, n: int) -> Tensor:
    """A permutation of n that is the same in every run, whatever its seed."""
    return torch.randperm(n, generator=generator("split", purpose))


def _find(source: Source, root: Path) -> tuple[Path, dict[str, Path]]:
    """The folder with most of the four files, and where they are, by their names in `FILES`.

    A file has our name or the original site's (with a dot), and may be compressed.
    """
    endings = ("", ".gz") if source.md5 else (".gz", "")
    files: dict[Path, dict[str, Path]] = {}
    for folder in _folders(source, root):
        files[folder] = {}
        for file in FILES:
            for name in (f"{n}{e}" for e in endings for n in (file, file.replace("-idx", ".idx"))):
                if os.path.isfile(folder / name):
                    files[folder].setdefault(file, folder / name)
    folder = max(files, key=lambda each: len(files[each]))
    return folder, files[folder]


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


def _missing(root: Path, folder: Path, present: Collection[str]) -> str:
    """The error of a file that is missing, with the file of the nearest name, if any."""
    file = next(file for file in FILES if file not in present)
    levels = ("*", "*/*", "*/*/*")
    near = [
        p for level in levels for p in islice(root.glob(level), MOST_NAMES) if os.path.isfile(p)
    ]
    near = [path for path in near if path.parent != folder or path.name not in FILES]
    names = difflib.get_close_matches(file, [path.name for path in near], n=1)
    nearest = next((f" (the nearest is {path})" for path in near if path.name in names), "")
    return f"there is no {folder / file}{nearest}"


def _read_idx(source: Source, path: Path, *shape: int) -> Tensor:
    """The uint8 content of a file; by its MD5 the published one, as far as an MD5 is known."""
    remedy = f"put the published file there, or move it elsewhere and {source.folder} is downloaded"
    try:
        published = path.read_bytes()
        content = gzip.decompress(published) if path.suffix == ".gz" else published
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise UserError(f"{path}: cannot be read ({reason}): {remedy}") from error
    header = bytes([0, 0, UINT8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    if not content.startswith(header) or len(content) != len(header) + math.prod(shape):
        expected = " x ".join(f"{size:,}" for size in shape)
        raise UserError(f"{path}: not a whole idx file of {expected} bytes: {remedy}")
    name = path.name.replace(".idx", "-idx")
    md5, checked = source.md5.get(name.removesuffix(".gz")), content
    if md5 is None:
        known = {Path(url).name: md5 for url, md5 in source.dataset.resources}
        md5, checked = known.get(name), published
    if md5 and hashlib.md5(checked, usedforsecurity=False).hexdigest() != md5:
        raise UserError(f"{path}: its content is not the published one: {remedy}")
    tensor = torch.frombuffer(bytearray(content[len(header) :]), dtype=torch.uint8).view(shape)
    if len(shape) == 1 and tensor.max() > 9:
        raise UserError(f"{path}: holds a label of {tensor.max()}, expected 0 to 9: {remedy}")
    return tensor
