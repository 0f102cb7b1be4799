"""The VAE's further networks, likelihoods, objectives and priors, each against a reference."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from test_gan_blocks import NoLabels, Steps
from test_models import fit
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.cost import step_flops
from gen_models.metrics.likelihood import importance_weighted_bound, negative_elbo
from gen_models.metrics.reconstruction import invert, prior_reach
from gen_models.models.interface import (
    Likelihood,
    encode_means,
    latent_means,
    reconstruct,
)
from gen_models.models.losses import (
    VAE_LIKELIHOODS,
    continuous_bernoulli_constant,
    continuous_bernoulli_mean,
    free_bits_penalty,
    importance_weighted_loss,
    log_mixture,
    log_normal,
    log_pixels,
    posterior_sample,
)
from gen_models.models.vae import VAE
from gen_models.seeding import generator

MLP: dict[str, Any] = {"latent_dim": 5, "encoder_dims": [16]}
CONV: dict[str, Any] = {"latent_dim": 5, "network": "conv", "width": 8, "encoder_dims": None}
VAMP: dict[str, Any] = {"prior": "vamp", "vamp_components": 7}


def spread(model: VAE) -> VAE:
    """With a posterior that moves with the image."""
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.mul_(3)
    return model


def test_a_conv_vae_has_the_parameters_that_it_says() -> None:
    network = VAE(**CONV, conditional=True).network
    encoder = (11 * 16 + 1) * 8 + (8 * 16 + 1) * 16 + 2 * 16
    encoder += (16 * 49 + 1) * 128 + (128 + 1) * 10
    decoder = (
        (15 + 1) * 128 + (128 + 1) * 16 * 49 + 2 * 16 + (16 * 16 * 8 + 8) + 2 * 8 + (8 * 16 + 1)
    )
    assert sum(p.numel() for p in network.parameters()) == encoder + decoder
    z = torch.randn(3, 4, 15)
    assert network.decode(z)[1].equal(network.decode(z[1]))


def test_the_bias_of_a_conv_vae_is_the_mean_pixel(digits: MNISTDataModule) -> None:
    model = VAE(**CONV, data_bias=True, lr=1e-12)
    fit(model, digits, steps=1)
    mean = digits.splits["train"].images.double().mean().item() / 255
    assert model.network.last_bias.sigmoid().item() == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {**CONV, **VAMP, "likelihood": "gaussian", "iwae_samples": 3, "conditional": True},
        {**MLP, **VAMP, "likelihood": "continuous_bernoulli", "beta": 0.5, "data_bias": True},
        {**CONV, "likelihood": "continuous_bernoulli", "free_bits": 0.1, "conditional": True},
        {**MLP, "likelihood": "gaussian", "kl_warmup_epochs": 2, "free_bits": 0.2},
        {**MLP, **VAMP, "binarize": True, "iwae_samples": 2, "conditional": True},
    ],
)
def test_every_block_trains_every_weight(
    arguments: dict[str, Any], digits: MNISTDataModule
) -> None:
    model, steps = VAE(**arguments), Steps()
    assert isinstance(model, Likelihood)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer = fit(model, digits, steps, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    assert all(value.isfinite() for value in steps.logged[-1].values())
    assert trainer.callback_metrics["val/loss"].isfinite()
    assert not [name for name, weight in model.named_parameters() if weight.equal(before[name])]
    assert step_flops(model, digits.splits["test"]._replace(
        images=digits.splits["test"].images[:8], labels=digits.splits["test"].labels[:8]
    )) > 0  # fmt: skip


# --- Labels


@pytest.mark.parametrize("arguments", [MLP, CONV])
def test_a_conditional_vae_draws_and_encodes_what_is_asked(arguments: dict[str, Any]) -> None:
    model = spread(VAE(**arguments, conditional=True))
    asked = torch.tensor([7, 7, 1])
    z = model.prior(3, generator("z"), asked)
    assert z[:, :5].equal(VAE(**arguments).prior(3, generator("z")))
    assert not model.decode(model.prior(3, generator("z"), 0 * asked)).equal(model.decode(z))

    images = torch.rand(3, 1, 28, 28)
    mean, logvar = model.encode(images, asked)
    assert not model.encode(images, 0 * asked)[0][:, :5].equal(mean[:, :5])
    assert reconstruct(model, images, asked).equal(model.decode(encode_means(model, images, asked)))
    assert latent_means(model, images, asked).equal(mean[:, :5])


def test_a_label_counts_in_no_bound() -> None:
    """As a model without labels whose networks have this one's weights for that label."""
    torch.manual_seed(0)
    told, plain = spread(VAE(**MLP, conditional=True)), VAE(**MLP)
    digit = 4
    with torch.no_grad():
        for to, from_, columns in (("enc1", "enc1", 784), ("dec1", "dec1", 5)):
            source, target = getattr(told.network, from_), getattr(plain.network, to)
            target.weight.copy_(source.weight[:, :columns])
            target.bias.copy_(source.bias + source.weight[:, columns + digit])
        for name in ("enc2", "dec2"):
            getattr(plain.network, name).load_state_dict(getattr(told.network, name).state_dict())
    images, labels = torch.rand(30, 1, 28, 28).round(), torch.full((30,), digit)
    ours = negative_elbo(told, images, labels, generator=generator("b"))
    expected = negative_elbo(plain, images, generator=generator("b"))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    assert ours[1].mean() > 1
    bounds = [
        importance_weighted_bound(model, images, known, samples=20, generator=generator("k"))
        for model, known in ((told, labels), (plain, None))
    ]
    torch.testing.assert_close(*bounds, rtol=1e-4, atol=1e-3)
    noise = torch.randn(1, 30, 5)
    steps = told._step(images, noise, labels), plain._step(images, noise)
    torch.testing.assert_close(*steps, rtol=1e-4, atol=1e-3)


