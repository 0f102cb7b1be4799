"""All measurements of one model: generation, reconstruction and, if it has one, likelihood.

They are the same for every model. Distances are those of the test images to as many new images;
metrics of another sample size have other names. Without labels, what is said of classes is left
out, and all else is the same. What says nothing of an invertible model is left out too.
"""

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.evaluation.classes import measure_classes, measure_shown_classes
from gen_models.evaluation.reference import Reference
from gen_models.figures import as_bytes
from gen_models.metrics import distribution, likelihood, pixels
from gen_models.metrics.distribution import mean_interval
from gen_models.metrics.latent import measure_latent_space
from gen_models.metrics.reconstruction import (
    CANDIDATES,
    RESTARTS,
    STEPS,
    image_errors,
    inversion_control,
    invert,
)
from gen_models.models.interface import (
    CHUNK,
    Density,
    Encoder,
    GenerativeModel,
    Likelihood,
    draw,
    encode_means,
    latent_means,
    reconstruct,
)
from gen_models.models.sampler import without_sampler
from gen_models.seeding import generator
from gen_models.terminal import Say

log = logging.getLogger(__name__)

INVERTED = 256  # test images that are recreated
CONTROLS = 64  # samples of its own that a model recreates
BOUNDED = 1000  # test images whose likelihood is bounded
DENSITIES = 250  # test images whose density is computed: a minute
SHOWN = 40  # recreated test images in the pictures


class Evaluation(NamedTuple):
    """The results of measuring a model."""

    metrics: dict[str, float]  # flat: key -> number
    arrays: dict[str, Tensor]  # per-image metrics, curves, pictures


class Effort(NamedTuple):
    """How long the searches go on and how many images they take, which metrics record.

    Longer searches find better values.

    Attributes:
        restarts: Starts of the latent inversion for each image, at most as many as there are
            candidates of its class, 1,000 of ten; metric "inversion/restarts".
        iterations: Its steps; metric "inversion/iterations".
        importance_samples: K of the importance weighted bound; metric
            "likelihood/importance_samples". 5000 for studies.
        likelihood_images: Test images whose likelihood is measured, or all if there are fewer;
            metric "likelihood/images". None: 1,000, of a `Density`, which takes longer, 250;
            10,000 for studies. 2 at least.
    """

    restarts: int = RESTARTS
    iterations: int = STEPS
    importance_samples: int = 1000
    likelihood_images: int | None = None


def measure_generation(images: Tensor, real: Reference) -> dict[str, float]:
    """How far new images are from the test images, which classes they show, how sharp they are.

    Without a classifier, nothing is said of classes.

    Args:
        images: (n, c, h, w) in [0, 1], as many as there are test images.
        real: The images to compare with.
    """
    reading = real.classifier.read(images)
    features = real.reading.features, reading.features
    overlap = distribution.precision_recall_density_coverage(*features)
    each = min(len(real.train), len(real.test))  # training and test images, for the nearest
    train = torch.randperm(len(real.train), generator=generator("memorisation"))[:each]
    near = pixels.memorisation(images, real.train[train], real.test[:each])
    metrics = {
        "fid_lenet": distribution.frechet_distance(*features),
        "kid_lenet": distribution.kernel_distance(*features),
        **overlap._asdict(),
        **measure_shown_classes(reading, real),
        **pixels.sharpness(images),
        **mean_interval("memorisation", near),
    }
    for name, space in real.spaces.items():
        metrics[f"features/{name}"] = distribution.frechet_distance(
            space.read(real.test), space.read(images)
        )
    return metrics


def measure_new_images(model: GenerativeModel, real: Reference) -> dict[str, float]:
    """`measure_generation` of as many new images as there are test images, and their classes."""
    count = len(real.test)
    metrics = measure_generation(draw_evaluated(model, count), real)
    return metrics | measure_classes(model, real) | {"samples": float(count)}


def measure_reconstruction(
    model: GenerativeModel, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor], Tensor]:
    """How well the model recreates test images: with its encoder, if it has one, and by inversion.

    An invertible model's encoder already finds the z of each image, which is as large as the image:
    there is no search, and no comparison with as many principal components.

    Returns:
        Metrics, per-image metrics, and the recreated images: the encoder's, if the model has one.
    """
    images, labels = Split(real.test, real.labels).take(slice(INVERTED))
    ways: dict[str, Tensor] = {}
    metrics = {"latent_dim": float(model.noise_dim)}
    if isinstance(model, Encoder):
        ways["encoder"] = reconstruct(model, images, labels)
    if isinstance(model, Encoder) and model.invertible:
        arrays = {"inversion_z": encode_means(model, images, labels)}
    else:
        inversion = invert(model, images, labels, restarts=effort.restarts, steps=effort.iterations)
        arrays = {"inversion_curve": inversion.curve, "inversion_z": inversion.z}
        ways["inversion"] = inversion.images
        ways["pca"] = real.components(model.noise_dim).project(images)
    ways["nearest"] = real.train[pixels.nearest(images, real.train).indices]
    ways["mean_image"] = real.train.mean(0, keepdim=True).expand_as(images)
    for way, recreated in ways.items():
        errors = image_errors(images, recreated)
        metrics |= _error_intervals(way, errors)
        arrays[f"{way}_mse"] = errors["mse"]
    if "inversion" in ways:
        own = None if labels is None else labels[:CONTROLS]
        control = inversion_control(
            model, min(CONTROLS, len(images)), own,
            restarts=effort.restarts, steps=effort.iterations,
        )  # fmt: skip
        error = control.mse.mean().item()
        metrics |= {
            "inversion/control_mse": error,
            "inversion/control_median_mse": control.mse.median().item(),
            "inversion/control_share": error / metrics["inversion/mse"],
            "inversion/radius": inversion.radius.mean().item(),
            "inversion/images": float(len(images)),
            "inversion/candidates": float(CANDIDATES),
            "inversion/restarts": float(effort.restarts),
            "inversion/iterations": float(effort.iterations),
        }
    return metrics, arrays, next(iter(ways.values()))


