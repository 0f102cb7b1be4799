"""The real images that every model is measured against."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gen_models.data.dataset import Dataset, Split
from gen_models.metrics import pixels
from gen_models.metrics.classifier import Classifier, Reading, some
from gen_models.metrics.features import FeatureSpace, feature_spaces
from gen_models.seeding import generator

SAMPLES = 10_000  # new images, and test images where there are so many
QUICK_SAMPLES = 2000
FLOOR_SAMPLES = 5000  # of real images, enough for a floor below which no distance comes by chance
COMPONENTS = 64  # principal components that are computed at least, of images of many pixels


@dataclass(frozen=True)
class Reference:
    """The real images that every model is measured against, (n, c, h, w) float in [0, 1] each.

    All on one device, with the classifiers that read them.

    Attributes:
        train: The images on which the models and the classifiers were trained; 60,000 at most.
        validation: Images on which neither was trained.
        test: At most as many as a measurement has new images.
        labels: Classes of `test`, (n,) int64; None without labels.
        train_labels: Classes of `train`.
        class_names: One a class.
        classifier: The classifier for all metrics, unless their name says another.
        spaces: Further feature spaces, by name; none for a quick measurement.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    labels: Tensor | None
    train_labels: Tensor | None
    class_names: tuple[str, ...]
    classifier: Classifier
    spaces: dict[str, FeatureSpace] = field(default_factory=dict)
    _components: dict[int, pixels.PrincipalComponents] = field(default_factory=dict)

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
        if count >= min(len(self.test), FLOOR_SAMPLES):
            return self
        test, labels = Split(self.test, self.labels).take(slice(count))
        return replace(self, test=test, labels=labels)

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
    """Read the real images once, for any number of models; at most `count` test images.

    They and the classifier are moved to the device.

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
    """Add the feature spaces of a full measurement."""
    real.spaces.update(feature_spaces(key, root, real.train, real.components(COMPONENTS)))
    if not real.classifier.classes:
        del real.spaces["random_lenet"]  # in which `fid_lenet` is measured
