"""In which features the distances of a run were measured, as its status records it. No torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_models.metrics.classifier import Classifier

TRAINED, RANDOM = "classifier", "random weights"


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
            f"a small network of random weights, because {record.get('reason')}; nothing "
            "is said of classes"
        )
    accuracy = record.get("classifier_accuracy")
    text = "the features of a small LeNet-like classifier of the same classes"
    return f"{text}, which knows {100 * accuracy:.1f} % of the test images" if accuracy else text
