"""A data set as the models see it: images of one shape, in three parts, with labels or without.

A published set is split the same way in every run; one's own images by a hash of their names.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models.errors import UserError
from gen_models.seeding import generator
from gen_models.terminal import say

LEAST = 6  # images of each part: an image and its five nearest, for `coverage`
MOST_CLASSES = 1000
FEW = 10  # images of a class that are too few to learn from
MOST_NAMED = 5  # names in one line


class Split(NamedTuple):
    """A part of a data set."""

    images: Tensor  # (n, c, h, w) uint8
    labels: Tensor | None  # (n,) int64; None where the data set has none

    def take(self, rows: Tensor | slice) -> "Split":
        """Some of the images, with their labels."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])


class Dataset(NamedTuple):
    """The parts "train", "validation" and "test", and what the images have in common."""

    splits: dict[str, Split]
    class_names: tuple[str, ...] = tuple("0123456789")  # () without labels
    digest: str = ""  # of the images; "" for a published set, whose name says which they are
    pictures: dict[str, str] | None = None  # a digest of each file, by its name; None: unknown

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.splits["train"].images.shape[1:]
        return channels, height, width

    def record(self) -> dict[str, Any]:
        """What a run keeps of its images, to tell later whether they are still the same."""
        counts = torch.zeros(len(self.class_names), dtype=torch.int64)
        for _, labels in self.splits.values():
            if labels is not None:
                counts += torch.bincount(labels, minlength=len(counts))
        return {
            "digest": self.digest,
            "image_shape": list(self.image_shape),
            "images": sum(len(split.images) for split in self.splits.values()),
            "classes": dict(zip(self.class_names, counts.tolist(), strict=True)),
            "pictures": self.pictures or {},
        }


def fixed_permutation(purpose: str, n: int) -> Tensor:
    """A permutation of n that is the same in every run, whatever its seed."""
    return torch.randperm(n, generator=generator("split", purpose))


def hold_out(official: Split, count: int, test: Split) -> dict[str, Split]:
    """The parts of a published set: `count` of its training images are for validation."""
    order = fixed_permutation("validation", len(official.images))
    train, validation = official.take(order[count:]), official.take(order[:count])
    return {"train": train, "validation": validation, "test": test}


def by_hash(names: Sequence[bytes]) -> tuple[list[int], dict[str, int]]:
    """Split by a hash of each name alone, so that a new name moves no other: about 80, 10, 10 %.

    Returns:
        The indices of the names, split after split and in the order of the hash within each; and
        the number of names in each split.
    """
    hashes = [hashlib.blake2b(name, digest_size=8).digest() for name in names]
    order = sorted(range(len(names)), key=lambda i: (hashes[i], names[i]))
    values = [int.from_bytes(hashes[i], "big") / 2**64 for i in order]
    first, second = (bisect_left(values, limit) for limit in (0.8, 0.9))
    counts = {"train": first, "validation": second - first, "test": len(names) - second}
    return order, counts


def in_parts(whole: Split, counts: Mapping[str, int]) -> dict[str, Split]:
    """The splits of images that lie one split after the other; nothing is copied."""
    splits, begin = {}, 0
    for name, count in counts.items():
        splits[name] = whole.take(slice(begin, begin + count))
        begin += count
    return splits


def check_classes(place: str, count: int) -> None:
    """Refuse more classes than the models take.

    Raises:
        UserError: There are more than `MOST_CLASSES`.
    """
    if count > MOST_CLASSES:
        raise UserError(
            f"{place}: {count:,} classes, but at most {MOST_CLASSES:,} can be used: leave some out"
        )


def own_dataset(
    place: str,
    images: Tensor,
    labels: Tensor | None,
    *,
    counts: Mapping[str, int],
    class_names: Sequence[str],
    digest: str,
    pictures: dict[str, str] | None = None,
) -> Dataset:
    """The user's own images, `counts` of them in each split, one split after the other.

    `place` is the option that names them, `data.root=PICTURES`; the rest is as in a `Dataset`.

    Raises:
        UserError: A split is too small to be measured, or all images are the same.
    """
    split, count = min(counts.items(), key=lambda item: item[1])
    if count < LEAST:
        leave = "1 image leaves" if len(images) == 1 else f"{len(images):,} images leave"
        raise UserError(
            f"{place}: its {leave} {count} for {split}, but a model's metrics need {LEAST} or "
            "more: add images (with 150 or more in all, each split has enough)"
        )
    first = images[:1000]  # of many
    if bool((first == first[0]).all()):
        raise UserError(f"{place}: its images are all the same: there is nothing to learn")
    splits = in_parts(Split(images, labels), counts)
    dataset = Dataset(splits, tuple(class_names), digest, pictures)
    few = [f"{name} ({n})" for name, n in dataset.record()["classes"].items() if n < FEW]
    if few:
        say(f"{place}: fewer than {FEW} images in a class say little of it: {listed(few)}")
    return dataset


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What changed between two records, in one line; empty if nothing did.

    Args:
        before: A `Dataset.record()`.
        after: The record of a later start.
    """
    if before["digest"] == after["digest"]:
        return ""
    parts, same_shape = [], before["image_shape"] == after["image_shape"]
    if not same_shape:
        shapes = ("x".join(map(str, record["image_shape"])) for record in (before, after))
        parts.append("images of {}, now {} (channels x height x width)".format(*shapes))
    old, new = before["pictures"], after["pictures"]
    if old and new:
        both = old.keys() & new.keys()
        for what, names in {
            "fewer": old.keys() - new.keys(),
            "more": new.keys() - old.keys(),
            "changed": {name for name in both if same_shape and old[name] != new[name]},
        }.items():
            if names:
                pictures = "picture" if len(names) == 1 else "pictures"
                parts.append(f"{len(names):,} {pictures} {what}: {listed(sorted(names))}")
    else:
        counts = [("images", before["images"], after["images"])]
        counts += [
            (f"of {name}", before["classes"].get(name, 0), after["classes"].get(name, 0))
            for name in {**before["classes"], **after["classes"]}
        ]
        different = [f"{a:,} {what}, now {b:,}" for what, a, b in counts if a != b]
        parts += [listed(different)] if different else []
    return "; ".join(parts) or "as many images as before, but not the same ones"


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many there are besides, in one line."""
    first = ", ".join(
        "".join(c if c.isprintable() else "?" for c in name) for name in names[:MOST_NAMED]
    )
    rest = len(names) - MOST_NAMED
    return f"{first} and {rest:,} more" if rest > 0 else first
