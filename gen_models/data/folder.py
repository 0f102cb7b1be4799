"""A folder of pictures: class folders give labels, a flat folder has none.

Pictures are read once, split by a hash of their names, and kept in the user's cache.
"""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from mimetypes import guess_type
from pathlib import Path
from typing import IO

import torch

from gen_models.data.cache import Description, kept_or_read
from gen_models.data.dataset import Dataset, by_hash, check_classes, listed, own_dataset
from gen_models.data.pictures import ENDINGS, Size, stack_pictures
from gen_models.errors import UserError
from gen_models.terminal import counted, say

MOST_RECORDED = 10_000  # pictures whose names a run keeps
VERSION = 1  # of how pictures are read; with another they are read again
ERRORS = "surrogateescape"  # of names that are no text
OF_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def read_folder(root: Path, size: Size = None, channels: int | None = None) -> Dataset:
    """Read a folder of PNG, JPEG, WebP and BMP pictures.

    Args:
        root: The folder. Folders in it are read too, those with a hidden name are not.
        size: Height and width: the shorter side of each picture is resized and its centre cut out.
            None: the pictures have one size already.
        channels: 1 for grey, 3 for colour; None: grey if every picture is.

    Raises:
        UserError: There are no such pictures, too few, or they are of several sizes.
    """
    place = f"data.root={root}"
    if not root.is_dir():
        what = "a file (data=npz reads an .npz)" if root.exists() else "there is no such folder"
        raise UserError(f"{place}: {what}: choose the folder of the pictures")
    files, closed, others = _list(root)
    if others:
        kind = f"{counted(len(others), 'picture')} of other formats ({listed(others)})"
        say(f"{place}: left out {kind}: PNG, JPEG, WebP and BMP are read")
    names = sorted({_key(name): name for name in files}.values())
    labelled = _has_classes(place, names)
    options = f"version {VERSION}, size {size}, channels {channels}"
    listing = [options, *(f"{name} {files[name]}" for name in names), *closed]

    def read(file: IO[bytes]) -> Description:
        say(f"{place}: reading {len(names):,} files")
        order, _ = by_hash([_key(name).encode(errors=ERRORS) for name in names])
        ordered = [names[i] for i in order]
        shape, digests = stack_pictures(file, place, root, ordered, size=size, channels=channels)
        return _describe(place, shape, digests | dict.fromkeys(closed), labelled)

    kept, images = kept_or_read((os.path.realpath(root), options), _digest(listing), read)
    for line in kept["lines"]:
        say(f"{place}: {line}")
    labels = torch.tensor(kept["labels"]) if labelled else None
    facts = {key: kept[key] for key in ("counts", "class_names", "digest", "pictures")}
    return own_dataset(place, images, labels, **facts)


def _list(root: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """The pictures below a folder by their relative names, and what is left out.

    Each folder is read once, and those behind symbolic links last, so that circles end.

    Returns:
        Size and time of each file; the names of files and folders that cannot be opened; and those
        of pictures of other formats.
    """
    files, closed, others = dict[str, str](), list[str](), list[str]()
    known, tops = set[str](), [str(root)]

    def relative(path: str) -> str:
        return path.removeprefix(os.path.join(root, "")).replace(os.sep, "/")

    def leave_out(error: OSError) -> None:
        closed.append(relative(error.filename))

    for top in tops:  # links are appended
        for folder, folders, names in os.walk(top, onerror=leave_out):
            whole = os.path.realpath(folder)
            if whole in known:
                folders.clear()
                continue
            known.add(whole)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            tops += filter(os.path.islink, (os.path.join(folder, name) for name in folders))
            for name in sorted(name for name in names if not name.startswith(".")):
                path = os.path.join(folder, name)
                if not name.lower().endswith(ENDINGS):
                    if (guess_type(name)[0] or "").startswith("image/"):
                        others.append(relative(path))
                    continue
                try:
                    status = os.stat(path)
                except OSError as error:  # a link that leads nowhere
                    leave_out(error)
                    continue
                if stat.S_ISREG(status.st_mode):
                    facts = status.st_size, status.st_mtime_ns, status.st_mode
                    files[relative(path)] = " ".join(map(str, facts))
    return files, closed, others


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


def _describe(
    place: str, shape: list[int], digests: Mapping[str, str | None], labelled: bool
) -> Description:
    """What is kept with the images, with the lines to say at each start."""
    pixels = {_key(name): digest for name, digest in digests.items() if digest is not None}
    unreadable = [name for name, digest in digests.items() if digest is None]
    if not shape:
        raise UserError(
            f"{place}: none of its files can be read ({listed(unreadable)}): choose another folder"
        )
    lines = []
    if unreadable:
        lines.append(
            f"left out {len(unreadable):,} of {len(digests):,} files, which cannot be read: "
            f"{listed(unreadable)}"
        )
    if not labelled and "/" in next(iter(pixels)):
        lines.append(
            "all pictures are in one folder, so they have no labels (if it has class folders, name "
            "it in data.root)"
        )
    classes = sorted({_class(name) for name in pixels}) if labelled else []
    number = {name: i for i, name in enumerate(classes)}
    digest = _digest([str(shape), *(f"{name} {pixels[name]}" for name in sorted(pixels))])
    return {
        "shape": shape,
        "labels": [number[_class(name)] for name in pixels] if labelled else None,
        "counts": by_hash([name.encode(errors=ERRORS) for name in pixels])[1],
        "class_names": [name.encode(errors=ERRORS).decode(errors="replace") for name in classes],
        "digest": digest,
        "pictures": dict(sorted(pixels.items())) if len(pixels) < MOST_RECORDED else {},
        "lines": lines,
    }


def _key(name: str) -> str:
    """A file's name on every system: macOS splits an umlaut in two characters."""
    return unicodedata.normalize("NFC", name)


def _class(name: str) -> str:
    return _key(name).partition("/")[0]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(errors=ERRORS), digest_size=16).hexdigest()
