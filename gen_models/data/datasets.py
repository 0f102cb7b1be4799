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
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from itertools import islice
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
from gen_models.terminal import say as on_terminal

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

    def fetch(self, new: str) -> None:
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

Fetch = Callable[[str], object]  # downloads a data set to a new folder


def download(name: str, root: Path) -> None:
    """Download a data set that is not on disk; nothing is left of a download that fails.

    Raises:
        UserError: The download failed; the message names the ways out.
    """
    if source := SOURCES.get(name):
        folder, paths = _find(source, root)
        if len(paths) < len(FILES):
            where = f"{source.folder}/raw"
            remedy = (
                f"put its four files in {root / where}, or set GEN_MODELS_DATA to the folder that "
                f"holds {where}, or use data=digits, which needs no download"
            )
            _download(name, root, source.fetch, _missing(root, folder, paths), remedy)
    elif (colour := COLOUR_SOURCES.get(name)) and (missing := colour.missing(root)):
        files = " and ".join(colour.downloads)
        remedy = (
            f"put {files} in {root}, or set GEN_MODELS_DATA to the folder that holds {files}, or "
            "use data=color_mnist, which needs no download"
        )
        _download(name, root, partial(colour.fetch, root), missing, remedy)


def _download(name: str, root: Path, fetch: Fetch, missing: str, remedy: str) -> None:
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
                fetch(new)
            except (OSError, RuntimeError) as error:  # URLError is an OSError
                reason = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"{name}: {missing}, and it could not be downloaded ({reason}): {remedy}"
                ) from error
            for file in Path(new).rglob("*"):
                place = root / file.relative_to(new)
                if not file.is_dir() and not place.exists():  # what is there may be the user's own
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, place)
    finally:
        socket.setdefaulttimeout(before)


def load(name: str, root: Path, say: Callable[[str], None] = on_terminal) -> Dataset:
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
        base = "mnist" if len(_find(SOURCES["mnist"], root)[1]) == len(FILES) else "mnist5k"
        if base == "mnist5k":
            say(f"color_mnist: MNIST is not in {root}: made of the 5,000 images of mnist5k instead")
        return coloured(load(base, root), base)
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
