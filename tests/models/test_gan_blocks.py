"""The GAN's further losses, penalties and networks, each against an independent reference."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from test_models import fit
from torch import Tensor, nn

from gen_models.data.loader import InMemoryLoader
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.metrics.reconstruction import invert
from gen_models.models.gan import GAN
from gen_models.models.losses import (
    GAN_LOSSES,
    discriminator_loss,
    generator_loss,
    slope_penalty,
    squared_gradients,
)
from gen_models.models.networks import PixelPlanes, conv_down, conv_up
from gen_models.seeding import generator

CONV: dict[str, Any] = {"network": "conv", "width": 8, "generator_dims": None}


def by_hand(loss: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Each paper's formula, in double precision, logarithms and all."""
    d, f = real.double(), fake.double()
    if loss == "nonsaturating":
        return -(d.sigmoid().log() + (1 - f.sigmoid()).log()).mean(), -f.sigmoid().log().mean()
    if loss == "hinge":
        least = -(torch.minimum(d - 1, 0 * d) + torch.minimum(-f - 1, 0 * f)).mean()
        return least, -f.mean()
    if loss == "lsgan":
        return ((d - 1) ** 2 / 2 + f**2 / 2).mean(), ((f - 1) ** 2 / 2).mean()
    if loss == "wgan_gp":
        return (f - d).mean(), -f.mean()
    return -(d - f).sigmoid().log().mean(), -(f - d).sigmoid().log().mean()


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_losses_are_those_of_the_papers(loss: str) -> None:
    real, fake = torch.randn(50, 1), torch.randn(50, 1)
    expected_d, expected_g = by_hand(loss, real, fake)
    found = discriminator_loss(real, fake, loss=loss), generator_loss(fake, real, loss=loss)
    torch.testing.assert_close(found[0], expected_d.float())
    torch.testing.assert_close(found[1], expected_g.float())


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_losses_stay_finite_far_out(loss: str) -> None:
    far = torch.tensor([[-300.0], [300.0]], requires_grad=True)
    total = discriminator_loss(far, far.flip(0), loss=loss) + generator_loss(far, -far, loss=loss)
    total.backward()
    assert total.isfinite()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_penalties_of_a_discriminator_whose_gradient_is_known() -> None:
    """D(x) = x'Ax / 2 + b'x has the gradient Ax + b."""
    a, b = torch.randn(5, 5), torch.randn(5)
    a = a + a.T
    x = torch.randn(20, 5, requires_grad=True)
    logits = 0.5 * (x @ a * x).sum(1, keepdim=True) + (x @ b)[:, None]
    slopes = (x @ a + b).norm(dim=1)
    torch.testing.assert_close(squared_gradients(logits, x), slopes.square(), rtol=1e-4, atol=1e-4)
    penalty = slope_penalty(logits, x)
    torch.testing.assert_close(penalty, (slopes - 1).square().mean(), rtol=1e-4, atol=1e-4)
    penalty.backward()  # through the gradient
    assert x.grad is not None


