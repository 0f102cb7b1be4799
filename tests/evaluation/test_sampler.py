"""`gen-models fit-sampler`: what is fitted, what is drawn by it, and whose it is."""

import shutil
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import train
from sklearn.mixture import GaussianMixture
from synthetic import make_run
from test_cli import call
from toy import Toy

from gen_models.comparison.compare import compare
from gen_models.data.module import load_data
from gen_models.errors import UserError
from gen_models.evaluation import fit_sampler as fitting
from gen_models.evaluation.evaluate import evaluate_run, evaluate_trained
from gen_models.evaluation.measure import Effort
from gen_models.files import read_json
from gen_models.metrics.reconstruction import invert, prior_reach
from gen_models.models.gan import GAN
from gen_models.models.interface import (
    Encoder,
    Likelihood,
    encode_means,
)
from gen_models.models.sampler import WithSampler, without_sampler
from gen_models.models.vae import VAE
from gen_models.runs import load_model
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import read_record
from gen_models.runs.weights import save_model
from gen_models.seeding import generator

CENTRES = np.array([[-4.0, 0.0], [0.0, 5.0], [4.0, 0.0]])


def clouds(count: int, seed: int) -> np.ndarray:
    """Points of three long, turned clouds, (count, 2)."""
    noise = np.random.default_rng(seed)
    which = noise.choice(3, count, p=[0.2, 0.3, 0.5])
    stretch = np.array([[0.7, 0.0], [0.5, 0.3]])
    return CENTRES[which] + noise.normal(size=(count, 2)) @ stretch.T


@pytest.fixture(scope="module")
def fitted() -> fitting.Mixtures:
    tried = fitting.choose_mixtures([clouds(3000, 0)], [clouds(1000, 1)], (1, 2, 3, 5), seed=0)
    return max(tried.values(), key=lambda each: each.log_likelihood)


def untrained(folder: Path, seed: int = 0, model: pl.LightningModule | None = None) -> RunDirectory:
    """A finished run whose model has its first weights."""
    torch.manual_seed(seed)
    run = make_run(folder, "model=vae", "data=digits", f"seed={seed}", fid=None)
    save_model(run, model or VAE(latent_dim=4, encoder_dims=[32]))
    return run


def sampled(mixtures: fitting.Mixtures, model: Encoder) -> WithSampler:
    return WithSampler(model, "gmm", **mixtures.tensors).eval()


def test_the_size_and_the_likelihood_are_scikit_learns(fitted: fitting.Mixtures) -> None:
    assert fitted.tensors["weights"].shape == (1, 3)
    weights, means, factors = (fitted.tensors[key][0] for key in ("weights", "means", "factors"))
    assert weights.sort().values == pytest.approx([0.2, 0.3, 0.5], abs=0.03)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights),
        torch.distributions.MultivariateNormal(means, scale_tril=factors),
    )
    held_out = clouds(1000, 1)
    ours = mixture.log_prob(torch.from_numpy(held_out).float()).mean().item()
    assert fitted.log_likelihood == pytest.approx(ours, abs=1e-4)
    theirs = GaussianMixture(3, random_state=3).fit(clouds(3000, 0)).score(held_out)
    assert fitted.log_likelihood == pytest.approx(theirs, abs=0.02)


def test_draws_have_the_moments_of_scikit_learns(fitted: fitting.Mixtures) -> None:
    model = sampled(fitted, VAE(latent_dim=2, encoder_dims=[4]))
    z = model.prior(20_000, generator("test")).numpy()
    reference = GaussianMixture(3, random_state=3).fit(clouds(3000, 0)).sample(20_000)[0]
    for points in (z, clouds(20_000, 2)):
        assert points.mean(0) == pytest.approx(reference.mean(0), abs=0.12)
        assert np.cov(points.T) == pytest.approx(np.cov(reference.T), abs=0.3)
    # each cloud's own shape, which the moments of all do not tell
    near = np.linalg.norm(z - CENTRES[1], axis=1) < 2.5
    assert near.mean() == pytest.approx(0.3, abs=0.03)
    assert np.cov(z[near].T) == pytest.approx(np.array([[0.49, 0.35], [0.35, 0.34]]), abs=0.05)


