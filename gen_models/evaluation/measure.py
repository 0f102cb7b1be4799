"""All measurements of one model: generation, reconstruction and, if it has one, likelihood.

They are the same for every model. Distances are those of the test images to as many new images;
metrics of another sample size have other names. Without labels, what is said of classes is left
out, and all else is the same. What says nothing of a `Density` is left out too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.evaluation.reference import Reference
from gen_models.figures import as_bytes
from gen_models.metrics import distribution, likelihood, pixels
from gen_models.metrics.classifier import Reading
from gen_models.metrics.distribution import mean_interval
from gen_models.metrics.latent import ACTIVE_ABOVE, measure_latent_space, unit_activity
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
    reconstruct,
)
from gen_models.models.networks import require_labels
from gen_models.models.sampler import without_sampler
from gen_models.seeding import generator
from gen_models.terminal import Say

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
    """How long the searches last and how many images they take; longer ones find better values.

    Metrics record it: "inversion/restarts", "inversion/iterations", "likelihood/importance_samples"
    and "likelihood/images".
    """

    restarts: int = RESTARTS  # of the latent inversion; at most the candidates of a class
    iterations: int = STEPS  # its steps
    importance_samples: int = 1000  # K of the importance weighted bound; studies take 5,000
    likelihood_images: int | None = None  # 2 or more; None: 1,000, or 250 of a `Density`


def measure_generation(images: Tensor, real: Reference) -> dict[str, float]:
    """How far new images are from as many test images, which classes they show, how sharp they are.

    Without a classifier, nothing is said of classes.
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


def measure_shown_classes(reading: Reading, real: Reference) -> dict[str, float]:
    """Which classes new images show, by the classifier; nothing without one."""
    own, share = reading.shares, real.reading.shares
    if own is None or share is None or reading.logits is None:
        return {}
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


def measure_new_images(model: GenerativeModel, real: Reference) -> dict[str, float]:
    """`measure_generation` of as many new images as there are test images, and their classes."""
    count = len(real.test)
    metrics = measure_generation(draw_evaluated(model, count), real)
    return metrics | measure_classes(model, real) | {"samples": float(count)}


def measure_reconstruction(model: GenerativeModel, real: Reference, effort: Effort) -> Evaluation:
    """How well the model recreates test images: with its encoder, if it has one, and by inversion.

    The encoder of a `Density` already finds the z of each image, which is as large as the image:
    there is no search, and no comparison with as many principal components. The picture is of the
    encoder's images, if the model has one.
    """
    images, labels = real.first(INVERTED)
    search = {"restarts": effort.restarts, "steps": effort.iterations}
    ways: dict[str, Tensor] = {}
    metrics = {"latent_dim": float(model.noise_dim)}
    if isinstance(model, Encoder):
        ways["encoder"] = reconstruct(model, images, labels)
    if isinstance(model, Density):
        arrays = {"inversion_z": encode_means(model, images, labels)}
    else:
        inversion = invert(model, images, labels, **search)
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
        control = inversion_control(model, min(CONTROLS, len(images)), own, **search)
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
    recreated = next(iter(ways.values()))
    return Evaluation(metrics, arrays | {"pictures_recreated": as_bytes(recreated[:SHOWN])})


def measure_encoder(model: Encoder, real: Reference, effort: Effort) -> Evaluation:
    """Active units and, for a model with a likelihood, -ELBO and its parts; nats per image.

    A model trained on binarised pixels is measured on them, with the importance weighted bound of
    the same images: this is a likelihood. Any other is measured on grey pixels, and the metrics are
    named after that: a cross-entropy, or a density of grey pixels, without a bound. A `Density`
    has bits per dimension instead, and no active units.
    """
    if isinstance(model, Density):
        images, labels = real.first(effort.likelihood_images or DENSITIES)
        bits = likelihood.bits_per_dim(model, images, labels, generator=generator("dequantise"))
        metrics = mean_interval("likelihood/bits_per_dim", bits)
        metrics["likelihood/images"] = float(len(images))
        return Evaluation(metrics, {"bits_per_dim": bits})
    binary = isinstance(model, Likelihood) and model.binarize
    images = likelihood.binarised(real.test) if binary else real.test
    active = unit_activity(model, images, real.labels) > ACTIVE_ABOVE
    metrics = {"active_units": float(active.sum())}
    if not isinstance(model, Likelihood):
        return Evaluation(metrics, {})
    name, count = "grey_density" if model.density else "grey_pixels", len(images)
    if binary:
        name, count = "likelihood", min(count, effort.likelihood_images or BOUNDED)
    images, labels = Split(images, real.labels).take(slice(count))
    recon, kl = likelihood.negative_elbo(model, images, labels, generator=generator("elbo"))
    arrays = {"negative_elbo": recon + kl}
    metrics |= mean_interval(f"{name}/negative_elbo", recon + kl)
    metrics |= {f"{name}/recon": recon.mean().item(), f"{name}/kl": kl.mean().item()}
    if binary:
        bound = likelihood.importance_weighted_bound(
            model, images, labels, samples=effort.importance_samples, generator=generator("iwae")
        )
        metrics |= mean_interval("likelihood/iwae", -bound)
        metrics["likelihood/importance_samples"] = float(effort.importance_samples)
        metrics["likelihood/images"] = float(count)
        arrays["iwae"] = bound
    return Evaluation(metrics, arrays)


@torch.no_grad()
def measure(
    model: GenerativeModel,
    real: Reference,
    effort: Effort | None = None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Measure everything of one model, which is in eval mode, on the device of `real`.

    A `WithSampler`'s encoder and likelihood are measured with the prior that it was trained with;
    all else with its sampler.
    """
    effort = effort or Effort()
    say(f"drawing {len(real.equal.test):,} images and measuring their distance to the test images")
    metrics = measure_new_images(model, real.equal)
    say(f"recreating {min(INVERTED, len(real.test))} test images")
    parts = [measure_reconstruction(model, real, effort)]
    z = parts[0].arrays["inversion_z"]
    trained = without_sampler(model)
    if isinstance(trained, Encoder):
        say("measuring its encoder")
        parts.append(measure_encoder(trained, real, effort))
        z = encode_means(trained, *real.first(INVERTED))
    say("looking into the latent space")
    arrays = measure_latent_space(model, real.test, z, labels=real.labels)
    arrays["pictures_test"] = as_bytes(real.test[:SHOWN])
    if real.labels is not None:
        arrays["test_labels"] = real.labels
    for part in parts:
        metrics |= part.metrics
        arrays |= part.arrays
    return Evaluation(metrics, arrays)


@torch.no_grad()
def measure_quick(model: GenerativeModel, real: Reference) -> Evaluation:
    """Distances of as many new images as `real` has, and the encoder's reconstruction."""
    metrics = measure_new_images(model, real.equal)
    if isinstance(model, Encoder):
        images, labels = real.first(INVERTED)
        errors = image_errors(images, reconstruct(model, images, labels))
        metrics |= _error_intervals("encoder", errors)
    return Evaluation(metrics, {})


def draw_evaluated(model: GenerativeModel, count: int) -> Tensor:
    """The new images of every measurement, (count, c, h, w) in [0, 1]: their noise is fixed."""
    return draw(model, count, lambda start: generator("evaluation", start // CHUNK))


def _error_intervals(way: str, errors: dict[str, Tensor]) -> dict[str, float]:
    parts = [mean_interval(f"{way}/{name}", values) for name, values in errors.items()]
    return {key: value for part in parts for key, value in part.items()}


def prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    """The same metrics as "prefix/key"."""
    return {f"{prefix}/{key}": value for key, value in metrics.items()}
