"""The fixed classifier whose penultimate layer gives the features of every distance.

A small network (`lenet.py`), trained once for a data set on its training images alone, and then
frozen. The package brings the weights for MNIST and digits, so that metrics agree between machines.
No distance compares with a published one, of Inception features. Without labels to learn from, the
network keeps fixed random weights (`features.py`).
"""

import copy
import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.data.facts import FACTS
from gen_models.errors import UserError
from gen_models.files import cache_folder, file_name, read_json, replaced, write_json
from gen_models.metrics.lenet import CLASSES, IMAGE_SHAPE, WIDTH, LeNet
from gen_models.metrics.pixels import as_floats, distorted
from gen_models.seeding import derive_seed, generator

WEIGHTS = Path(__file__).parent / "weights"  # those that come with the package
MOST_IMAGES = 60_000  # training images that are read, of a larger data set: 3 GB at 64 x 64 x 3
CHUNK = 250  # images passed through the network at once; 1000 leave a processor's cache

EPOCHS = 10
LEAST_STEPS = 1000  # of a small data set, whose epochs are short
BATCH_SIZE = 128
LR = 5e-3  # highest of the one-cycle schedule (Smith & Topin 2018)
WEIGHT_DECAY = 1e-2

SILENT_BELOW = 0.05  # share of training images on which a feature fires: half of one class


class Reading(NamedTuple):
    """What a classifier sees in some images."""

    features: Tensor  # (n, d) standardised by the training images; d is WIDTH or a little less
    logits: Tensor | None  # (n, classes); None of random weights

    @property
    def labels(self) -> Tensor | None:
        """The likeliest classes, (n,) int64; None of random weights."""
        return None if self.logits is None else self.logits.argmax(1)


@dataclass(frozen=True)
class Classifier:
    """The network, frozen and in eval mode, with the record of its training.

    Not a module, so that it never becomes part of a trained model.

    Attributes:
        network: A `LeNet`.
        record: image_shape, classes (0 of random weights), data, test_accuracy, seed, versions and
            sha256, and of the features of the training images mean, std and those that hardly ever
            fire ("silent").
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
        """Features and logits of (n, c, h, w) images, float in [0, 1] or uint8.

        Without cuDNN's TF32, so that a GPU sees what the CPU does.
        """
        columns = [index for index in range(WIDTH) if index not in self.record["silent"]]
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
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


def some(split: Split, most: int = MOST_IMAGES) -> Split:
    """A part of a data set, or if it has more than `most` images, so many in a fixed order."""
    if len(split.images) <= most:
        return split
    return split.take(torch.randperm(len(split.images), generator=generator("some images"))[:most])


def train_classifier(
    splits: dict[str, Split],
    *,
    name: str,
    classes: int = CLASSES,
    seed: int = 0,
    epochs: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Classifier:
    """Train on the training images, on the CPU; the global generator is left alone.

    Of more than 60,000 training images, on so many.

    Label smoothing, which would raise accuracy, is not used: it draws the features of a class
    together (Mueller et al. 2019), which would make them worse.

    Args:
        splits: "train", and "validation" and "test" for its accuracy; with labels.
        name: Name of the data set.
        classes: Number of its classes.
        seed: Seed of the initial weights, the order and the distortions.
        epochs: Passes over the training images; None means 10, or more for a small data set.
        on_step: Called with the steps done and their total, e.g. for a progress bar.
    """
    begin = perf_counter()
    train = some(splits["train"])
    assert train.labels is not None
    image_shape = list(train.images.shape[1:])
    epoch_steps = max(1, len(train.images) // BATCH_SIZE)
    if epochs is None:
        epochs = max(EPOCHS, ceil(LEAST_STEPS / epoch_steps))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("classifier", seed))
        network = LeNet(image_shape, classes)
    steps = epochs * epoch_steps
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps)
    network.train()
    for step in range(steps):
        epoch, index = divmod(step, epoch_steps)
        if index == 0:
            own = generator("classifier", name, seed, epoch)
            order = torch.randperm(len(train.images), generator=own)
        rows = order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        images = distorted(as_floats(train.images[rows]), own)
        loss = F.cross_entropy(network(images), train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1, steps)
    record = {
        "data": name,
        "image_shape": image_shape,
        "classes": classes,
        "seed": seed,
        "epochs": epochs,
        "seconds": round(perf_counter() - begin, 1),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "gen-models": version("gen-models"),
        },
    }
    network.half().float()  # rounded as in the file, so that the record describes its weights
    record["sha256"] = hashlib.sha256(_to_bytes(network)).hexdigest()
    record |= feature_statistics(network.eval(), train.images)
    classifier = Classifier(network, record)
    for part in ("validation", "test"):
        record[f"{part}_accuracy"] = classifier.accuracy(splits[part])
    return classifier


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write the weights to PATH.safetensors and the record, with their SHA-256, to PATH.json.

    Raises:
        OSError: They cannot be written.
    """
    content = _to_bytes(classifier.network)
    record = classifier.record | {"sha256": hashlib.sha256(content).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path.with_suffix(".json"), record)  # first: weights need their record
    with replaced(path.with_suffix(".safetensors")) as temporary:
        temporary.write_bytes(content)


def _to_bytes(network: LeNet) -> bytes:
    """The weights as a file holds them, in float16, to which `train_classifier` rounds them."""
    weights = copy.deepcopy(network).half().state_dict().items()
    return to_bytes({name: tensor.contiguous() for name, tensor in weights})


def load_classifier(path: Path) -> Classifier:
    """Read what `save_classifier` wrote to PATH.safetensors and PATH.json.

    Raises:
        UserError: A file is missing, or the two do not belong together.
    """
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

    Args:
        key: The data module's: name of the data set, with a digest of images of the user's own.
        root: Folder of the data sets. Classifiers that do not come with the package are kept there,
            or in the user's cache if it cannot be written, or if the images are the user's own.
        seed: Seed of its training; 0 for every distance, others for further feature spaces.
    """
    name = f"{key}_{seed}" if seed else key
    with_data = root / "classifiers" / name
    places = [cached_path(key, root, seed)]
    if key in FACTS:
        places = [WEIGHTS / name, with_data, *places]
    return next((path for path in places if path and is_kept(path)), with_data)


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


@torch.no_grad()
def feature_statistics(network: LeNet, images: Tensor) -> dict[str, list[float] | list[int]]:
    """Mean and standard deviation of each feature, and the features that hardly ever are above 0.

    Such a feature, divided by its tiny standard deviation, could outweigh all others in an image.
    """
    raw = torch.cat([network.features(as_floats(chunk)) for chunk in images.split(CHUNK)]).double()
    silent = ((raw > 0).double().mean(0) < SILENT_BELOW).nonzero().flatten()
    return {"mean": raw.mean(0).tolist(), "std": raw.std(0).tolist(), "silent": silent.tolist()}