def test_the_inversion_searches_where_the_sampler_draws(fitted: fitting.Mixtures) -> None:
    model = sampled(fitted, VAE(latent_dim=2, encoder_dims=[16]))
    reach = prior_reach(model)
    lengths = np.linalg.norm(clouds(20_000, 3), axis=1)
    assert reach.radius == pytest.approx(np.quantile(lengths, 0.99), rel=0.05)
    z = torch.tensor([[-4.0, 0.3], [4.2, 0.1]])  # the prior of this VAE hardly ever comes here
    with torch.no_grad():
        target = model.decode(z)
    found = invert(model, target, restarts=2, steps=60)
    assert found.mse.max() < 1e-6
    assert found.z.norm(dim=1).max() <= reach.radius * 1.001


def test_a_conditional_model_has_a_mixture_a_class() -> None:
    noise = np.random.default_rng(0)
    codes = [noise.normal(3 * label, 0.1, size=(40, 8)) for label in range(10)]
    mixtures = fitting.fit_mixtures(codes, codes, 1, seed=0)
    model = sampled(mixtures, Toy())
    assert model.conditional
    asked = torch.tensor([7, 0, 9, 7])
    z = model.prior(4, generator("test"), asked)
    assert torch.equal(z[:, -10:].argmax(1), asked)
    assert z[:, :8] == pytest.approx((3.0 * asked).unsqueeze(1).expand(4, 8).numpy(), abs=0.6)
    drawn = model.prior(2000, generator("test"))[:, -10:].argmax(1)
    assert torch.bincount(drawn, minlength=10).min() > 150  # no labels: as many of each


@pytest.mark.parametrize("kind", ["gmm", "normal"])
def test_a_run_then_draws_by_it_until_it_is_removed(tmp_path: Path, kind: str) -> None:
    run = untrained(tmp_path)
    with run.lock():
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    plain = load_model(run.path)
    code, text = call("fit-sampler", run.path, "--kind", kind)
    assert code == 0, text
    first = run.sampler.read_bytes()
    model = load_model(run.path)
    assert isinstance(model, WithSampler)
    assert isinstance(model, Encoder)
    assert isinstance(without_sampler(model), Likelihood)
    assert model.name.startswith(kind)
    record = read_record(run)
    assert f"{record['val/fid_lenet'][model.name]:.2f}, z from the {model.name}" in text
    if kind == "normal":  # exactly the moments of the codes
        dataset = load_data({"name": "digits"})
        means = encode_means(plain, dataset.splits["train"].images.float() / 255).double()
        assert model.means[0, 0].numpy() == pytest.approx(means.mean(0).numpy(), abs=1e-4)
        covariance = model.factors[0, 0] @ model.factors[0, 0].T
        expected = means.T.cov(correction=0).numpy()
        assert covariance.numpy() == pytest.approx(expected, abs=1e-4)
    output = tmp_path / "samples.npy"
    assert model.name in call("sample", run.path, "--count", 3, "--output", output)[1]
    drawn = np.load(output)
    assert call("fit-sampler", run.path, "--kind", kind)[0] == 0
    assert run.sampler.read_bytes() == first  # a seed decides it
    assert call("fit-sampler", run.path, "--remove")[0] == 0
    call("sample", run.path, "--count", 3, "--output", output)
    assert not np.array_equal(np.load(output), drawn)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    code, text = call("fit-sampler", run.path, "--remove")
    assert (code, text.count("\n")) == (1, 1)
    assert "has no sampler" in text


