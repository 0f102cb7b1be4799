"""Which of one's own images are for training, for validation and for the test."""

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from torch import Tensor

from gen_models.data.dataset import Split


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
    counts = (first, second - first, len(names) - second)
    return order, dict(zip(("train", "validation", "test"), counts, strict=True))


def divided(images: Tensor, labels: Tensor | None, counts: Mapping[str, int]) -> dict[str, Split]:
    """The splits of images that lie one split after the other; nothing is copied."""
    splits, whole, begin = {}, Split(images, labels), 0
    for name, count in counts.items():
        splits[name] = whole.take(slice(begin, begin + count))
        begin += count
    return splits
