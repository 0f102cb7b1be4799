"""Likelihoods against Gaussian models, whose likelihood is known."""

from functools import partial
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.likelihood import (
    binarised,
    bits_per_dim,
    importance_weighted_bound,
    negative_elbo,
)
from gen_models.models.flow import Flow
from gen_models.models.vae import VAE
from gen_models.seeding import generator


class LinearGaussian:
    """p(x | z) = N(W z + b, s^2 I) with orthogonal columns in W, so that p(z | x) is diagonal.

    Its encoder is the exact posterior, moved and widened by the given amounts.
    """

    def __init__(self, *, shift: float = 0.0, widen: float = 1.0) -> None:
        columns = torch.randn(12, 3, generator=generator("W"), dtype=torch.float64)
        self.w = torch.linalg.qr(columns).Q * torch.tensor([2.0, 1.0, 0.5])
        self.b = torch.linspace(-1, 1, 12, dtype=torch.float64)
        self.s = 0.7
        self.shift, self.widen = shift, widen

    def images(self, n: int) -> Tensor:
        noise = torch.randn(n, 15, generator=generator("images"), dtype=torch.float64)
        return self.b + noise[:, :3] @ self.w.T + self.s * noise[:, 3:]

    def marginal(self) -> MultivariateNormal:
        covariance = self.w @ self.w.T + self.s**2 * torch.eye(12)
        return MultivariateNormal(self.b, covariance)

    def posterior(self, x: Tensor) -> Normal:
        precision = 1 + self.w.square().sum(0) / self.s**2
        return Normal((x - self.b) @ self.w / self.s**2 / precision, precision.rsqrt())

    def encode(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        exact = self.posterior(x)
        return exact.mean + self.shift, 2 * (self.widen * exact.stddev).log()

    def log_prior(self, z: Tensor) -> Tensor:
        return Normal(0.0, 1.0).log_prob(z).sum(-1)

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        return kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1)

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        return Normal(z @ self.w.T + self.b, self.s).log_prob(x).sum(2)


def test_with_the_exact_posterior_both_bounds_are_the_likelihood() -> None:
    model = LinearGaussian()
    x = model.images(250)  # more than one chunk
    expected = model.marginal().log_prob(x)
    for samples in (1, 7):
        own = generator("iwae", samples)
        found = importance_weighted_bound(model, x, samples=samples, generator=own)
        torch.testing.assert_close(found, expected)
    recon, kl = negative_elbo(model, x, generator=generator("elbo"), samples=2000)
    torch.testing.assert_close(-(recon + kl).mean(), expected.mean(), atol=0.01, rtol=0)


def test_the_elbos_gap_is_the_divergence_from_the_posterior() -> None:
    model = LinearGaussian(shift=0.3, widen=1.5)
    x = model.images(50)
    q = Normal(model.encode(x)[0], (0.5 * model.encode(x)[1]).exp())
    gap = kl_divergence(q, model.posterior(x)).sum(1)
    found = -sum(negative_elbo(model, x, generator=generator("elbo"), samples=4000))
    expected = model.marginal().log_prob(x) - gap
    torch.testing.assert_close(found, expected, atol=0.25, rtol=0)
    torch.testing.assert_close(found.mean(), expected.mean(), atol=0.03, rtol=0)


def test_the_encoder_is_told_each_images_label() -> None:
    model = LinearGaussian()
    x = model.images(250)
    labels = torch.arange(250)

    def encode(images: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert known is not None
        assert torch.equal(x[known], images)
        return LinearGaussian.encode(model, images)

    model.encode = encode  # type: ignore[method-assign]
    for bound in (negative_elbo, partial(importance_weighted_bound, samples=2)):
        bound(model, x, labels, generator=generator("labels"))
        with pytest.raises(AssertionError):
            bound(model, x, labels.flip(0), generator=generator("labels"))


def test_the_bound_rises_with_k_to_the_likelihood() -> None:
    model = LinearGaussian(shift=0.3, widen=1.5)
    x = model.images(300)
    expected = model.marginal().log_prob(x).mean().item()
    found = []
    for samples in (1, 5, 50, 5000):
        bound = importance_weighted_bound(model, x, samples=samples, generator=generator("k"))
        found.append(bound.mean().item())
    assert found == sorted(found)
    assert found[0] < found[1] - 0.1
    assert found[-1] == pytest.approx(expected, abs=0.005)


def test_chunks_change_nothing_but_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearGaussian(shift=0.2, widen=1.3)
    x = model.images(30)
    found = []
    for values in (2**20, 30 * 12 * 64):
        monkeypatch.setattr("gen_models.metrics.likelihood.CHUNK_VALUES", values)
        found.append(importance_weighted_bound(model, x, samples=2000, generator=generator("c")))
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0)
    torch.testing.assert_close(found[0].mean(), found[1].mean(), atol=0.01, rtol=0)


@torch.no_grad()
def test_a_vaes_log_likelihood_is_torch_distributions() -> None:
    torch.manual_seed(0)
    vae = VAE(latent_dim=8, encoder_dims=[32])
    z = 5 * torch.randn(6, 5, 8)
    images = torch.rand(5, 1, 28, 28).round()
    logits = vae.network.decode(z)
    expected = Independent(Bernoulli(logits=logits), 1).log_prob(images.flatten(1))
    found = vae.log_likelihood(z, images)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(vae.log_likelihood(z[0], images), found[0])
    assert vae.network.decode(1e4 * z).abs().max() > 200
    assert vae.log_likelihood(1e4 * z, images).isfinite().all()


