"""A data set as the models see it: images of one shape, in three parts, with labels or without."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


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
    digest: str = ""  # of the images, where they are the user's own; "" for a published set

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
        return {
            "digest": self.digest,
            "images": {name: len(split.images) for name, split in self.splits.items()},
        }


def changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What changed between two records, in a few words; empty if nothing did."""
    if before["digest"] == after["digest"]:
        return ""
    old, new = (sum(record["images"].values()) for record in (before, after))
    return f"there were {old:,}, now there are {new:,}" if old != new else "their content changed"
