"""Further feature spaces, in which the distance of the same images is measured once more.

A ranking of models that holds in one classifier's features alone may be due to these features. Each
space is a function of images; `feature_spaces` lists them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from gen_models.metrics.classifier import (
    Classifier,
    classifier_path,
    is_kept,
    load_classifier,
    untrained_classifier,
)
from gen_models.metrics.pixels import PrincipalComponents

SEEDS = (1, 2, 3)  # of further classifiers; that of `fid_lenet` has seed 0
STANDARDISED_BY = 10_000  # training images, for the moments of a LeNet that was never trained
COMPONENTS = 50  # principal components of pixels: 82 % of MNIST's variance


class FeatureSpace(NamedTuple):
    """A function from images to features."""

    read: Callable[[Tensor], Tensor]  # (n, 1, 28, 28) in [0, 1] -> (n, d)
    version: str  # of what `read` depends on, the training images and the code apart


def feature_spaces(
    data_name: str, root: Path, train: Tensor, fitted: PrincipalComponents
) -> dict[str, FeatureSpace]:
    """The spaces of a data set; each coordinate has variance 1 in the training images.

    "lenet_1" to "lenet_3": the penultimate layer of classifiers of other seeds, where there are
    any: MNIST's come with the package, `gen-models train-classifier --seed` makes another data
    set's. "random_lenet": that of a LeNet that was never trained. "pixels_50": the leading
    principal components of pixels, whitened, as the classifiers' features are standardised;
    without whitening, the first few of them would decide alone. A Gaussian on such components has
    the same two moments, so here the crude Gaussian is no ceiling: it is at the floor.

    Args:
        data_name: Name of the data set.
        root: Folder of the data sets.
        train: (n, 1, 28, 28) in [0, 1], the training images, on the device of all that is read.
        fitted: Their principal components, COMPONENTS or more.
    """
    spaces = {}
    for seed in SEEDS:
        path = classifier_path(data_name, root, seed)
        if is_kept(path):
            classifier = load_classifier(path).to(train.device)
            spaces[f"lenet_{seed}"] = FeatureSpace(_reader(classifier), classifier.record["sha256"])
    pixels = fitted.leading(COMPONENTS)
    spaces[f"pixels_{COMPONENTS}"] = FeatureSpace(pixels.whitened, "")
    spaces["random_lenet"] = FeatureSpace(
        _reader(untrained_classifier(train[:STANDARDISED_BY])), ""
    )
    return spaces


def _reader(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    return lambda images: classifier.read(images).features