def test_the_inversion_of_a_conditional_vae_keeps_the_label() -> None:
    torch.manual_seed(0)
    model = spread(VAE(**MLP, conditional=True))
    labels = torch.tensor([3, 8])
    reach = prior_reach(model)
    plain = prior_reach(VAE(**MLP))
    assert (reach.radius, reach.typical) == pytest.approx((plain.radius, plain.typical))
    found = invert(model, torch.rand(2, 1, 28, 28), labels, restarts=2, steps=20)
    assert found.z[:, 5:].equal(nn.functional.one_hot(labels, 10).float())
    assert (found.z[:, :5].norm(dim=1) <= 1.0001 * reach.radius).all()
    torch.testing.assert_close(found.radius, found.z[:, :5].norm(dim=1) / reach.typical)


def test_a_conditional_vae_needs_labels() -> None:
    data = NoLabels(name="digits", batch_size=32)
    for options in ({}, VAMP):
        with pytest.raises(UserError, match="a conditional model needs labels"):
            fit(VAE(**MLP, **options, conditional=True), data, steps=1)


# --- Likelihoods


def test_the_continuous_bernoulli_is_a_density() -> None:
    for logit in (-30.0, -3.0, -0.3, -1e-3, 0.0, 1e-6, 0.2, 0.26, 2.0, 12.0):
        one = torch.tensor([logit], dtype=torch.float64)

        def density(x: float, one: Tensor = one) -> float:
            pixels = torch.tensor([[x]], dtype=torch.float64)
            found = log_pixels(one[None], pixels, likelihood="continuous_bernoulli")
            return found.exp().item()

        assert quad(density, 0, 1)[0] == pytest.approx(1, abs=1e-8)
        mean = quad(lambda x, p=density: x * p(x), 0, 1)[0]
        assert continuous_bernoulli_mean(one).item() == pytest.approx(mean, abs=1e-8)


