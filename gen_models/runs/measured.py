"""What the metrics and the status of a run say of it: whether it failed, and its features.

Without torch.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_models.metrics.classifier import Classifier

FID, QUICK = "fid_lenet", "quick/"
MISSING = "missing_digits", "missing_classes"  # half of the classes or more: the run failed
TRAINED, RANDOM = "classifier", "random weights"  # the features of a measurement


def why_failed(metrics: Mapping[str, float]) -> str | None:
    """Why a run failed: not finite, half its classes missing, or no better than a Gaussian.

    No better means: neither in `fid_lenet` nor in `coverage`. A strong Gaussian, as on small data,
    is not enough for a failure. A run measured with 2,000 images is judged by those.

    Returns:
        The rest of a line that begins with "FAILED: "; None: it did not fail.
    """
    prefix = "" if FID in metrics else QUICK

    def value(key: str, unknown: float) -> float:
        return metrics.get(prefix + key, unknown)

    distance, coverage = value(FID, 0.0), value("coverage", math.inf)
    if not math.isfinite(distance):
        return "the distance of its new images is not finite"
    classes = value("real/classes", 10)
    for key in MISSING:
        missing = value(key, 0.0)
        if missing >= classes / 2:
            what = key.removeprefix("missing_")
            return f"{missing:.0f} of {classes:.0f} {what} are missing from its new images"
    far = distance >= value(f"gaussian/{FID}", math.inf)
    if far and coverage <= value("gaussian/coverage", -math.inf):
        return (
            f"fid {distance:.2f} and coverage {coverage:.3f} are no better than a crude Gaussian's"
        )
    return None


def features_record(classifier: "Classifier") -> dict[str, Any]:
    """What a status keeps of the features of a measurement."""
    known = classifier.record
    if classifier.classes:
        return {"features": TRAINED, "classifier_accuracy": known.get("test_accuracy")}
    return {"features": RANDOM, "reason": known.get("reason")}


def features_of(record: Mapping[str, Any]) -> str:
    """The features of a measurement; runs from before there were others have a classifier's."""
    return str(record.get("features", TRAINED))


def features_in_words(record: Mapping[str, Any]) -> str:
    """The end of a sentence that begins "Distances are measured in"."""
    if features_of(record) == RANDOM:
        return (
            f"a small network of random weights, because {record.get('reason')}; metrics of "
            "classes are left out"
        )
    accuracy = record.get("classifier_accuracy")
    text = "the features of a small LeNet-like classifier of the same classes"
    return f"{text}, which knows {100 * accuracy:.1f} % of the test images" if accuracy else text
