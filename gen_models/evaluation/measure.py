"""All measurements of one model: generation, reconstruction and, where it has one, likelihood.

The same for every model, through its interface alone. Distances are between as many new images and
the test images; metrics of another sample size have other names.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models.checks import check_whole
from gen_models.data.datasets import Split
from gen_models.metrics.classifier import Classifier, Reading
from gen_models.metrics.distribution import (
    frechet_distance,
    histogram_divergence,
    kernel_distance,
    label_histogram,
    mean_confidence,
    missing_classes,
    precision_recall_density_coverage,
)
from gen_models.metrics.intervals import Interval
from gen_models.metrics.latent import measure_latent_space
from gen_models.metrics.likelihood import (
    active_units,
    binarised,
    importance_weighted_bound,
    negative_elbo,
)
from gen_models.metrics.pixels import (
    as_bytes,
    memorisation,
    nearest,
    principal_components,
    sharpness,
)
from gen_models.metrics.reconstruction import (
    component_reconstruction,
    error_intervals,
    image_errors,
    inversion_control,
    invert,
)
from gen_models.models.interface import (
    CHUNK,
    Encoder,
    GenerativeModel,
    Likelihood,
    draw,
    encode_means,
    reconstruct,
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

    metrics: dict[str, float]  # flat: key -> number
    arrays: dict[str, Tensor]  # per-image metrics, histograms, curves


@dataclass(frozen=True)
class Effort:
    """How hard the two searches try; both metrics get better with it, so it is recorded.

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
    splits: dict[str, Split], classifier: Classifier, *, count: int = SAMPLES
) -> Reference:
    """Read the real images once, for any number of models; at most `count` test images.

    The test images come in a fixed order of ours: MNIST's own is by source, and its first half is
    another population than its second.
    """
    train, test = (splits[name].images.float().div_(255) for name in ("train", "test"))
    order = torch.randperm(len(test), generator=generator("test order"))
    test, labels = (part[order[:count]] for part in (test, splits["test"].labels))
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
    own, real_share = label_histogram(seen.labels), label_histogram(real.reading.labels)
    focus = sharpness(images)
    near = memorisation(images, real.train, real.test)
    metrics = {
        "fid_lenet": frechet_distance(*features),
        "kid_lenet": kernel_distance(*features),
        **overlap._asdict(),
        "label_kl": histogram_divergence(own, real_share),
        "missing_digits": float(missing_classes(own, real_share)),
        "confidence": mean_confidence(seen.logits),
        **focus._asdict(),
        "memorisation": near.ratio,
    }
    return metrics, {"label_histogram": own}


def measure_reconstruction(
    model: GenerativeModel, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor], Tensor]:
    """How well the model recreates test images: by its encoder, if it has one, and by inversion.

    Returns:
        Metrics, per-image metrics, and the recreated images by the better way the model has.
    """
    images, labels = real.test[:INVERTED], real.labels[:INVERTED]
    ways: dict[str, Tensor] = {}
    if isinstance(model, Encoder):
        ways["encoder"] = reconstruct(model, images, labels)
    search: dict[str, Any] = {"restarts": effort.restarts, "steps": effort.iterations}
    found = invert(model, images, labels, **search)
    control, _ = inversion_control(model, len(labels[:CONTROLS]), labels[:CONTROLS], **search)
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


def measure_encoder(
    model: Encoder, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Active units and, of a model with a likelihood, -ELBO and its parts; nats per image.

    On binarised pixels for a model trained on them, with the importance weighted bound: then it is
    a likelihood. On grey pixels for any other, under names that say so, and without a bound.
    """
    means = encode_means(model, real.test, real.labels)
    metrics = {"active_units": float(active_units(means).sum())}
    if not isinstance(model, Likelihood):
        return metrics, {}
    images = binarised(real.test) if model.binarize else real.test
    elbo = negative_elbo(model, images, labels=real.labels, generator=generator("elbo"))
    name = "likelihood" if model.binarize else "grey_pixels"
    metrics |= {f"{name}/negative_elbo": elbo.loss.mean().item()}
    metrics |= {f"{name}/recon": elbo.recon.mean().item(), f"{name}/kl": elbo.kl.mean().item()}
    arrays = {"negative_elbo": elbo.loss}
    if model.binarize:
        bound = importance_weighted_bound(
            model,
            images[:LIKELIHOOD_IMAGES],
            labels=real.labels[:LIKELIHOOD_IMAGES],
            samples=effort.importance_samples,
            generator=generator("iwae"),
        )
        metrics["likelihood/iwae"] = -bound.mean().item()
        metrics["likelihood/importance_samples"] = float(effort.importance_samples)
        arrays["iwae"] = bound
    return metrics, arrays


@torch.no_grad()
def measure(
    model: GenerativeModel,
    real: Reference,
    *,
    effort: Effort | None = None,
    say: Callable[[str], None] = log.info,
) -> Evaluation:
    """Everything that is measured of one model.

    Args:
        model: In eval mode, on the CPU.
        real: What to measure against.
        effort: Of the searches; None means the default.
        say: Called with a line before each part.
    """
    effort = effort or Effort()
    say(f"drawing {len(real.test):,} images and measuring their distance to the test images")
    images = _drawn(model, len(real.test))
    metrics, arrays = measure_generation(images, real)
    say(f"recreating {min(INVERTED, len(real.test))} test images")
    errors, per_image, recreated = measure_reconstruction(model, real, effort)
    metrics |= errors
    arrays |= per_image
    z = arrays["inversion_z"]
    if isinstance(model, Encoder):
        say("measuring its encoder")
        encoded, per_image = measure_encoder(model, real, effort)
        metrics |= encoded
        arrays |= per_image
        z = encode_means(model, real.test[:INVERTED], real.labels[:INVERTED])
    say("looking into the latent space")
    arrays |= measure_latent_space(model, real.test, z, labels=real.labels)
    arrays["test_labels"] = real.labels
    arrays["pictures_test"] = as_bytes(real.test[:SHOWN])
    arrays["pictures_recreated"] = as_bytes(recreated[:SHOWN])
    metrics["samples"] = float(len(images))
    return Evaluation(metrics, arrays)


@torch.no_grad()
def measure_quick(model: GenerativeModel, real: Reference) -> dict[str, float]:
    """Distances of as many new images as `real` has, and the encoder's reconstruction."""
    metrics, _ = measure_generation(_drawn(model, len(real.test)), real)
    if isinstance(model, Encoder):
        images = real.test[:INVERTED]
        errors = image_errors(images, reconstruct(model, images, real.labels[:INVERTED]))
        for name, interval in error_intervals(errors).items():
            metrics |= _interval(f"encoder/{name}", interval)
    metrics["samples"] = float(len(real.test))
    return metrics


def _drawn(model: GenerativeModel, count: int) -> Tensor:
    return draw(model, count, lambda start: generator("evaluation", start // CHUNK))


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}


def prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    """The same metrics as "prefix/key"."""
    return {f"{prefix}/{key}": value for key, value in metrics.items()}