def test_a_run_is_measured_by_its_sampler_and_says_so(tmp_path: Path) -> None:
    run = untrained(tmp_path)
    evaluate_run(run.path, quick=True, say=print)
    little = Effort(restarts=1, iterations=10)
    assert "quick/fid_lenet" in compare([run.path]).groups[0].runs[0].metrics
    by_prior = evaluate_run(run.path, effort=little, say=print).metrics
    call("fit-sampler", run.path, "--kind", "normal")
    notes = compare([run.path]).notes
    assert any("measured with its prior, but draws with normal now" in note for note in notes)
    code, text = call("evaluate", run.path, "--restarts", 1, "--iterations", 10)
    assert code == 0, text
    assert "New images are drawn by its sampler, normal." in text
    assert run.read_status()["evaluation"]["sampler"] == "normal"
    compared = compare([run.path])
    (group,) = compared.groups
    assert group.settings["sampler"] == "normal"
    measured = group.runs[0].metrics
    assert measured["fid_lenet"] != by_prior["fid_lenet"]
    for key in ("encoder/mse", "grey_pixels/negative_elbo", "cost/parameters"):  # of the model
        assert measured[key] == by_prior[key]
    assert not any(key.startswith(("quick/", "val/fid")) for key in measured)  # by the prior
    assert not any("draws with" in note for note in compared.notes)
    quick = read_json(run.metrics)["quick/fid_lenet"]
    evaluate_run(run.path, quick=True, say=print)
    measured = compare([run.path]).groups[0].runs[0].metrics
    assert measured["quick/fid_lenet"] != quick  # by the sampler now


def test_a_run_that_has_a_sampler_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = untrained(tmp_path)
    call("fit-sampler", run.path, "--kind", "normal")
    fitted = run.sampler.read_bytes()
    evaluate_trained(run, {"evaluate": "none", "sampler": "normal"})
    assert capsys.readouterr().out == ""
    evaluate_trained(run, {"evaluate": "none", "sampler": None})
    assert f"keeps its sampler normal: gen-models fit-sampler {run.path} --remove" in (
        capsys.readouterr().out
    )
    with pytest.raises(UserError, match="has the sampler normal: .* --kind gmm replaces it"):
        evaluate_trained(run, {"evaluate": "none", "sampler": "gmm"})
    assert run.sampler.read_bytes() == fitted


def test_runs_with_and_without_a_sampler_are_two_groups(tmp_path: Path) -> None:
    for seed, sampler in enumerate(("gmm-20", "gmm-50", None, None)):
        record = {"evaluation": {"sampler": sampler}} if sampler else {}
        make_run(tmp_path, "model=vae", "phase=final", f"seed={seed}", **record)
    groups = compare([tmp_path]).groups
    assert [(group.label, len(group.runs)) for group in groups] == [
        ("VAE final", 2),
        ("VAE final, sampler gmm", 2),
    ]


def refused(*command: object) -> str:
    code, text = call(*command)
    assert (code, text.count("\n")) == (1, 1), text
    return text


def test_a_sampler_of_other_weights_is_refused(tmp_path: Path) -> None:
    run, other = (untrained(tmp_path, seed) for seed in (0, 1))
    call("fit-sampler", run.path, "--kind", "normal")
    shutil.copy(run.sampler, other.sampler)
    sample = ("sample", other.path, "--output", tmp_path / "x.npy")
    assert "fitted to other weights" in refused(*sample)
    assert "fitted to other weights" in refused("evaluate", other.path)
    assert "the last epoch's weights" in refused(
        "sample", run.path, "--checkpoint", "best", "--output", tmp_path / "x.npy"
    )
    assert "an export draws from the prior" in refused(
        "export", run.path, "--format", "torch", "--output", tmp_path / "exported"
    )
    other.sampler.write_bytes(b"damaged")
    assert "not a sampler" in refused(*sample)
    shutil.copy(other.weights, other.sampler)
    assert "not a sampler" in refused(*sample)
    assert not (tmp_path / "x.npy").exists()
    assert call("fit-sampler", other.path, "--remove")[0] == 0


def test_only_a_finished_run_with_an_encoder_has_one(tmp_path: Path) -> None:
    run = untrained(tmp_path, model=GAN(generator_dims=[8]))
    assert "has no encoder" in refused("fit-sampler", run.path)
    assert "not a finished run" in refused("fit-sampler", tmp_path)
    code, text = call("fit-sampler", run.path, "--kind", "vamp")
    assert code == 2
    assert "vamp" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model=gan", "sampler=gmm"], "sampler=gmm: the model gan has no encoder"),
        (["model=vae", "sampler=vamp"], "sampler must be one of null, gmm, normal, got 'vamp'"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused_before_training(
    options: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train("data=digits", "evaluate=none", *options, f"output_dir={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()
