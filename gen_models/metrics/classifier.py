"""The fixed classifier whose penultimate layer gives the features of every distance.

LeNet-5 (LeCun et al. 1998) with batch normalisation, trained once for a data set on its training
images alone (`fit_classifier.py`), and then frozen. The package brings the weights for MNIST and
digits, so that metrics agree between machines. No distance compares with a published one, of
Inception features. Without labels to learn from, the network keeps fixed random weights
(`features.py`).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load as from_bytes
from torch import Tensor, nn

from gen_models.data.dataset import Split
from gen_models.data.facts import FACTS
from gen_models.errors import UserError
from gen_models.files import cache_folder, file_name, read_json
from gen_models.metrics.distribution import label_histogram
from gen_models.seeding import generator, same_convolutions

WEIGHTS = Path(__file__).parent / "weights"  # those that come with the package
IMAGE_SHAPE, CLASSES = (1, 28, 28), 10  # of MNIST
SIDE = 8  # pixels that the three poolings make one
WIDTH = 84  # features, as in LeNet-5; few, because the bias of a distance grows with them
MOST_IMAGES = 60_000  # training images that are read, of a larger data set: 3 GB at 64 x 64 x 3
CHUNK = 250  # images passed through the network at once; 1000 leave a processor's cache


class LeNet(nn.Module):
    """Three convolutions and two linear layers, from (n, c, h, w) in [0, 1] to logits.

    Images have at least 8 pixels both ways. Without classes, as with random weights, the features
    alone are read.
    """

    def __init__(self, image_shape: Sequence[int] = IMAGE_SHAPE, classes: int = CLASSES) -> None:
        super().__init__()
        channels, height, width = image_shape
        layers: list[nn.Module] = []  # of MNIST: (n, 24, 14, 14), (n, 48, 7, 7), (n, 96, 3, 3)
        for width_in, width_out, size in ((channels, 24, 5), (24, 48, 3), (48, 96, 3)):
            layers += [
                nn.Conv2d(width_in, width_out, size, padding=size // 2, bias=False),
                nn.MaxPool2d(2),  # first, for a quarter of the work below
                nn.BatchNorm2d(width_out),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.penultimate = nn.Linear(96 * (height // SIDE) * (width // SIDE), WIDTH)
        self.last = nn.Linear(WIDTH, classes) if classes else nn.Identity()
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer after its ReLU, (n, 84), not standardised."""
        images = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return F.relu(self.penultimate(self.convolutions(images).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the classes, (n, classes)."""
        logits: Tensor = self.last(self.features(images))
        return logits


class Reading(NamedTuple):
    """What a classifier sees in some images."""

    features: Tensor  # (n, d) standardised by the training images; d is WIDTH or a little less
    logits: Tensor | None  # (n, classes); None of random weights

    @property
    def labels(self) -> Tensor | None:
        """The likeliest classes, (n,) int64; None of random weights."""
        return None if self.logits is None else self.logits.argmax(1)

    @property
    def shares(self) -> Tensor | None:
        """The share of each class, (classes,) float64; None of random weights."""
        if self.logits is None:
            return None
        return label_histogram(self.logits.argmax(1), classes=self.logits.shape[1])


@dataclass(frozen=True)
class Classifier:
    """The network, frozen and in eval mode, with the record of its training.

    Not a module, so that it never becomes part of a trained model.

    The record has image_shape, classes (0 of random weights), data, test_accuracy, seed, versions
    and sha256, and of the features of the training images mean, std and those that hardly ever fire
    ("silent").
    """

    network: LeNet
    record: dict[str, Any]

    def __post_init__(self) -> None:
        """Freeze the network."""
        self.network.eval().requires_grad_(False)

    @property
    def classes(self) -> int:
        """Number of classes that it predicts; 0 with random weights."""
        return int(self.record.get("classes", CLASSES))

    def to(self, device: torch.device | str) -> "Classifier":
        """Move the network; returns this classifier."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """Features and logits of (n, c, h, w) images, float in [0, 1] or uint8."""
        columns = [index for index in range(WIDTH) if index not in self.record["silent"]]
        with same_convolutions():
            chunks = [self.network.features(as_floats(chunk)) for chunk in images.split(CHUNK)]
        raw = torch.cat(chunks)
        mean, std = (torch.tensor(self.record[key]).to(raw) for key in ("mean", "std"))
        features = (raw - mean) / std.clamp(min=1e-12)
        return Reading(features[:, columns], self.network.last(raw) if self.classes else None)

    def accuracy(self, split: Split) -> float:
        """Share of images, [0, 1], whose label is predicted; the split has labels."""
        predicted, labels = self.read(split.images).labels, split.labels
        assert predicted is not None
        assert labels is not None
        return (predicted.cpu() == labels).double().mean().item()


def as_floats(images: Tensor) -> Tensor:
    """Images as float in [0, 1]; they are that already, or uint8."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def some(split: Split, most: int = MOST_IMAGES) -> Split:
    """A part of a data set, or if it has more than `most` images, so many in a fixed order."""
    if len(split.images) <= most:
        return split
    return split.take(torch.randperm(len(split.images), generator=generator("some images"))[:most])


def load_classifier(path: Path) -> Classifier:
    """Read what `save_classifier` wrote to PATH.safetensors and PATH.json."""
    weights, statistics = path.with_suffix(".safetensors"), path.with_suffix(".json")
    remedy = "train it again (gen-models train-classifier --data NAME)"
    for file in (weights, statistics):
        if not file.is_file():
            raise UserError(f"{file}: the classifier's file is missing: {remedy}")
    record, content = read_json(statistics), weights.read_bytes()
    if record.get("sha256") != hashlib.sha256(content).hexdigest():
        raise UserError(f"{weights}: does not hold the weights of its record: {remedy}")
    network = LeNet(record.get("image_shape", IMAGE_SHAPE), record.get("classes", CLASSES))
    network.load_state_dict(from_bytes(content))
    return Classifier(network, record)


def classifier_path(key: str, root: Path, seed: int = 0) -> Path:
    """Path of a data set's classifier without its ending, whether it exists or not.

    Those that do not come with the package are kept in the folder of the data sets, `root`, or in
    the user's cache if it cannot be written, or if the images are the user's own: `key`, the data
    module's, then has their digest. The seed is 0 for every distance; others are for further
    feature spaces.
    """
    name = f"{key}_{seed}" if seed else key
    with_data = root / "classifiers" / name
    if key in FACTS:
        for path in (WEIGHTS / name, with_data):
            if is_kept(path):
                return path
    cached = cached_path(key, root, seed)
    return cached if cached and is_kept(cached) else with_data


def cached_path(key: str, root: Path, seed: int = 0) -> Path | None:
    """Path of a classifier in the user's cache; None for a user without a cache.

    The digest of one's own images tells them from others; of a published set, its folder does.
    """
    if (folder := cache_folder()) is None:
        return None
    place = os.path.realpath(root) if key in FACTS else key
    digest = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
    return folder / "classifiers" / f"{file_name(key)}_{seed}-{digest[:8]}"


def is_kept(path: Path) -> bool:
    """Whether there is a classifier at a path without its ending."""
    return os.path.isfile(path.with_suffix(".safetensors"))  # Path's own raises if not ours to read
