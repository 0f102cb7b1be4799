"""All measurements of one model: generation, reconstruction and, for a VAE, likelihood.

The same for every model, through its interface alone. Distances are between as many new images and
the test images; beside them stand the floor (as many real training images) and two ceilings, and
under the sample size at which they were taken: figures of other sizes have other names.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models.checks import check_whole
from gen_models.data import MNISTDataModule
from gen_models.evaluation.classifier import Classifier, Reading
from gen_models.evaluation.distribution import (
    frechet_distance,
    histogram_divergence,
    kernel_distance_interval,
    label_histogram,
    mean_confidence,
    missing_classes,
    precision_recall_density_coverage,
)
from gen_models.evaluation.intervals import Interval
from gen_models.evaluation.latent import measure_latent_space
from gen_models.evaluation.likelihood import (
    active_units,
    bernoulli_log_likelihood,
    binarised,
    importance_weighted_bound,
    negative_elbo,
)
from gen_models.evaluation.pixels import (
    as_bytes,
    memorisation,
    nearest,
    principal_components,
    sharpness,
)
from gen_models.evaluation.reconstruction import (
    component_reconstruction,
    encode_decode,
    error_intervals,
    image_errors,
    inversion_control,
    invert,
)
from gen_models.seeding import generator

log = logging.getLogger(__name__)

SAMPLES = 10_000  # new images, and test images where there are so many
QUICK_SAMPLES = 2000
INVERTED = 256  # test images that are recreated
CONTROLS = 64  # own samples that are recreated
LIKELIHOOD_IMAGES = 1000
SHOWN = 40  # recreated test images in the pictures


class Evaluation(NamedTuple):
    """What was measured."""

    metrics: dict[str, float]  # flat: key -> figure
    arrays: dict[str, Tensor]  # per-image figures, histograms, curves


@dataclass(frozen=True)
class Effort:
    """How hard the two searches try; both figures get better with it, so it is recorded.

    Attributes:
        restarts: Starts of the latent inversion for each image; metric "inversion/restarts".
        iterations: Its steps; metric "inversion/iterations". 8 x 500 for studies.
        importance_samples: K of the importance weighted bound; metric
            "likelihood/importance_samples". 5000 for studies.

    Raises:
        ValueError: One is not a whole number of at least 1; the message names it.
    """

    restarts: int = 4
    iterations: int = 200
    importance_samples: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            check_whole(field.name, getattr(self, field.name), 1)


class Reference(NamedTuple):
    """The real images that every model is measured against."""

    train: Tensor  # (n, 1, 28, 28) float in [0, 1]
    test: Tensor
    reading: Reading  # of `test`
    classifier: Classifier
    labels: Tensor  # of `test`, (n,) int64


def reference(
    datamodule: MNISTDataModule, classifier: Classifier, *, count: int = SAMPLES
) -> Reference:
    """Read the real images once, for any number of models; at most `count` test images.

    The test images come in a fixed order of ours: MNIST's own is by source, and its first half is
    another population than its second.
    """
    train, test = (datamodule.splits[name].images.float().div_(255) for name in ("train", "test"))
    order = torch.randperm(len(test), generator=generator("test order"))
    test, labels = (part[order[:count]] for part in (test, datamodule.splits["test"].labels))
    return Reference(train, test, classifier.read(test), classifier, labels)


def measure_generation(
    images: Tensor, real: Reference
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """How far new images are from the test images, which digits they show, how sharp they are.

    Args:
        images: (n, 1, 28, 28) in [0, 1], as many as there are test images.
        real: What to compare with.
    """
    seen = real.classifier.read(images)
    features = real.reading.features, seen.features
    overlap = precision_recall_density_coverage(*features)
    kernel = kernel_distance_interval(*features, generator=generator("bootstrap"))
    own, real_share = label_histogram(seen.labels), label_histogram(real.reading.labels)
    focus = sharpness(images)
    near = memorisation(images, real.train, real.test)
    metrics = {
        "fid_lenet": frechet_distance(*features),
        **_interval("kid_lenet", kernel),
        **overlap._asdict(),
        "label_kl": histogram_divergence(own, real_share),
        "missing_digits": float(missing_classes(own, real_share)),
        "confidence": mean_confidence(seen.logits),
        **focus._asdict(),
        "memorisation": near.ratio,
    }
    return metrics, {"label_histogram": own}


def measure_reconstruction(
    model: Any, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor], Tensor]:
    """How well the model recreates test images: by its encoder, if it has one, and by inversion.

    Returns:
        Figures, per-image figures, and the recreated images by the better way the model has.
    """
    images = real.test[:INVERTED]
    ways: dict[str, Tensor] = {}
    if hasattr(model, "encode"):
        ways["encoder"] = encode_decode(model, images)
    search: dict[str, Any] = {"restarts": effort.restarts, "steps": effort.iterations}
    found = invert(model, images, **search)
    control, _ = inversion_control(model, min(CONTROLS, len(images)), **search)
    ways["inversion"] = found.images
    fitted = principal_components(real.train, model.latent_dim)
    ways["pca"] = component_reconstruction(fitted, images, model.latent_dim)
    ways["nearest"] = real.train[nearest(images, real.train).indices]
    ways["mean_image"] = real.train.mean(0, keepdim=True).expand_as(images)
    metrics: dict[str, float] = {}
    arrays = {"inversion_curve": found.curve, "inversion_z": found.z}
    for way, made in ways.items():
        errors = image_errors(images, made)
        for name, interval in error_intervals(errors).items():
            metrics |= _interval(f"{way}/{name}", interval)
        arrays[f"{way}_mse"] = errors.mse
    metrics["inversion/control_mse"] = control.mse.mean().item()
    metrics["inversion/control_median_mse"] = control.mse.median().item()
    metrics["inversion/radius"] = found.radius.mean().item()
    metrics["inversion/restarts"] = float(effort.restarts)
    metrics["inversion/iterations"] = float(effort.iterations)
    return metrics, arrays, next(iter(ways.values()))


def measure_likelihood(
    model: Any, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """-ELBO, its parts, active units and the importance weighted bound, nats per image.

    On binarised pixels for a model trained on them: then it is a likelihood. On grey pixels for
    any other, under names that say so, and without a bound.
    """
    log_likelihood = bernoulli_log_likelihood(model.network.decode)
    images = binarised(real.test) if model.binarize else real.test
    elbo = negative_elbo(images, model.encode, log_likelihood, generator=generator("elbo"))
    mean, _ = model.encode(real.test)
    name = "likelihood" if model.binarize else "grey_pixels"
    metrics = {
        f"{name}/negative_elbo": elbo.loss.mean().item(),
        f"{name}/recon": elbo.recon.mean().item(),
        f"{name}/kl": elbo.kl.mean().item(),
        "active_units": float(active_units(mean).sum()),
    }
    arrays = {"negative_elbo": elbo.loss}
    if model.binarize:
        bound = importance_weighted_bound(
            images[:LIKELIHOOD_IMAGES],
            model.encode,
            log_likelihood,
            samples=effort.importance_samples,
            generator=generator("iwae"),
        )
        metrics["likelihood/iwae"] = -bound.mean().item()
        metrics["likelihood/importance_samples"] = float(effort.importance_samples)
        arrays["iwae"] = bound
    return metrics, arrays


@torch.no_grad()
def measure(
    model: Any,
    real: Reference,
    *,
    effort: Effort | None = None,
    say: Callable[[str], None] = log.info,
) -> Evaluation:
    """Everything that is measured of one model; it is left in eval mode.

    Args:
        model: With the interface of every model; on the CPU.
        real: What to measure against.
        effort: Of the searches; None means the default.
        say: Called with a line before each part.
    """
    model.eval()
    effort = effort or Effort()
    say(f"drawing {len(real.test):,} images and measuring their distance to the test images")
    images = _drawn(model, len(real.test))
    metrics, arrays = measure_generation(images, real)
    say(f"recreating {min(INVERTED, len(real.test))} test images")
    errors, per_image, recreated = measure_reconstruction(model, real, effort)
    metrics |= errors
    arrays |= per_image
    if hasattr(model, "encode"):
        say("bounding the likelihood" if model.binarize else "measuring the ELBO on grey pixels")
        bounds, per_image = measure_likelihood(model, real, effort)
        metrics |= bounds
        arrays |= per_image
    say("looking into the latent space")
    encoded = hasattr(model, "encode")
    z = model.encode(real.test[:INVERTED])[0] if encoded else arrays["inversion_z"]
    arrays |= measure_latent_space(model, real.test, z)
    arrays["test_labels"] = real.labels
    arrays["pictures_test"] = as_bytes(real.test[:SHOWN])
    arrays["pictures_recreated"] = as_bytes(recreated[:SHOWN])
    metrics["samples"] = float(len(images))
    return Evaluation(metrics, arrays)


@torch.no_grad()
def measure_quick(model: Any, real: Reference) -> dict[str, float]:
    """Distances of as many new images as `real` has, and the encoder's reconstruction."""
    model.eval()
    metrics, _ = measure_generation(_drawn(model, len(real.test)), real)
    if hasattr(model, "encode"):
        images = real.test[:INVERTED]
        errors = image_errors(images, encode_decode(model, images))
        for name, interval in error_intervals(errors).items():
            metrics |= _interval(f"encoder/{name}", interval)
    metrics["samples"] = float(len(real.test))
    return metrics


def _drawn(model: Any, count: int) -> Tensor:
    chunks = torch.arange(count).split(1000)
    drawn = [model.sample(len(c), generator("evaluation", i)) for i, c in enumerate(chunks)]
    return torch.cat(drawn).float()


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}


def prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    """The same figures as "prefix/key"."""
    return {f"{prefix}/{key}": value for key, value in metrics.items()}
