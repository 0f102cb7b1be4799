"""Fits a run's sampler: Gaussian mixtures, to the encoder's means of training images.

Ghosh et al. 2020, section 4, fit the same to the codes of their autoencoders; Dai & Wipf 2019,
"Diagnosing and Enhancing VAE Models", a second VAE to draws of q(z | x). Fitted here to the means:
the decoder of a mean makes no blur of the posterior's noise, and units that the encoder does not
use stay at rest. Choices are made on the validation images; the test images are not read. On the
CPU, as scikit-learn.
"""

import math
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen_models.data.dataset import Split
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError, first_line
from gen_models.metrics.classifier import Classifier, some
from gen_models.metrics.distribution import frechet_distance
from gen_models.models.interface import Encoder, GenerativeModel, latent_means
from gen_models.models.sampler import WithSampler, no_sampler
from gen_models.runs.classifier import find_classifier, load_run_data
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import write_sampler
from gen_models.runs.weights import load_model
from gen_models.seeding import derive_seed, generator
from gen_models.terminal import Say
from gen_models.training.validation import MOST, OBJECTIVE

COMPONENTS = (1, 2, 5, 10, 20, 50, 100)  # of each mixture; in this order, as long as it helps
FITTED = 20_000  # training images at most: more take minutes
ITERATIONS = 100  # of expectation-maximisation, at most
TOLERANCE = 0.01  # nats an image: an iteration that gains less is the last


class Mixtures(NamedTuple):
    """A Gaussian mixture with full covariances for each class."""

    tensors: dict[str, Tensor]  # "weights", "means" and "factors", as `WithSampler` takes them
    log_likelihood: float  # nats, mean over the held-out codes


@torch.random.fork_rng(devices=[])
def fit_sampler(
    run: str | Path,
    *,
    kind: str,
    seed: int = 0,
    model: GenerativeModel | None = None,
    datamodule: MNISTDataModule | None = None,
    data_root: str | Path | None = None,
    say: Say,
) -> None:
    """Fit a sampler and keep it in the run; new images of the run are then drawn with it.

    Args:
        run: A finished run's directory.
        kind: "normal", one Gaussian; "gmm", a mixture of so many that the validation images'
            codes are likeliest. A conditional model has one a class, all of one size.
        seed: Seed of the choice of training images and of the fit.
        model: The run's, in eval mode on the CPU; None: it is loaded.
        datamodule: The run's, set up; None: it is loaded.
        data_root: Folder of the data sets from which they are loaded; None means the run's.
        say: Called with a line for each step.

    Raises:
        UserError: Not a finished run, or no sampler can be fitted to its model.
    """
    directory = RunDirectory(run)
    model = load_model(run, sampler=False) if model is None else model
    if reason := no_sampler(model):
        raise UserError(
            f"{directory.path}: a {type(model).__name__} {reason}, so no sampler can be fitted: "
            "name a VAE's run"
        )
    assert isinstance(model, Encoder)
    with directory.lock():
        if datamodule is None or datamodule.train_on_validation:  # the choice is made on those
            datamodule = load_run_data(directory, data_root)
        train, held_out = datamodule.splits["train"], datamodule.splits["validation"]
        rows = torch.randperm(len(train.images), generator=generator(seed, "sampler"))[:FITTED]
        train = train.take(rows)
        say(f"fitting to the encoder's means of {len(rows):,} training images")
        codes, held_codes = (_codes(model, split) for split in (train, held_out))
        counts = COMPONENTS if kind == "gmm" else (1,)
        try:
            results = choose_mixtures(codes, held_codes, counts, seed=seed, say=say)
        except ValueError as error:  # of scikit-learn
            raise UserError(f"{directory.path}: cannot be fitted: {first_line(error)}") from error
        count, best = max(results.items(), key=lambda item: item[1].log_likelihood)
        name = f"gmm-{count}" if kind == "gmm" else kind
        say("measuring it on the validation images")
        classifier = find_classifier(datamodule, say)
        sampled = WithSampler(model, name, **best.tensors)
        distances = {
            drawn: validation_distance(each, some(held_out, MOST).images, classifier)
            for drawn, each in {"prior": model, name: sampled}.items()
        }
        record = {
            "name": name,
            "kind": kind,
            "components": count,
            "held_out_log_likelihood": {k: each.log_likelihood for k, each in results.items()},
            "seed": seed,
            "images": len(rows),
            OBJECTIVE: distances,
            "scikit-learn": version("scikit-learn"),
        }
        write_sampler(directory, best.tensors, record)
    for drawn, distance in distances.items():
        say(f"  {OBJECTIVE} {distance:.2f}, z from the {drawn}")
    say(f"  {directory.sampler}")


def remove_sampler(run: str | Path) -> None:
    """Delete a run's sampler: it draws from its prior again.

    Raises:
        UserError: It has none.
    """
    directory = RunDirectory(run)
    if not directory.sampler.exists():
        raise UserError(f"{directory.path}: has no sampler: it draws from its prior")
    with directory.lock():
        directory.sampler.unlink()


def choose_mixtures(
    codes: list[np.ndarray],
    held_out: list[np.ndarray],
    counts: tuple[int, ...],
    *,
    seed: int,
    say: Say = lambda line: None,
) -> dict[int, Mixtures]:
    """Mixtures of each number of components, in order, until the held-out codes get no likelier.

    Both lists have the codes of each class, (n, d) float64.
    """
    results: dict[int, Mixtures] = {}
    best = -math.inf
    for count in counts:
        if count > min((len(part) for part in codes if len(part) > 1), default=0):
            break
        results[count] = fit_mixtures(codes, held_out, count, seed=seed)
        reached = results[count].log_likelihood
        say(f"  components {count}: a log-likelihood of {reached:.2f} nats per validation image")
        if reached <= best:
            break
        best = reached
    return results


def fit_mixtures(
    codes: list[np.ndarray], held_out: list[np.ndarray], count: int, *, seed: int
) -> Mixtures:
    """A mixture of `count` Gaussians for each class, fitted by scikit-learn.

    A class with fewer than two images gets a mixture of all images.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations change no picture
        for index, part in enumerate(codes):
            start = derive_seed(seed, "mixture", index, count)
            mixture = GaussianMixture(count, tol=TOLERANCE, max_iter=ITERATIONS, random_state=start)
            fitted.append(mixture.fit(part if len(part) > 1 else np.concatenate(codes)))
    total = sum(
        float(mixture.score_samples(part).sum())
        for mixture, part in zip(fitted, held_out, strict=True)
        if len(part)
    )
    weights, means, covariances = (
        torch.from_numpy(np.stack([getattr(mixture, name) for mixture in fitted]))
        for name in ("weights_", "means_", "covariances_")
    )
    factors = torch.linalg.cholesky(covariances).contiguous()
    tensors = {"weights": weights.float(), "means": means.float(), "factors": factors.float()}
    return Mixtures(tensors, total / sum(map(len, held_out)))


@torch.no_grad()
def validation_distance(model: GenerativeModel, images: Tensor, classifier: Classifier) -> float:
    """`val/fid_lenet` as measured during training: as many new images, from the same noise."""
    new = model.sample(len(images), generator("validation distance")).float()
    return frechet_distance(classifier.read(images).features, classifier.read(new).features)


def _codes(model: Encoder, split: Split) -> list[np.ndarray]:
    """The encoder's means, (n, d) float64; of a conditional model by class, without the label."""
    means = latent_means(model, split.images.float() / 255, split.labels).double()
    if not model.conditional:
        return [means.numpy()]
    return [means[split.labels == label].numpy() for label in range(model.classes)]