class Steps(pl.Callback):
    """What each training step returns."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.logged.append(dict(outputs))


def test_lazy_penalties_count_as_often_as_they_are_left_out(digits: MNISTDataModule) -> None:
    """One batch of ours, with R1 taken every second time, against the algorithm written out."""
    ours = GAN(
        generator_dims=[8], dropout=0.0, loss="relativistic", r1=0.5, r2=0.2, penalty_every=2,
        lr_d=1e-2, lr_g=1e-12,
    )  # fmt: skip
    d = nn.Sequential(nn.Linear(784, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    for to, from_ in zip(d.parameters(), ours.discriminator.parameters(), strict=True):
        to.data.copy_(from_.data)
    fakes: list[Tensor] = []
    handle = ours.generator.register_forward_hook(lambda *call: fakes.append(call[2].detach()))
    steps = Steps()
    fit(ours, digits, steps, steps=2)
    handle.remove()
    assert ["r1" in logged for logged in steps.logged] == [False, True]

    optimizer = torch.optim.Adam(d.parameters(), lr=1e-2, betas=(0.5, 0.999))
    loader = digits.train_dataloader()
    loader.set_epoch(0)
    for step, batch in zip(range(2), loader, strict=False):
        real = 2 * batch.images.flatten(1) - 1
        fake = fakes[step]
        loss = F.softplus(d(fake) - d(real)).mean()
        for images, weight in ((real, 0.5), (fake, 0.2)):
            x = images.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
            if step == 1:
                loss = loss + 2 * weight / 2 * slope.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected, found = (
        nn.utils.parameters_to_vector(network.parameters()) for network in (d, ours.discriminator)
    )
    # all but a few, whose slopes are 0 but for rounding: Adam makes whole steps of those
    assert (found - expected).abs().quantile(0.99) < 1e-5


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_every_loss_trains_with_convolutions_and_penalties(
    loss: str, digits: MNISTDataModule
) -> None:
    model = GAN(**CONV, loss=loss, r1=0.1, spectral_norm=True, dropout=0.2, ema_decay=0.9)
    steps = Steps()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    fit(model, digits, steps, steps=2)
    assert all(value.isfinite() for value in steps.logged[-1].values())
    assert ("gradient_penalty" in steps.logged[-1]) == (loss == "wgan_gp")
    same = [name for name, weight in model.named_parameters() if weight.equal(before[name])]
    # D's last bias cancels in "relativistic" and "wgan_gp", and in "hinge" within the margin.
    assert set(same) <= {"discriminator.9.bias"}


def test_penalties_are_taken_in_float32_under_autocast() -> None:
    model = GAN(generator_dims=[8], dropout=0.0, r1=1.0)
    x = torch.randn(4, 784)
    exact = model._penalties(x, x)["r1"][1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model._penalties(x, x)["r1"][1].equal(exact)


@pytest.mark.parametrize("network", [{"generator_dims": [8]}, CONV])
def test_penalties_of_a_conditional_discriminator_are_by_the_pixels_alone(
    network: dict[str, Any],
) -> None:
    """The mean squared slope, of which the labels have a part that is left out."""
    model = GAN(**network, conditional=True, dropout=0.0, loss="wgan_gp", r1=1.0, r2=1.0)
    model.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    columns = F.one_hot(torch.tensor([3, 0, 3, 9]), 10).float()
    x = torch.cat([torch.randn(4, 784), columns], 1).requires_grad_(True)
    (slope,) = torch.autograd.grad(model.discriminator(x).sum(), x)
    assert slope[:, 784:].square().sum() > 0
    squared = slope[:, :784].square().sum(1)
    found = model._penalties(x.detach(), x.detach())
    for name, expected in (
        ("r1", squared), ("r2", squared), ("gradient_penalty", (squared.sqrt() - 1) ** 2),
    ):  # fmt: skip
        torch.testing.assert_close(found[name][1], expected.mean(), msg=name)


def test_convolutions_have_the_shapes_that_they_say() -> None:
    down = conv_down((1, 28, 28), 3, width=8, activation="relu", classes=10)
    assert down(torch.randn(5, 794)).shape == (5, 3)
    assert sum(p.numel() for p in down.parameters()) == (
        (11 * 16 + 1) * 8 + (8 * 16 + 1) * 16 + (16 * 49 + 1) * 128 + (128 + 1) * 3
    )
    up = conv_up((1, 28, 28), 7, width=8, activation="relu")
    assert up(torch.randn(5, 7)).shape == (5, 784)
    x = torch.rand(2, 784)
    planes = PixelPlanes((1, 28, 28))(torch.cat([x, F.one_hot(torch.tensor([3, 0]), 10)], 1))
    assert planes.shape == (2, 11, 28, 28)
    assert planes[0, 1:].sum((1, 2)).tolist() == [784 * (digit == 3) for digit in range(10)]


def test_a_network_sees_each_image_alone() -> None:
    """Nothing mixes a batch: an image's logit does not depend on the others."""
    down = conv_down((1, 28, 28), 1, width=8, activation="relu", normalised=True)
    x = torch.randn(6, 784)
    torch.testing.assert_close(down(x)[:2], down(x[:2]))


def test_spectral_norm_bounds_the_slope_of_each_layer() -> None:
    torch.manual_seed(0)
    model = GAN(generator_dims=[16], spectral_norm=True)
    for _ in range(200):  # power iterations, one a forward pass
        model.discriminator(torch.randn(2, 784))
    linear = [layer for layer in model.discriminator if isinstance(layer, nn.Linear)]
    for layer in linear:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("arguments", [{"generator_dims": [32]}, CONV])
def test_a_conditional_gan_draws_what_is_asked(
    arguments: dict[str, Any], digits: MNISTDataModule
) -> None:
    model = GAN(**arguments, conditional=True, latent_dim=20)
    asked = torch.tensor([7, 7, 1])
    z = model.prior(3, generator("z"), asked)
    moved = z.clone()
    moved[:, 20:] += 0.3 * torch.randn(3, 10).clamp(-1, 1)
    assert model.decode(moved).equal(model.decode(z))  # the label is a label, wherever z moves to
    assert not model.decode(model.prior(3, generator("z"), 0 * asked)).equal(model.decode(z))
    fit(model, digits, steps=2)
    images = model.decode(z)
    found = invert(model, images.detach(), asked, restarts=2, steps=5)
    assert found.z[:, 20:].argmax(1).equal(asked)


class NoLabels(MNISTDataModule):
    """Images alone."""

    def train_dataloader(self) -> InMemoryLoader:
        return InMemoryLoader(torch.zeros(64, 1, 28, 28, dtype=torch.uint8), batch_size=32)


def test_a_conditional_gan_needs_labels() -> None:
    data = NoLabels(name="digits", batch_size=32)
    with pytest.raises(UserError, match="a conditional model needs labels"):
        fit(GAN(generator_dims=[8], conditional=True), data, steps=1)