def test_its_constant_is_torchs_and_smooth_everywhere() -> None:
    logits = torch.linspace(-15, 15, 3001, dtype=torch.float64)  # 0 among them
    torchs = ContinuousBernoulli(logits=logits[logits.abs() > 0.1])._cont_bern_log_norm()
    ours = continuous_bernoulli_constant(logits)
    torch.testing.assert_close(ours[logits.abs() > 0.1], torchs, rtol=0, atol=1e-8)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-5)):
        x = logits.to(dtype).requires_grad_(True)
        (slope,) = torch.autograd.grad(continuous_bernoulli_constant(x).sum(), x)
        # E[x] - sigmoid is the slope of -log C, of an exponential family
        slopes = x.detach().sigmoid() - continuous_bernoulli_mean(x.detach())
        torch.testing.assert_close(slope, slopes, rtol=0, atol=tolerance)
    far = torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)
    value = continuous_bernoulli_constant(far).sum() + continuous_bernoulli_mean(far).sum()
    value.backward()
    assert value.isfinite()
    assert far.grad is not None
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("likelihood", VAE_LIKELIHOODS)
def test_likelihoods_are_torch_distributions(likelihood: str) -> None:
    model = spread(VAE(**MLP, likelihood=likelihood))
    z, images = torch.randn(4, 3, 5), torch.rand(3, 1, 28, 28)
    logits = model.network.decode(z)
    if likelihood == "gaussian":
        assert model.pixel_logvar is not None
        pixels: Any = Normal(logits.sigmoid(), (0.5 * model.pixel_logvar).exp())
        assert model.pixel_logvar.exp().item() == pytest.approx(0.1)
    elif likelihood == "continuous_bernoulli":
        pixels = ContinuousBernoulli(logits=logits)
    else:
        pixels = Bernoulli(logits=logits, validate_args=False)
    expected = Independent(pixels, 1, validate_args=False).log_prob(images.flatten(1))
    torch.testing.assert_close(model.log_likelihood(z, images), expected, rtol=1e-4, atol=1e-2)
    mean = pixels.mean if likelihood != "bernoulli" else logits.sigmoid()
    torch.testing.assert_close(model.decode(z[0]).flatten(1), mean[0], rtol=1e-3, atol=1e-3)
    noise = torch.randn(1, 3, 5)
    logged = model._step(images, noise)
    z = posterior_sample(*model.encode(images), noise[0])
    torch.testing.assert_close(logged["recon"], -model.log_likelihood(z, images).mean())


def test_the_variance_of_all_pixels_is_learned(digits: MNISTDataModule) -> None:
    """Best where it is the mean squared error."""
    model = VAE(**MLP, likelihood="gaussian", lr=2e-2)
    fit(model, digits, max_epochs=5, limit_val_batches=0)
    images = digits.splits["train"].images.float() / 255
    noise = torch.randn(len(images), 5, generator=generator("noise"))
    with torch.no_grad():
        z = posterior_sample(*model.encode(images), noise)
        error = (model.decode(z) - images).square().mean().item()
    assert model.pixel_logvar is not None
    assert error < 0.08
    assert model.pixel_logvar.exp().item() == pytest.approx(error, rel=0.15)


# --- Objectives


def test_free_bits_are_the_papers(digits: MNISTDataModule) -> None:
    kl = torch.tensor([0.1, 0.3, 2.0], requires_grad=True)
    penalty = free_bits_penalty(kl, kl.detach(), 0.25)
    assert penalty.item() == pytest.approx(0.25 + 0.3 + 2.0)
    (slope,) = torch.autograd.grad(penalty, kl)
    assert slope.tolist() == [0, 1, 1]
    # Two halves of a batch whose whole decides: their mean has the whole's value and slope.
    halves = torch.tensor([[0.0, 0.2, 2.0], [0.2, 0.4, 2.0]], requires_grad=True)
    whole = torch.stack([free_bits_penalty(half, kl.detach(), 0.25) for half in halves]).mean()
    assert whole.item() == pytest.approx(penalty.item())
    assert torch.autograd.grad(whole, halves)[0].tolist() == [[0, 0.5, 0.5]] * 2

    model, steps = VAE(**MLP, free_bits=0.4, lr=1e-12), Steps()
    fit(model, digits, steps, steps=1)
    (logged,) = steps.logged
    loader = digits.train_dataloader()
    loader.set_epoch(0)
    mu, logvar = model.encode(next(iter(loader)).images)
    of_latents = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(logged["kl"], of_latents.sum().detach())
    expected = logged["recon"] + of_latents.clamp(min=0.4).sum()
    torch.testing.assert_close(logged["loss"].detach(), expected.detach())


