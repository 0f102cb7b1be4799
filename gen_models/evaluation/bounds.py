"""What no model, and what any model, should reach: floor and ceilings of every distance.

The same for every run on a data set, so they are measured once and kept in the user's cache.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch

from gen_models.evaluation.measure import Reference, measure_generation, prefixed
from gen_models.files import read_json, write_json
from gen_models.metrics.distribution import mean_confidence
from gen_models.metrics.pixels import (
    gaussian_images,
    independent_pixels,
    memorisation,
    principal_components,
    sharpness,
)
from gen_models.runs.fingerprint import PACKAGE, hash_code
from gen_models.seeding import generator

CODE = (  # that the bounds depend on, as on the images and the classifier's weights
    "seeding.py",
    "metrics/classifier.py",
    "metrics/distribution.py",
    "metrics/pixels.py",
    "evaluation/measure.py",
    "evaluation/bounds.py",
)
COMPONENTS = 64  # of the Gaussian ceiling


def find_bounds(name: str, real: Reference, say: Callable[[str], None]) -> dict[str, float]:
    """The bounds at the size of `real`; from the cache if all that they depend on is the same."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen-models"
    count = len(real.test)
    digest = hashlib.sha256(hash_code(PACKAGE / file for file in CODE).encode())
    digest.update(f"{real.classifier.record['sha256']} torch {torch.__version__}".encode())
    for images in (real.train, real.test):
        digest.update(images.numpy().tobytes())
    file = cache / f"bounds-{name}-{count}-{digest.hexdigest()[:16]}.json"
    if file.exists():
        return read_json(file)
    say(f"measuring floor and ceilings of {name} with {count:,} images, once: {file}")
    bounds = measure_bounds(real)
    cache.mkdir(parents=True, exist_ok=True)
    write_json(file, bounds)
    return bounds


def measure_bounds(real: Reference) -> dict[str, float]:
    """Floor and ceilings of the distances: what no model, and what any model, should reach.

    Keys: "floor/..." for as many real training images, "noise/..." for independent pixels,
    "gaussian/..." for a Gaussian on 64 principal components; the pixel measures of real test
    images under "real/...".
    """
    n = len(real.test)
    chosen = torch.randperm(len(real.train), generator=generator("floor"))[:n]
    fitted = principal_components(real.train, COMPONENTS)
    noise = independent_pixels(real.train, n, generator=generator("noise"))
    gaussian = gaussian_images(
        fitted, n, generator=generator("gaussian"), shape=tuple(real.test.shape[1:])
    )
    metrics: dict[str, float] = {}
    for name, images in (("floor", real.train[chosen]), ("noise", noise), ("gaussian", gaussian)):
        metrics |= prefixed(name, measure_generation(images, real)[0])
    test = sharpness(real.test)
    among = memorisation(real.test, real.train, real.test, leave_one_out=True)
    return metrics | {
        "real/laplacian_variance": test.laplacian_variance,
        "real/grey_share": test.grey_share,
        "real/memorisation": among.ratio,
        "real/confidence": mean_confidence(real.reading.logits),
    }
