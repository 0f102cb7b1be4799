"""Floor and ceilings of every distance: the best to expect, and what any model should beat.

They are the same for every run on a data set, so they are measured once and kept in a cache.
"""

import hashlib
import os

import torch

from gen_models.errors import UserError
from gen_models.evaluation.measure import measure_generation, prefixed
from gen_models.evaluation.reference import COMPONENTS, Reference
from gen_models.files import cache_folder, file_name, read_json, write_json
from gen_models.metrics import pixels
from gen_models.metrics.distribution import mean_confidence
from gen_models.runs.identity import PACKAGE, hash_code
from gen_models.seeding import generator
from gen_models.terminal import Say

CODE = ("seeding.py", "metrics/*.py", "evaluation/*.py")  # on which the bounds depend


def find_bounds(name: str, real: Reference, say: Say) -> dict[str, float]:
    """The bounds for the sample size of `real`, from the cache if nothing has changed."""
    real = real.equal
    count = len(real.test)
    code = hash_code(file for pattern in CODE for file in PACKAGE.glob(pattern))
    spaces = {name: space.version for name, space in real.spaces.items()}
    facts = code, torch.__version__, real.classifier.record["sha256"], real.class_names, spaces
    digest = hashlib.sha256(str(facts).encode())
    for images in (real.train, real.validation, real.test):
        digest.update(images.cpu().contiguous().numpy().data)
    cache = cache_folder()
    file = cache and cache / f"bounds-{file_name(name)}-{count}-{digest.hexdigest()[:16]}.json"
    if file and os.path.exists(file):  # Path's own raises in a folder that is not ours to read
        try:
            return read_json(file)
        except UserError as error:
            say(f"{error}: measuring again")
    nowhere = "there is no home directory to keep it in (XDG_CACHE_HOME=FOLDER names another)"
    kept = f"kept in {file}" if file else nowhere
    say(f"measuring what {count:,} real images and crude models of {name} reach, once; {kept}")
    bounds = measure_bounds(real)
    if file:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, bounds)
        except OSError as error:
            say(f"{cache}: cannot be written ({error.strerror}), so they will be measured again")
    return bounds


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
    floor = measure_generation(unseen, real.of_first(len(unseen)))
    metrics = prefixed("floor", floor) | {"floor/samples": float(len(unseen))}
    for name, images in (("noise", noise), ("gaussian", gaussian)):
        metrics |= prefixed(name, measure_generation(images, real))
    metrics |= prefixed("real", pixels.sharpness(real.test))
    metrics["real/memorisation"] = floor["memorisation"]
    if real.reading.logits is not None:
        metrics["real/confidence"] = mean_confidence(real.reading.logits)
        if "missing_classes" in floor:
            metrics["real/classes"] = float(len(real.class_names))
    return metrics
