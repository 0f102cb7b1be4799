"""Training of the classifier whose features give every distance, and the files that keep it.

Where there are no labels, it is a network of random weights instead.
"""

import copy
import hashlib
import platform
from collections.abc import Callable
from importlib.metadata import version
from math import ceil
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from safetensors.torch import save as to_bytes
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.files import replaced, write_json
from gen_models.metrics.classifier import CHUNK, CLASSES, Classifier, LeNet, as_floats, some
from gen_models.metrics.pixels import distorted
from gen_models.seeding import derive_seed, generator

EPOCHS = 10
LEAST_STEPS = 1000  # of a small data set, whose epochs are short
BATCH_SIZE = 128
LR = 5e-3  # highest of the one-cycle schedule (Smith & Topin 2018)
WEIGHT_DECAY = 1e-2

STANDARDISED_BY = 10_000  # training images, for the moments of a LeNet that was never trained
SILENT_BELOW = 0.05  # share of training images on which a feature fires: half of one class


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


def untrained_classifier(images: Tensor, reason: str = "") -> Classifier:
    """A LeNet of fixed random weights, on the device of the images that standardise it.

    It takes the classifier's place where there are no labels, for coverage too: of 1,000 images of
    MNIST, its features give others 0.96, pixel noise 0.05 and blurred ones 0.00. In 50 principal
    components, whitened, these have 0.96, 0.75 and 0.70, and copies of the mean image 0.46: it is
    near every image there.

    Args:
        images: Training images, (n, c, h, w).
        reason: Why there is no other, which is recorded: it completes "because ...".
    """
    image_shape = list(images.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("untrained classifier"))
        network = LeNet(image_shape, 0).eval().to(images.device)
    record = {"image_shape": image_shape, "classes": 0, "sha256": "random weights"}
    record |= {"reason": reason} if reason else {}
    return Classifier(network, record | feature_statistics(network, images))


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write the weights to PATH.safetensors and the record, with their SHA-256, to PATH.json."""
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


@torch.no_grad()
def feature_statistics(network: LeNet, images: Tensor) -> dict[str, list[float] | list[int]]:
    """Mean and standard deviation of each feature, and the features that hardly ever are above 0.

    Such a feature, divided by its tiny standard deviation, could outweigh all others in an image.
    """
    raw = torch.cat([network.features(as_floats(chunk)) for chunk in images.split(CHUNK)]).double()
    silent = ((raw > 0).double().mean(0) < SILENT_BELOW).nonzero().flatten()
    return {"mean": raw.mean(0).tolist(), "std": raw.std(0).tolist(), "silent": silent.tolist()}
