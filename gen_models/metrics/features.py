"""Further feature spaces, in which the distance of the same images is measured once more.

A ranking of models that holds in one classifier's features alone may be due to these features. Each
space is a function of images; `feature_spaces` lists them. And the classifier's stand-in, where
there are no labels to train one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.metrics.classifier import (
    Classifier,
    LeNet,
    classifier_path,
    is_kept,
    load_classifier,
)
from gen_models.metrics.fit_classifier import feature_statistics
from gen_models.metrics.pixels import PrincipalComponents
from gen_models.seeding import derive_seed

SEEDS = (1, 2, 3)  # of further classifiers; that of `fid_lenet` has seed 0
STANDARDISED_BY = 10_000  # training images, for the moments of a LeNet that was never trained
COMPONENTS = 50  # principal components of pixels: 82 % of MNIST's variance


class FeatureSpace(NamedTuple):
    """A function from images to features."""

    read: Callable[[Tensor], Tensor]  # (n, c, h, w) in [0, 1] -> (n, d)
    version: str  # of what `read` depends on, the training images and the code apart


def feature_spaces(
    key: str, root: Path, train: Tensor, fitted: PrincipalComponents
) -> dict[str, FeatureSpace]:
    """The spaces of a data set; each coordinate has variance 1 in the training images.

    "lenet_1" to "lenet_3": the penultimate layer of classifiers of other seeds, where there are
    any: MNIST's come with the package, `gen-models train-classifier --seed` makes another data
    set's. "random_lenet": that of a LeNet that was never trained. "pixels_50": the leading
    principal components of pixels, whitened, as the classifiers' features are standardised;
    without whitening, the first few of them would decide alone. A Gaussian on such components has
    the same two moments, so here the crude Gaussian is no ceiling: it is at the floor.

    Args:
        key: The data module's.
        root: Folder of the data sets.
        train: (n, c, h, w) in [0, 1], the training images, on the device of all that is read.
        fitted: Their principal components, COMPONENTS or more.
    """
    spaces = {}
    for seed in SEEDS:
        path = classifier_path(key, root, seed)
        if is_kept(path):
            classifier = load_classifier(path).to(train.device)
            spaces[f"lenet_{seed}"] = FeatureSpace(_reader(classifier), classifier.record["sha256"])
    pixels = fitted.leading(COMPONENTS)
    spaces[f"pixels_{COMPONENTS}"] = FeatureSpace(pixels.whitened, "")
    spaces["random_lenet"] = FeatureSpace(
        _reader(untrained_classifier(train[:STANDARDISED_BY])), ""
    )
    return spaces


def untrained_classifier(images: Tensor, reason: str = "") -> Classifier:
    """A LeNet of fixed random weights, on the device of the images that standardise it.

    It takes the classifier's place where there are no labels, for coverage too: of 1,000 images of
    MNIST, its features give others 0.96, pixel noise 0.05 and blurred ones 0.00. In 50 principal
    components, whitened, these have 0.96, 0.75 and 0.70, and copies of the mean image 0.46: it is
    near every image there.

    Args:
        images: (n, c, h, w) training images, float in [0, 1] or uint8.
        reason: Why there is no other, which is recorded: it completes "because ...".
    """
    image_shape = list(images.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("untrained classifier"))
        network = LeNet(image_shape, 0).eval().to(images.device)
    record = {"image_shape": image_shape, "classes": 0, "sha256": "random weights"}
    record |= {"reason": reason} if reason else {}
    return Classifier(network, record | feature_statistics(network, images))


def _reader(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    return lambda images: classifier.read(images).features
