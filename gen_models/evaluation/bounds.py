"""Floor and ceilings of every distance: the best to expect, and what any model should beat.

They are the same for every run on a data set, so they are measured once and kept in a cache.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from gen_models.data.dataset import Split
from gen_models.errors import UserError
from gen_models.evaluation.measure import measure_generation, prefixed
from gen_models.evaluation.reference import COMPONENTS, Reference
from gen_models.files import cache_folder, file_name, read_json, write_json
from gen_models.metrics import pixels
from gen_models.metrics.distribution import mean_confidence
from gen_models.runs.identity import PACKAGE, hash_code
from gen_models.seeding import generator

CODE = (  # on which the bounds depend, besides the images and the classifier's weights
    "seeding.py",
    "metrics/classifier.py",
    "metrics/distribution.py",
    "metrics/features.py",
    "metrics/fit_classifier.py",
    "metrics/pixels.py",
    "evaluation/classes.py",
    "evaluation/measure.py",
    "evaluation/reference.py",
    "evaluation/bounds.py",
)


def find_bounds(name: str, real: Reference, say: Callable[[str], None]) -> dict[str, float]:
    """The bounds for the sample size of `real`, from the cache if nothing has changed."""
    real = real.equal
    count = len(real.test)
    digest = hashlib.sha256(hash_code(PACKAGE / file for file in CODE).encode())
    digest.update(f"{real.classifier.record['sha256']} torch {torch.__version__}".encode())
    digest.update(str(real.class_names).encode())
    digest.update(str([(name, space.version) for name, space in real.spaces.items()]).encode())
    for images in (real.train, real.validation, real.test):
        digest.update(images.cpu().contiguous().numpy().data)
    cache = cache_folder()
    file = cache and cache / f"bounds-{file_name(name)}-{count}-{digest.hexdigest()[:16]}.json"
    if file and (known := _read(file, say)):
        return known
    say(f"measuring floor and ceilings of {name} with {count:,} images, once: {file}" if file else
        f"measuring floor and ceilings of {name} with {count:,} images; there is no home directory "
        "to keep them in (XDG_CACHE_HOME=FOLDER names another)")  # fmt: skip
    bounds = measure_bounds(real)
    if file:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, bounds)
        except OSError as error:
            say(f"{cache}: cannot be written ({error.strerror}), so they will be measured again")
    return bounds


def _read(file: Path, say: Callable[[str], None]) -> dict[str, float] | None:
    """The bounds in a file; None if it is missing or damaged."""
    if not os.path.exists(file):  # Path's own raises in a folder that is not ours to read
        return None
    try:
        bounds = read_json(file)
    except UserError as error:
        say(f"{error}: measuring again")
        return None
    if "floor/samples" in bounds and all(isinstance(value, float) for value in bounds.values()):
        return bounds
    say(f"{file}: does not hold floor and ceilings: measuring again")
    return None


def measure_bounds(real: Reference) -> dict[str, float]:
    """Floor and ceilings of the distances.

    Keys: "floor/..." for the validation images, on which no classifier was trained, against as many
    test images ("floor/samples": as many as a model's, or 5,000 of MNIST, where it has 10,000; with
    fewer the floor of a Frechet distance is higher); "noise/..." for independent pixels,
    "gaussian/..." for a Gaussian on 64 principal components; "real/..." for measures of real images
    that are neither good nor bad, and for the number of classes where some may be missing.
    """
    real = real.equal
    n = len(real.test)
    fitted = real.components(COMPONENTS)
    noise = pixels.independent_pixels(real.train, n, generator=generator("noise"))
    gaussian = pixels.gaussian_images(
        fitted, n, generator=generator("gaussian"), shape=tuple(real.test.shape[1:])
    )
    unseen = real.validation[:n]
    test, labels = Split(real.test, real.labels).take(slice(len(unseen)))
    few = replace(real, test=test, labels=labels)
    floor = measure_generation(unseen, few)[0]
    metrics = prefixed("floor", floor) | {"floor/samples": float(len(unseen))}
    for name, images in (("noise", noise), ("gaussian", gaussian)):
        metrics |= prefixed(name, measure_generation(images, real)[0])
    metrics |= prefixed("real", pixels.sharpness(real.test))
    metrics["real/memorisation"] = floor["memorisation"]
    if real.reading.logits is not None:
        metrics["real/confidence"] = mean_confidence(real.reading.logits)
        if "missing_classes" in floor:
            metrics["real/classes"] = float(len(real.class_names))
    return metrics
