"""What a group of runs has measured, as far as a contrast needs it; `Missing` where it has not."""

import numpy as np

from gen_models.comparison.collect import Run
from gen_models.comparison.metrics import BOUNDS, metric
from gen_models.comparison.table import Group, Summary
from gen_models.study.arms import Missing

Bounds = dict[str, float]  # floors and ceilings: "floor/fid_lenet", "gaussian/fid_lenet", ...

WITHOUT_MODEL = {"pca": "PCA", "nearest": "nearest training image", "mean_image": "mean image"}


def evaluate(run: Run) -> str:
    """What measures a run."""
    return f"gen-models evaluate {run.path}"


def summary(group: Group, key: str) -> Summary:
    """A metric of the group.

    Raises:
        Missing: No run has it.
    """
    found = group.summary(key)
    if found is None:
        raise Missing([f"no {key}: {group.label}"], map(evaluate, group.runs))
    return found


def image_errors(group: Group, key: str) -> np.ndarray:
    """Mean over the seeds of the error of each test image, (n,).

    Raises:
        Missing: A run diverged or has not measured it, or the runs had other numbers of images.
    """
    errors = []
    for run in group.runs:
        if run.diverged:
            raise Missing([f"diverged: {run.path}"], [])
        found = run.arrays().get(key.replace("/", "_"))
        if found is None:
            raise Missing([f"no errors by image: {run.path}"], [evaluate(run)])
        errors.append(found.astype(float))
    if len({len(error) for error in errors}) > 1:
        line = f"not the same number of test images: {group.label}"
        raise Missing([line], map(evaluate, group.runs))
    return np.asarray(np.mean(errors, axis=0))


def check_same_images(one: Group, other: Group) -> None:
    """Make sure that two groups recreated the same test images.

    Raises:
        Missing: They did not.
    """
    first, second = (image_errors(group, "nearest/mse") for group in (one, other))
    if first.shape != second.shape or not np.allclose(first, second, rtol=1e-3):
        line = f"not the same test images: {one.label}, {other.label}"
        raise Missing([line], map(evaluate, (*one.runs, *other.runs)))


def references(key: str, group: Group, bounds: Bounds) -> str:
    """What a metric is for real images and without a model, to follow a text; "" if unknown."""
    known = {
        words: bounds[f"{name}/{key}"]
        for name, words in BOUNDS.items()
        if name != "real" and f"{name}/{key}" in bounds
    }
    if key.endswith("/mse"):
        for name, words in WITHOUT_MODEL.items():
            found = group.summary(f"{name}/mse")
            if found and found.estimate:
                known[words] = found.estimate.value
    shown = ", ".join(f"{name} {metric(key).show(value)}" for name, value in known.items())
    return f"; for reference: {shown}" if shown else ""