def test_elbo_on_grey_pixels_is_the_training_loss(digits: MNISTDataModule) -> None:
    vae = VAE(latent_dim=8, encoder_dims=[32])
    x = digits.splits["test"].images[:50].float() / 255
    noise = torch.randn(1, 50, 8, generator=generator("same"))
    logged = vae._step(x, noise)
    recon, kl = negative_elbo(vae, x, generator=generator("same"))
    torch.testing.assert_close(recon.mean(), logged["recon"].detach(), atol=1e-2, rtol=1e-5)
    torch.testing.assert_close(kl.mean(), logged["kl"].detach())


def test_binarised_pixels_are_a_fixed_draw() -> None:
    images = torch.full((100, 1, 28, 28), 0.3)
    drawn = binarised(images)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(drawn, binarised(images))


@pytest.mark.mnist
def test_the_mean_image_costs_what_is_known(mnist_root: str) -> None:
    """205.8 nats: independent pixels, no latent, and the floor of 45.5 of grey pixels."""
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    mean = data.splits["train"].images.flatten(1).double().mean(0) / 255
    images = data.splits["test"].images.float() / 255
    logits = mean.clamp(1e-4, 1 - 1e-4).logit().float()
    assert cost(images, logits.expand(len(images), -1)) == pytest.approx(205.8, abs=0.3)
    itself = images.flatten(1).clamp(1e-6, 1 - 1e-6).logit()
    assert cost(images, itself) == pytest.approx(45.5, abs=0.1)


def cost(images: Tensor, logits: Tensor) -> float:
    """Mean -log p(x | z), in nats an image, of a VAE that decodes to the given logits, (n, 784)."""
    vae = VAE(latent_dim=1, encoder_dims=[1])
    vae.network.decode = lambda z: logits  # type: ignore[method-assign]
    return -vae.log_likelihood(torch.zeros(len(images), 1), images).mean().item()


class GaussianFlow(Flow):
    """A flow whose images are N(m, s^2) in each pixel of [-1, 1]: its velocity is exact.

    That of x_t = (1 - t) z + t x is E[x - z | x_t], linear in x_t.
    """

    def __init__(self, m: float, s: float) -> None:
        super().__init__(network="mlp", hidden_dims=[1], image_shape=(1, 8, 8), ema_decay=0.0)
        self.pixel = Normal(m, s)

    def flow(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        m, s, t = self.pixel.mean, self.pixel.stddev, t[:, None]
        slope = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2)
        return m + slope * (x - t * m)


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.5), (-0.9, 0.05), (-0.99, 0.003)])
def test_bits_per_dim_are_exact_for_a_gaussian(m: float, s: float) -> None:
    model = GaussianFlow(m, s).eval()
    levels = 128 * (1 + m) + 128 * s * torch.randn(260, 1, 8, 8, generator=generator("x"))
    images = levels.floor().clamp(0, 255) / 255  # more than one chunk
    found = bits_per_dim(model, images, generator=generator("u"))
    own = generator("u")
    noise = []
    for chunk in images.split(250):  # in the order in which they are drawn
        noise.append(torch.rand(len(chunk), 64, generator=own))
        torch.randint(2, (len(chunk), 64), generator=own)
    x = (images.flatten(1) * 255 + torch.cat(noise)) * 2 / 256 - 1
    nats = model.pixel.log_prob(x).sum(1) + 64 * log(2 / 256)  # of a pixel in [0, 256]
    torch.testing.assert_close(found.float(), -nats / 64 / log(2), rtol=1e-3, atol=1e-3)


def test_a_networks_density_has_the_divergence_of_its_jacobian(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By Euler's rule on both sides, with the trace of the whole Jacobian on one."""
    torch.manual_seed(0)
    model = Flow(width=8, dense=0, image_shape=(1, 8, 8), ema_decay=0.0).eval()
    model.velocity.last.weight.data.normal_(std=0.3)  # type: ignore[union-attr]
    model.requires_grad_(False)
    image = torch.randint(256, (1, 1, 8, 8), generator=generator("image")) / 255

    def midpoint(change: Any, state: Any, *_: Any) -> Any:  # at t = 0.5
        rates = change(torch.tensor(0.5), state)
        return tuple(part - rate for part, rate in zip(state, rates, strict=True))

    monkeypatch.setattr("gen_models.models.flow._solve", midpoint)
    monkeypatch.setattr("torch.rand", lambda *shape, **_: torch.full(shape[0], 0.5))
    many = model.log_density(image.expand(4000, -1, -1, -1), generator=generator("signs"))
    x = (image.flatten(1) * 255 + 0.5) * 2 / 256 - 1
    none = torch.empty(1, 0)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: model.flow(x, torch.tensor([0.5]), none)[0], x
    )[:, 0]
    z = x - model.flow(x, torch.tensor([0.5]), none)
    exact = Normal(0.0, 1.0).log_prob(z).sum() - jacobian.trace() + 64 * log(2 / 256)
    error = (many.std() / len(many) ** 0.5).item()
    assert abs(jacobian.trace().item()) > 20 * error  # so that its sign shows
    assert many.mean().item() == pytest.approx(exact.item(), abs=4 * error)
