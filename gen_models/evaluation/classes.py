"""Which classes new images show, and whether a conditional model draws those that are asked."""

import torch

from gen_models.evaluation.reference import Reference
from gen_models.metrics import distribution
from gen_models.metrics.classifier import Reading
from gen_models.models.interface import CHUNK, GenerativeModel, draw, require_labels
from gen_models.seeding import generator


def measure_shown_classes(reading: Reading, real: Reference) -> dict[str, float]:
    """Which classes new images show, by the classifier; nothing without one."""
    if reading.logits is None or real.reading.logits is None:
        return {}
    own, share = (
        distribution.label_histogram(logits.argmax(1), classes=logits.shape[1])
        for logits in (reading.logits, real.reading.logits)
    )
    missing = float(distribution.missing_classes(own, share))
    return {
        "label_kl": distribution.histogram_divergence(own, share, least=0.5 / len(real.test)),
        distribution.missing_key(real.class_names): missing,
        "confidence": distribution.mean_confidence(reading.logits),
    }


def measure_classes(model: GenerativeModel, real: Reference) -> dict[str, float]:
    """Whether a conditional model draws the wanted classes, which are those of the test images.

    So there are as many new as test images of each class. The floor of the distance within a class
    is that of as many training images; the best accuracy is the classifier's own on the test
    images. A class with a single image has no distance. Other models, and those of images without a
    classifier, have none of these metrics.
    """
    if not (model.conditional and real.classifier.classes):
        return {}
    labels, train_labels = require_labels(real.labels), require_labels(real.train_labels)
    features = real.reading.features
    images = draw(model, len(labels), lambda start: generator("asked", start // CHUNK), labels)
    reading = real.classifier.read(images)
    accuracies = {
        key: (require_labels(each.labels) == labels).double().mean().item()
        for key, each in {"class_accuracy": reading, "real/class_accuracy": real.reading}.items()
    }
    counts = enumerate(torch.bincount(labels, minlength=model.classes).tolist())
    rows = [(train_labels == label).nonzero()[:count, 0] for label, count in counts]
    several = [label for label, indices in enumerate(rows) if len(indices) > 1]
    if not several:
        return accuracies
    test = torch.isin(labels, torch.tensor(several).to(labels))
    train = torch.cat([rows[label] for label in several])
    features, labels, train_labels = features[test], labels[test], train_labels[train]
    train_features = real.classifier.read(real.train[train]).features
    within = distribution.within_class_distance
    return accuracies | {
        "fid_lenet/within_class": within(features, reading.features[test], labels, labels),
        "floor/fid_lenet/within_class": within(features, train_features, labels, train_labels),
    }
