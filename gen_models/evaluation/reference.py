"""The real images that every model is measured against."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.metrics import pixels
from gen_models.metrics.classifier import Classifier, Reading
from gen_models.metrics.features import FeatureSpace, feature_spaces
from gen_models.seeding import generator

SAMPLES = 10_000  # new images, and test images where there are so many
QUICK_SAMPLES = 2000


@dataclass(frozen=True)
class Reference:
    """The real images that every model is measured against, (n, 1, 28, 28) float in [0, 1] each.

    All on one device, with the classifiers that read them.

    Attributes:
        train: The images on which the models and the classifiers were trained.
        validation: Images on which neither was trained.
        test: At most as many as a measurement has new images.
        labels: Classes of `test`, (n,) int64.
        train_labels: Classes of `train`.
        classifier: The classifier for all metrics, unless their name says another.
        spaces: Further feature spaces, by name; none for a quick measurement.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    labels: Tensor
    train_labels: Tensor
    classifier: Classifier
    spaces: dict[str, FeatureSpace] = field(default_factory=dict)

    @cached_property
    def reading(self) -> Reading:
        """The classifier's features and predictions for `test`."""
        return self.classifier.read(self.test)

    @cached_property
    def components(self) -> pixels.PrincipalComponents:
        """All principal components of `train`."""
        return pixels.principal_components(self.train, self.train[0].numel())


def reference(
    splits: dict[str, Split],
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
    train, validation, test = (
        splits[name].images.float().div_(255).to(device) for name in ("train", "validation", "test")
    )
    chosen = torch.randperm(len(test), generator=generator("test order"))[:count]
    return Reference(
        train=train,
        validation=validation,
        test=test[chosen],
        labels=splits["test"].labels[chosen].to(device),
        train_labels=splits["train"].labels.to(device),
        classifier=classifier.to(device),
    )


def add_feature_spaces(real: Reference, data_name: str, root: Path) -> None:
    """Add the feature spaces of a full measurement."""
    real.spaces.update(feature_spaces(data_name, root, real.train, real.components))
