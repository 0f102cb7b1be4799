"""The real images that every model is measured against, and the feature spaces that read them.

A ranking of models that holds in one classifier's features alone may be due to these features, so
in a full measurement the distance is measured once more in further spaces.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.data.dataset import Dataset, Split
from gen_models.metrics import pixels
from gen_models.metrics.classifier import (
    Classifier,
    Reading,
    classifier_path,
    is_kept,
    load_classifier,
    some,
)
from gen_models.metrics.fit_classifier import STANDARDISED_BY, untrained_classifier
from gen_models.seeding import generator

SAMPLES = 10_000  # new images, and test images where there are so many
QUICK_SAMPLES = 2000
FLOOR_SAMPLES = 5000  # of real images, enough for a floor below which no distance comes by chance
COMPONENTS = 64  # principal components that are computed at least, of images of many pixels
WHITENED = 50  # of them in a feature space: 82 % of MNIST's variance
SEEDS = (1, 2, 3)  # of further classifiers; that of `fid_lenet` has seed 0


class FeatureSpace(NamedTuple):
    """A function from images to features."""

    read: Callable[[Tensor], Tensor]  # (n, c, h, w) in [0, 1] -> (n, d)
    version: str  # of what `read` depends on, the training images and the code apart


@dataclass(frozen=True)
class Reference:
    """The real images that every model is measured against, (n, c, h, w) float in [0, 1] each.

    All on one device, with the classifiers that read them.
    """

    train: Tensor  # on which the models and the classifiers were trained; 60,000 at most
    validation: Tensor  # on which neither was trained
    test: Tensor  # at most as many as a measurement has new images
    labels: Tensor | None  # classes of `test`, (n,) int64; None without labels
    train_labels: Tensor | None
    class_names: tuple[str, ...]
    classifier: Classifier  # for all metrics, unless their name says another
    spaces: dict[str, FeatureSpace] = field(default_factory=dict)  # none if measured quickly
    _components: dict[int, pixels.PrincipalComponents] = field(default_factory=dict)

    def first(self, count: int) -> Split:
        """The first test images, or all, with their labels."""
        return Split(self.test, self.labels).take(slice(count))

    def of_first(self, count: int) -> "Reference":
        """The same with fewer test images."""
        test, labels = self.first(count)
        return replace(self, test=test, labels=labels)

    @cached_property
    def reading(self) -> Reading:
        """The classifier's features and predictions for `test`."""
        return self.classifier.read(self.test)

    @cached_property
    def equal(self) -> "Reference":
        """What distances are measured against: as many test images as their floor has.

        The floor is the distance of the validation images. Where those are fewer than the test
        images, so many test and new images are measured, for a distance of fewer images is higher.
        Only from 5,000 on, as of MNIST, they need not be: 10,000 new images are measured against
        10,000, and the floor of 5,000, which is known to be somewhat too high, is shown as such.
        """
        count = len(self.validation)
        enough = count >= min(len(self.test), FLOOR_SAMPLES)
        return self if enough else self.of_first(count)

    def components(self, count: int) -> pixels.PrincipalComponents:
        """The leading principal components of `train`, or all if it has fewer pixels."""
        every = self.train[0].numel()
        computed = every if every <= pixels.EXACT else min(every, max(count, COMPONENTS))
        if computed not in self._components:
            self._components[computed] = pixels.principal_components(self.train, computed)
        return self._components[computed].leading(count)


def reference(
    dataset: Dataset,
    classifier: Classifier,
    *,
    count: int = SAMPLES,
    device: torch.device | str = "cpu",
) -> Reference:
    """Read the real images, at most `count` for a test; they and the classifier go to the device.

    The test images are in a fixed random order. MNIST's own is by source: the writers of its first
    half are other people than those of its second half.
    """
    splits = dataset.splits
    chosen = torch.randperm(len(splits["test"].images), generator=generator("test order"))[:count]
    parts = some(splits["train"]), some(splits["validation"], SAMPLES), splits["test"].take(chosen)
    train, validation, test = (part.images.float().div_(255).to(device) for part in parts)
    train_labels, _, labels = (
        part.labels if part.labels is None else part.labels.to(device) for part in parts
    )
    return Reference(
        train=train,
        validation=validation,
        test=test,
        labels=labels,
        train_labels=train_labels,
        class_names=dataset.class_names,
        classifier=classifier.to(device),
    )


def add_feature_spaces(real: Reference, key: str, root: Path) -> None:
    """Add the spaces of a data set; each coordinate has variance 1 in the training images.

    "lenet_1" to "lenet_3": the penultimate layer of classifiers of other seeds, where there are
    any: MNIST's come with the package, `gen-models train-classifier --seed` makes another data
    set's. "random_lenet": that of a LeNet that was never trained, unless `fid_lenet` is measured in
    it. "pixels_50": the leading principal components of pixels, whitened, as the classifiers'
    features are standardised; without whitening, the first few of them would decide alone. A
    Gaussian on such components has the same two moments, so here the crude Gaussian is no ceiling:
    it is at the floor.

    Args:
        real: The real images.
        key: The data module's.
        root: Folder of the data sets.
    """
    paths = {f"lenet_{seed}": classifier_path(key, root, seed) for seed in SEEDS}
    networks = {name: load_classifier(path) for name, path in paths.items() if is_kept(path)}
    if real.classifier.classes:
        networks["random_lenet"] = untrained_classifier(real.train[:STANDARDISED_BY])
    for name, network in networks.items():
        real.spaces[name] = FeatureSpace(
            partial(_features, network.to(real.train.device)), network.record["sha256"]
        )
    fitted = real.components(WHITENED)
    real.spaces[f"pixels_{WHITENED}"] = FeatureSpace(fitted.whitened, "")


def _features(classifier: Classifier, images: Tensor) -> Tensor:
    return classifier.read(images).features
