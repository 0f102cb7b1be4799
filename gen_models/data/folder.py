"""A folder of pictures: class folders give labels, a flat folder has none.

Pictures are read once, split by a hash of their names, and kept in the user's cache.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from gen_models.data.cache import Description, cache_place, kept_or_read
from gen_models.data.dataset import Dataset, listed
from gen_models.data.limits import (
    check_channels,
    check_classes,
    check_counts,
    check_size,
    small_classes,
)
from gen_models.data.pictures import ENDINGS, Stack, stack_pictures
from gen_models.data.splits import by_hash, divided
from gen_models.errors import UserError
from gen_models.terminal import Say
from gen_models.terminal import say as on_terminal

MOST_RECORDED = 10_000  # pictures whose names a run keeps
VERSION = 1  # of how pictures are read; with another they are read again
ERRORS = "surrogateescape"  # of names that are no text
OF_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def read_folder(
    root: Path,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    say: Say = on_terminal,
) -> Dataset:
    """Read a folder of PNG, JPEG, WebP and BMP pictures.

    Args:
        root: The folder. Folders in it are read too, those with a hidden name are not.
        size: Height and width, or one number for both: the shorter side of each picture is
            resized and its centre cut out. None: the pictures have one size already.
        channels: 1 for grey, 3 for colour; None: grey if every picture is.
        say: Called with a line for what the user should know.

    Raises:
        UserError: There are no such pictures, too few, or they are of several sizes.
    """
    sides, channels = check_size(size), check_channels(channels)
    place = f"data.root={root}"
    if not root.is_dir():
        what = "a file (data=npz reads an .npz)" if root.exists() else "there is no such folder"
        raise UserError(f"{place}: {what}: choose the folder of the pictures")
    files, closed = _list(root)
    names = sorted({_key(name): name for name in files}.values())
    labelled = _has_classes(place, names)
    options = f"version {VERSION}, size {sides}, channels {channels}"
    listing = [options, *(f"{name} {files[name]}" for name in names), *closed]
    kept_at = cache_place(os.path.realpath(root), options)

    def read(file: IO[bytes]) -> tuple[Description, Tensor | None]:
        say(f"{place}: reading {len(names):,} files")
        order, _ = by_hash([_key(name).encode(errors=ERRORS) for name in names])
        ordered = [names[i] for i in order]
        stack = stack_pictures(file, place, root, ordered, size=sides, channels=channels)
        return _described(place, stack, labelled, closed)

    description, images, labels = kept_or_read(kept_at, _digest(listing), read)
    for line in description["lines"]:
        say(f"{place}: {line}")
    return Dataset(
        divided(images, labels, description["counts"]),
        tuple(description["class_names"]),
        description["digest"],
        description["pictures"],
    )


def _list(root: Path) -> tuple[dict[str, str], list[str]]:
    """The pictures below a folder by their relative names, and what cannot be opened.

    Each folder is read once, and those behind symbolic links last, so that circles end.

    Returns:
        Size and time of each file; and the names of files and folders that cannot be opened.
    """
    files, closed, known = dict[str, str](), list[str](), set[tuple[int, int]]()
    folders, links = [("", str(root))], list[tuple[str, str]]()
    while folders or links:
        prefix, folder = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in known:
                continue
            known.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            closed.append(prefix)
            continue
        for entry in entries:
            name = prefix + entry.name
            try:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append((f"{name}/", entry.path))
                elif name.lower().endswith(ENDINGS) and (entry.is_file() or entry.is_symlink()):
                    status = entry.stat()
                    files[name] = f"{status.st_size} {status.st_mtime_ns} {status.st_mode}"
            except OSError:  # a link that leads nowhere
                closed.append(name)
    return files, closed


def _has_classes(place: str, names: Sequence[str]) -> bool:
    """Whether folders are classes: two or more of them, and no picture outside of them.

    Raises:
        UserError: There are no pictures, or the folders do not say what is a class.
    """
    if not names:
        raise UserError(f"{place}: no picture in it ({', '.join(ENDINGS)}): choose another folder")
    folders = sorted({_class(name) for name in names if "/" in name})
    loose = [name for name in names if "/" not in name]
    if folders and loose:
        raise UserError(
            f"{place}: loose pictures ({listed(loose)}) next to class folders ({listed(folders)}): "
            "move them into a class folder, or all pictures into one folder"
        )
    if len(folders) > 1 and OF_SPLITS.issuperset(map(str.lower, folders)):
        raise UserError(
            f"{place}: its folders ({listed(folders)}) are splits, but the splits are made here: "
            "choose one of them, or merge them"
        )
    check_classes(place, len(folders))
    return len(folders) > 1


def _described(
    place: str, stack: Stack, labelled: bool, closed: list[str]
) -> tuple[Description, Tensor | None]:
    """What is kept of a stack of pictures, with the lines to say at each start; and labels."""
    shape, digests = stack
    pixels = {_key(name): digest.hex() for name, digest in digests.items() if digest is not None}
    unreadable = closed + [name for name, digest in digests.items() if digest is None]
    if not shape:
        raise UserError(
            f"{place}: none of its files can be read ({listed(unreadable)}): choose another folder"
        )
    _, counts = by_hash([name.encode(errors=ERRORS) for name in pixels])
    check_counts(place, counts)
    classes = Counter(map(_class, pixels)) if labelled else Counter[str]()
    number = {name: i for i, name in enumerate(sorted(classes))}
    class_names = [name.encode(errors=ERRORS).decode(errors="replace") for name in number]
    labels = torch.tensor([number[_class(name)] for name in pixels]) if labelled else None
    pixels = dict(sorted(pixels.items()))
    lines = []
    if unreadable:
        total = len(digests) + len(closed)
        lines.append(
            f"left out {len(unreadable):,} of {total:,} files, which cannot be read: "
            f"{listed(unreadable)}"
        )
    if not labelled and "/" in next(iter(pixels)):
        lines.append(
            "all pictures are in one folder, so they have no labels (if it has class folders, name "
            "it in data.root)"
        )
    lines += small_classes(classes)
    return {
        "shape": shape,
        "labelled": labelled,
        "counts": counts,
        "class_names": class_names,
        "digest": _digest([str(shape), *(f"{name} {digest}" for name, digest in pixels.items())]),
        "pictures": pixels if len(pixels) < MOST_RECORDED else {},
        "lines": lines,
    }, labels


def _key(name: str) -> str:
    """A file's name on every system: macOS splits an umlaut in two characters."""
    return unicodedata.normalize("NFC", name)


def _class(name: str) -> str:
    return _key(name).partition("/")[0]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(errors=ERRORS), digest_size=16).hexdigest()
