import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence

from gen_models.models.losses import (
    bernoulli_nll,
    discriminator_loss,
    generator_loss,
    kl_to_standard_normal,
)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_discriminator_loss_is_binary_cross_entropy(smoothing: float) -> None:
    real, fake = torch.randn(50, 1), torch.randn(50, 1)
    expected = F.binary_cross_entropy(real.sigmoid(), torch.full_like(real, 1 - smoothing))
    expected += F.binary_cross_entropy(fake.sigmoid(), torch.zeros_like(fake))
    loss = discriminator_loss(real, fake, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_generator_loss_is_cross_entropy_to_real() -> None:
    fake = torch.randn(50, 1)
    expected = F.binary_cross_entropy(fake.sigmoid(), torch.ones_like(fake))
    torch.testing.assert_close(generator_loss(fake), expected)


def test_losses_stay_finite_where_a_sigmoid_saturates() -> None:
    far = torch.tensor([[-300.0], [300.0]], requires_grad=True)
    loss = discriminator_loss(far, far) + generator_loss(far)
    loss.backward()
    assert loss.isfinite()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_bernoulli_nll_sums_pixels_in_nats() -> None:
    logits = torch.randn(5, 1, 28, 28)
    targets = torch.rand(5, 1, 28, 28).round()
    expected = -Bernoulli(logits=logits).log_prob(targets).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_nll(logits, targets), expected)


def test_one_more_pixel_adds_exactly_its_cross_entropy() -> None:
    logits, targets = torch.randn(3, 784), torch.rand(3, 784)
    more = bernoulli_nll(
        torch.cat([logits, logits[:, :1]], 1), torch.cat([targets, targets[:, :1]], 1)
    )
    extra = F.binary_cross_entropy(logits[:, 0].sigmoid(), targets[:, 0], reduction="none")
    torch.testing.assert_close(more - bernoulli_nll(logits, targets), extra, atol=1e-3, rtol=1e-3)


def test_kl_against_torch_distributions() -> None:
    mu, logvar = torch.randn(7, 16), torch.randn(7, 16)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), expected)
