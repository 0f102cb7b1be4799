"""The data sets: downloaded, read, checked, and split the same way in every run."""

import gzip
import hashlib
import math
import os
import socket
import struct
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from gen_models.data.colour import COLOUR_SOURCES, load_colour
from gen_models.data.dataset import Dataset, Split, hold_out
from gen_models.data.packaged import coloured, load_digits, load_mnist5k
from gen_models.errors import UserError
from gen_models.files import nearest_existing, writing
from gen_models.terminal import Say
from gen_models.terminal import say as on_terminal

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer; torchvision sets none
IMAGE_SIZE = 28  # of MNIST and its kin, pixels both ways
UINT8 = 8  # the code of this type in an idx file's header
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
    instead: str = "data=digits"  # a set without a download

    @property
    def folder(self) -> str:
        """Name of its folder under the root."""
        return self.dataset.__name__

    @property
    def wanted(self) -> str:
        """What the user may put below the root."""
        return f"the four files of {self.folder}/raw"

    def missing(self, root: Path) -> str:
        """The error of a file that is missing; empty if none is."""
        folder, paths = _find(self, root)
        missing = [file for file in FILES if file not in paths]
        return f"there is no {folder / missing[0]}" if missing else ""

    def fetch(self, root: Path, new: str) -> None:
        """Let torchvision download the files to a new folder."""
        self.dataset(new, download=True)


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
PACKAGED = {"digits": load_digits, "mnist5k": load_mnist5k}
DATA_SETS = [*SOURCES, *COLOUR_SOURCES, *PACKAGED, "color_mnist"]


def download(name: str, root: Path) -> None:
    """Download a data set that is not on disk; nothing is left of a download that fails.

    Raises:
        UserError: The download failed; the message names the ways out.
    """
    source = SOURCES.get(name) or COLOUR_SOURCES.get(name)
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


def load(name: str, root: Path, say: Say = on_terminal) -> Dataset:
    """Read and check the files of a data set.

    Args:
        name: One of `DATA_SETS`.
        root: The folder of its files, if it has any.
        say: Called with a line where another data set stands in.

    Raises:
        UserError: A file is missing, damaged or of another data set; the message names it.
    """
    if name in COLOUR_SOURCES:
        return load_colour(name, root)
    if name in PACKAGED:
        return PACKAGED[name]()
    if name == "color_mnist":
        base = "mnist5k" if SOURCES["mnist"].missing(root) else "mnist"
        if base == "mnist5k":
            say(f"color_mnist: MNIST is not in {root}: made of the 5,000 images of mnist5k instead")
        return coloured(load(base, root), base)
    source = SOURCES[name]
    if missing := source.missing(root):
        raise UserError(missing)
    _, paths = _find(source, root)
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
    train, validation = hold_out(official, source.validation_size)
    return Dataset({"train": train, "validation": validation, "test": test})


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

    The files of all these sets have the same names, so that folder must have the set's name, unless
    its content proves which one it is.
    """
    own, whole = root / source.folder, root.absolute()
    folders = [own / "raw", own]
    if source.md5 or source.folder in (whole.name, whole.parent.name):
        folders += [root / "raw", root]
    return folders


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