def measure_encoder(
    model: Encoder, real: Reference, effort: Effort
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Active units and, for a model with a likelihood, -ELBO and its parts; nats per image.

    A model trained on binarised pixels is measured on them, with the importance weighted bound of
    the same images: this is a likelihood. Any other is measured on grey pixels, and the metrics are
    named after that: a cross-entropy, or a density of grey pixels, without a bound. A `Density`
    has bits per dimension instead, and no active units.
    """
    if isinstance(model, Density):
        images, labels = Split(real.test, real.labels).take(
            slice(effort.likelihood_images or DENSITIES)
        )
        bits = likelihood.bits_per_dim(model, images, labels, generator=generator("dequantise"))
        metrics = mean_interval("likelihood/bits_per_dim", bits)
        return metrics | {"likelihood/images": float(len(images))}, {"bits_per_dim": bits}
    binary = isinstance(model, Likelihood) and model.binarize
    images = likelihood.binarised(real.test) if binary else real.test
    units = likelihood.active_units(latent_means(model, images, real.labels))
    metrics = {"active_units": float(units.sum())}
    if not isinstance(model, Likelihood):
        return metrics, {}
    name, count = "grey_density" if model.density else "grey_pixels", len(images)
    if binary:
        name, count = "likelihood", min(count, effort.likelihood_images or BOUNDED)
    images, labels = Split(images, real.labels).take(slice(count))
    elbo = likelihood.negative_elbo(model, images, labels, generator=generator("elbo"))
    metrics |= mean_interval(f"{name}/negative_elbo", elbo.loss)
    metrics |= {f"{name}/recon": elbo.recon.mean().item(), f"{name}/kl": elbo.kl.mean().item()}
    arrays = {"negative_elbo": elbo.loss}
    if binary:
        bound = likelihood.importance_weighted_bound(
            model,
            images,
            labels,
            samples=effort.importance_samples,
            generator=generator("iwae"),
        )
        metrics |= mean_interval("likelihood/iwae", -bound)
        metrics["likelihood/importance_samples"] = float(effort.importance_samples)
        metrics["likelihood/images"] = float(count)
        arrays["iwae"] = bound
    return metrics, arrays


@torch.no_grad()
def measure(
    model: GenerativeModel,
    real: Reference,
    *,
    effort: Effort | None = None,
    say: Say = log.info,
) -> Evaluation:
    """Measure everything of one model.

    Args:
        model: In eval mode, on the device of `real`. A `WithSampler`'s encoder and likelihood are
            measured with the prior that it was trained with; all else with its sampler.
        real: The images to compare with.
        effort: Effort of the searches; None means the default.
        say: Called with a line before each part.
    """
    effort = effort or Effort()
    say(f"drawing {len(real.equal.test):,} images and measuring their distance to the test images")
    metrics = measure_new_images(model, real.equal)
    say(f"recreating {min(INVERTED, len(real.test))} test images")
    errors, arrays, recreated = measure_reconstruction(model, real, effort)
    metrics |= errors
    z = arrays["inversion_z"]
    trained = without_sampler(model)
    if isinstance(trained, Encoder):
        say("measuring its encoder")
        encoded, per_image = measure_encoder(trained, real, effort)
        metrics |= encoded
        arrays |= per_image
        z = encode_means(trained, *Split(real.test, real.labels).take(slice(INVERTED)))
    say("looking into the latent space")
    arrays |= measure_latent_space(model, real.test, z, labels=real.labels)
    if real.labels is not None:
        arrays["test_labels"] = real.labels
    arrays["pictures_test"] = as_bytes(real.test[:SHOWN])
    arrays["pictures_recreated"] = as_bytes(recreated[:SHOWN])
    return Evaluation(metrics, arrays)


@torch.no_grad()
def measure_quick(model: GenerativeModel, real: Reference) -> dict[str, float]:
    """Distances of as many new images as `real` has, and the encoder's reconstruction."""
    metrics = measure_new_images(model, real.equal)
    if isinstance(model, Encoder):
        images, labels = Split(real.test, real.labels).take(slice(INVERTED))
        errors = image_errors(images, reconstruct(model, images, labels))
        metrics |= _error_intervals("encoder", errors)
    return metrics


def draw_evaluated(model: GenerativeModel, count: int) -> Tensor:
    """The new images of every measurement, (count, c, h, w) in [0, 1]: their noise is fixed."""
    return draw(model, count, lambda start: generator("evaluation", start // CHUNK))


def _error_intervals(way: str, errors: dict[str, Tensor]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, values in errors.items():
        metrics |= mean_interval(f"{way}/{name}", values)
    return metrics


def prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    """The same metrics as "prefix/key"."""
    return {f"{prefix}/{key}": value for key, value in metrics.items()}
