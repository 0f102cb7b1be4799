"""A data set as the models see it: images of one shape, in three parts, with labels or without.

A published set is split the same way in every run; `splits.py` splits one's own images.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models.seeding import generator

MOST_NAMED = 5  # names in one line


class Split(NamedTuple):
    """A part of a data set."""

    images: Tensor  # (n, c, h, w) uint8
    labels: Tensor | None  # (n,) int64; None where the data set has none

    def take(self, rows: Tensor | slice) -> "Split":
        """Some of the images, with their labels."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])

    def joined(self, other: "Split") -> "Split":
        """These images, then those of another part."""
        labels = None
        if self.labels is not None and other.labels is not None:
            labels = torch.cat([self.labels, other.labels])
        return Split(torch.cat([self.images, other.images]), labels)


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

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return len(self.class_names)

    def record(self) -> dict[str, Any]:
        """What a run keeps of its images, to tell later whether they are still the same."""
        counts = torch.zeros(self.classes, dtype=torch.int64)
        for _, labels in self.splits.values():
            if labels is not None:
                counts += torch.bincount(labels, minlength=self.classes)
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


def hold_out(official: Split, count: int) -> tuple[Split, Split]:
    """The official training images in two: those that remain, and `count` for validation."""
    order = fixed_permutation("validation", len(official.images))
    return official.take(order[count:]), official.take(order[:count])


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
        for what, names in {
            "fewer": [name for name in old if name not in new],
            "more": [name for name in new if name not in old],
            "changed": [
                name for name in new if same_shape and old.get(name, new[name]) != new[name]
            ],
        }.items():
            if names:
                pictures = "picture" if len(names) == 1 else "pictures"
                parts.append(f"{len(names):,} {pictures} {what}: {listed(names)}")
    else:
        if before["images"] != after["images"]:
            parts.append(f"{before['images']:,} images, now {after['images']:,}")
        counts = [
            (name, before["classes"].get(name, 0), after["classes"].get(name, 0))
            for name in {**before["classes"], **after["classes"]}
        ]
        if different := [f"{a:,} of {name}, now {b:,}" for name, a, b in counts if a != b]:
            parts.append(listed(different))
    return "; ".join(parts) or "as many images as before, but not the same ones"


def listed(names: Iterable[str]) -> str:
    """The first of some names, and how many there are besides, in one line."""
    remaining = ("".join(c if c.isprintable() else "?" for c in name) for name in names)
    first = ", ".join(islice(remaining, MOST_NAMED))
    rest = sum(1 for _ in remaining)
    return f"{first} and {rest:,} more" if rest else first