@pytest.mark.parametrize("prior", [{}, VAMP])
def test_the_importance_weighted_loss_is_burdas(prior: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = spread(VAE(**MLP, **prior, iwae_samples=4))
    images, noise = torch.rand(6, 1, 28, 28).round(), torch.randn(4, 6, 5)
    logged = model._step(images, noise)
    mu, logvar = (part.double() for part in model.encode(images))
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    z = mu + (0.5 * logvar).exp() * noise
    logits = model.network.decode(z.float()).double()
    likelihood = Independent(Bernoulli(logits=logits), 1).log_prob(images.flatten(1).double())
    weights = likelihood + model.log_prior(z) - q.log_prob(z)  # (4, 6)
    expected = (log(4) - np.logaddexp.reduce(weights.detach().numpy(), 0)).mean()
    assert logged["loss"].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(logged["recon"].double(), -likelihood.mean(), rtol=1e-5, atol=1e-4)
    assert logged["loss"] < logged["recon"] + logged["kl"]
    one = torch.randn(1, 9)
    assert importance_weighted_loss(one).equal(-one[0])


# --- Priors


def test_log_densities_of_normals_and_mixtures() -> None:
    mu, logvar, noise = torch.randn(4, 3), torch.randn(4, 3), torch.randn(6, 4, 3)
    z = mu + (0.5 * logvar).exp() * noise
    expected = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    torch.testing.assert_close(log_normal(noise, logvar), expected.log_prob(z))
    mixture = MixtureSameFamily(Categorical(torch.ones(4)), expected)
    found = log_mixture(z, mu, logvar)
    assert found.dtype == z.dtype
    torch.testing.assert_close(found, mixture.log_prob(z))


@pytest.mark.parametrize("arguments", [MLP, {**CONV, "conditional": True}])
def test_the_vamp_prior_draws_what_it_says(arguments: dict[str, Any]) -> None:
    torch.manual_seed(3)
    model = spread(VAE(**arguments, **VAMP))
    assert model.pseudo_inputs is not None
    mu, logvar = model.network.encode(model.pseudo_inputs.logits.sigmoid())
    parts = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(7)), parts)
    with torch.no_grad():
        z = model.prior(20_000, generator("vamp"))
        torch.testing.assert_close(model.log_prior(z), mixture.log_prob(z[:, :5]))
        error = mixture.variance.sqrt() / 20_000**0.5
        assert ((z[:, :5].mean(0) - mixture.mean).abs() < 4.5 * error).all()
        torch.testing.assert_close(z[:, :5].var(0), mixture.variance, rtol=0.1, atol=0)
        reach = prior_reach(model)
        inside = (reach.length(z) <= reach.radius).double().mean().item()
    assert inside == pytest.approx(0.99, abs=0.003)


def test_the_elbo_of_the_vamp_prior_is_below_its_bound() -> None:
    """Both against the integral over a latent of one dimension."""
    torch.manual_seed(1)
    model = spread(VAE(latent_dim=1, encoder_dims=[8], **VAMP))
    images = torch.rand(4, 1, 28, 28).round()
    grid = torch.linspace(-15, 15, 6001)[:, None, None].expand(-1, 4, 1)
    with torch.no_grad():
        joint = model.log_likelihood(grid, images) + model.log_prior(grid)
        exact = joint.double().logsumexp(0) + log(30 / 6000)
    found = importance_weighted_bound(model, images, samples=2000, generator=generator("i"))
    torch.testing.assert_close(found, exact, rtol=0, atol=0.5)
    recon, kl = negative_elbo(model, images, generator=generator("e"), samples=200)
    assert (-(recon + kl) < found + 0.1).all()


def test_pseudo_inputs_start_as_training_images(digits: MNISTDataModule) -> None:
    model = VAE(**MLP, **VAMP, conditional=True, lr=1e-12)
    fit(model, digits, steps=1)
    images, labels = digits.splits["train"]
    assert model.pseudo_inputs is not None
    start = model.pseudo_inputs.logits.sigmoid()
    expected = (images[:7].flatten(1).float() / 255).clamp(0.01, 0.99)
    torch.testing.assert_close(start[:, :784], expected, atol=1e-5, rtol=0)
    assert start[:, 784:].argmax(1).equal(labels[:7])
    with pytest.raises(UserError, match=r"model\.vamp_components=100000: there are [\d,]+ train"):
        fit(VAE(**MLP, prior="vamp", vamp_components=100_000), digits, steps=1)
