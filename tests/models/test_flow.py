"""Flow matching against references written out here: its step, its solvers, its network."""

import math
from itertools import permutations
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_models import _AtStep, fit
from torch import Tensor, nn

from gen_models.data.loader import Batch
from gen_models.data.module import MNISTDataModule
from gen_models.models import losses
from gen_models.models.flow import Flow
from gen_models.models.interface import eval_mode
from gen_models.models.velocity import UNet
from gen_models.seeding import generator
from gen_models.training.trainer import StepSeed


def tiny(**options: Any) -> Flow:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"network": "mlp", "hidden_dims": [16]}
    return Flow(**defaults | options)


UNET: dict[str, Any] = {"network": "unet", "width": 4, "dense": 8, "hidden_dims": None}


def time_columns(t: Tensor) -> Tensor:
    """Sines and cosines of 32 frequencies from 1 to 1,000."""
    angles = t[:, None] * torch.tensor([1000 ** (k / 31) for k in range(32)])
    return torch.cat([angles.sin(), angles.cos()], 1)


def test_a_step_is_the_papers_step(digits: MNISTDataModule) -> None:
    """One batch of ours against the algorithm written out with torch alone; then the average."""
    lr = 1e-2
    options: dict[str, Any] = {"betas": (0.8, 0.9)}
    ours = tiny(conditional=True, label_dropout=0.5, lr=lr, ema_decay=0.75, **options)
    network = nn.Sequential(nn.Linear(784 + 64 + 10, 16), nn.SiLU(), nn.Linear(16, 784))
    for to, from_ in zip(network.parameters(), ours.velocity.parameters(), strict=True):
        to.data.copy_(from_.data)
    first = [weight.detach().clone() for weight in network.parameters()]
    batch = next(iter(digits.train_dataloader()))
    fit(ours, digits, steps=1, limit_val_batches=0)

    n = len(batch.images)
    assert batch.labels is not None
    StepSeed(0).on_train_batch_start(_AtStep(0), ours, batch, 0)  # type: ignore[arg-type]
    levels = (255 * batch.images.flatten(1)).round() + torch.rand(n, 784)  # in [0, 256]
    x = levels / 128 - 1
    z, t = torch.randn(n, 784), torch.sigmoid(torch.randn(n))
    labels = F.one_hot(batch.labels, 10) * (torch.rand(n, 1) >= 0.5)
    assert 0 < labels.sum() < n
    x_t = t[:, None] * x + (1 - t[:, None]) * z
    image = network(torch.cat([x_t, time_columns(t), labels], 1)).tanh()
    left = (1 - t)[:, None]
    velocity = image - (x_t - (1 - left) * image) * left / (left**2 + 0.0025)
    ((x_t + left * velocity - x) ** 2).mean().backward()
    torch.optim.Adam(network.parameters(), lr=lr, **options).step()
    assert isinstance(ours.velocity_ema, nn.Module)
    averages = ours.velocity_ema.parameters()
    for before, after, found, average in zip(
        first, network.parameters(), ours.velocity.parameters(), averages, strict=True
    ):
        # of a gradient near 0, Adam's first step is any part of lr
        torch.testing.assert_close(found, after, atol=lr / 4, rtol=0)
        torch.testing.assert_close(
            average, (2 * before + 9 * found) / 11
        )  # a decay of 2/11 at first


def test_the_loss_of_gaussian_images_is_the_variance_that_no_network_can_explain() -> None:
    """Of x ~ N(m, s^2), x given x_t has the variance (1 - t)^2 s^2 / (t^2 s^2 + (1 - t)^2)."""
    m, s, n = 0.5, 0.4, 200_000
    source = generator("gaussian")
    x, z = m + s * torch.randn(n, 1, generator=source), torch.randn(n, 1, generator=source)
    for time in (0.0, 0.3, 0.7, 1.0):
        spread = time**2 * s**2 + (1 - time) ** 2

        def best(
            x_t: Tensor, t: Tensor, _: Tensor, time: float = time, spread: float = spread
        ) -> Tensor:
            assert (t == time).all()
            return m + (time * s**2 - (1 - time)) / spread * (x_t - time * m)

        loss = losses.flow_matching_loss(best, x, z, torch.full((n,), time), x[:, :0])
        assert loss.item() == pytest.approx((1 - time) ** 2 * s**2 / spread, rel=0.02)


def spied_step(
    model: Flow, images: Tensor, labels: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    """What a step of seed 0 passes to the loss."""
    found: dict[str, Tensor] = {}

    def spy(_: Any, x: Tensor, z: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        found.update(x=x, z=z, t=t, columns=columns)
        return x.sum()

    monkeypatch.setattr(losses, "flow_matching_loss", spy)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    model.trainer = trainer
    torch.manual_seed(0)
    model.training_step(Batch(images, labels), 0)
    return found


def test_optimal_transport_is_the_cheapest_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(5, 1, 8, 8, generator=generator("images"))
    shape = {"image_shape": (1, 8, 8), "times": "uniform"}
    alone = spied_step(tiny(**shape), images, None, monkeypatch)
    matched = spied_step(tiny(coupling="ot", **shape), images, None, monkeypatch)
    assert torch.equal(alone["x"], matched["x"])
    assert torch.equal(alone["t"], matched["t"])
    assert ((alone["t"] >= 0) & (alone["t"] <= 1)).all()

    def cost(order: tuple[int, ...]) -> float:
        return (alone["x"] - alone["z"][list(order)]).square().sum().item()

    cheapest = min(permutations(range(5)), key=cost)
    assert cheapest != (0, 1, 2, 3, 4)
    assert torch.equal(matched["z"], alone["z"][list(cheapest)])


class Field(nn.Module):
    """x' = -(1 + t) x, whose solution is x(1) = exp(-1.5) x(0)."""

    def forward(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        return -(1 + t[:, None]) * x


@torch.no_grad()
def solver_errors(solver: str, steps: int | None) -> Tensor:
    """The largest errors of `decode`, as a share of the intensity, and of `encode`."""
    model = tiny(image_shape=(1, 8, 8), ema_decay=0.0, solver=solver, steps=steps)
    model.velocity = Field()  # type: ignore[assignment]
    z = torch.linspace(-2, 2, 256).view(4, 64)
    expected = ((math.exp(-1.5) * z + 1) / 2 * 256 - 0.5) / 255  # -1 is the lower end of level 0
    images, (back, _) = model.decode(z), model.encode(expected.view(4, 1, 8, 8))
    return torch.stack([(images.flatten(1) - expected).abs().max(), (back - z).abs().max()])


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_half_the_step_leaves_the_error_of_the_solvers_order(solver: str, order: int) -> None:
    errors = [solver_errors(solver, steps) for steps in (8, 16, 32)]
    for larger, smaller in zip(errors, errors[1:], strict=False):
        assert (larger / smaller).log2().tolist() == pytest.approx([order, order], abs=0.15)


def test_dopri5_picks_its_steps_by_its_tolerance() -> None:
    assert (solver_errors("dopri5", None) < 5e-4).all()


@torch.no_grad()
def test_one_step_of_euler_by_hand_with_guidance() -> None:
    """v = v(class) + guidance (v(class) - v(all)); all classes: a label of zeros."""
    options = {"conditional": True, "image_shape": (3, 8, 8), "solver": "euler", "steps": 1}
    model = tiny(guidance=1.5, classes=4, **options)
    assert isinstance(model.velocity_ema, nn.Module)
    for weight in model.velocity_ema.parameters():  # the average decodes, not the weights
        weight.mul_(3)
    z = model.prior(5, generator("z"), torch.tensor([0, 1, 2, 3, 3]))
    noise, columns, start = z[:, :192], z[:, 192:], torch.zeros(5)
    own = model.velocity_ema(noise, start, columns)
    of_all = model.velocity_ema(noise, start, torch.zeros_like(columns))
    x = noise + 2.5 * own - 1.5 * of_all
    expected = (((x + 1) / 2 * 256 - 0.5) / 255).clamp(0, 1).view(5, 3, 8, 8)
    torch.testing.assert_close(model.decode(z), expected)
    model.guidance = 0.0
    torch.testing.assert_close(model.flow(noise, start, columns), own)
    assert not torch.equal(own, of_all)


@torch.no_grad()
def test_no_weights_of_a_perceptron_let_a_path_grow_without_end() -> None:
    model = tiny(steps=16)
    for weight in model.velocity_ema.parameters():  # type: ignore[union-attr]
        weight.mul_(1e4)
    assert model.decode(model.prior(20, generator("z"))).isfinite().all()


@torch.no_grad()
def test_an_image_is_found_again_from_its_noise() -> None:
    n = 300  # more than are on their way at once
    model = tiny(image_shape=(1, 8, 12), conditional=True, **UNET).eval()
    for weight in model.velocity_ema.parameters():  # type: ignore[union-attr]
        weight.copy_(0.1 * torch.randn(weight.shape, generator=generator(weight.numel())))
    model.set_solver("midpoint", 64)  # short steps: networks with such weights are far from smooth
    images, labels = torch.rand(n, 1, 8, 12), torch.arange(n) % 10
    z, logvar = model.encode(images, labels)
    torch.testing.assert_close(model.decode(z), images, atol=1 / 255, rtol=0)
    assert torch.equal(z[:, 96:], F.one_hot(labels, 10).float())
    assert logvar.shape == (n, 96)
    assert (logvar == -math.inf).all()
    other, _ = model.encode(images, (labels + 1) % 10)
    assert not torch.allclose(other[:, :96], z[:, :96], atol=1e-4)


def test_the_validation_loss_is_one_number_of_the_averaged_weights(
    digits: MNISTDataModule,
) -> None:
    model = tiny(**UNET)

    def measured(seed: int) -> float:
        torch.manual_seed(seed)
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.validate(model, digits, verbose=False)
        return trainer.callback_metrics["val/loss"].item()

    for weight in model.velocity_ema.parameters():  # type: ignore[union-attr]
        weight.data.zero_()
    loss = measured(1)
    assert loss == measured(2)
    with torch.no_grad():
        next(iter(model.velocity.parameters())).add_(1)
    assert loss == measured(1)
    images = digits.splits["validation"].images.double()
    grey = ((images + 0.5) / 128 - 1).square().mean().item()  # of one pixel; 0 is predicted
    t = np.linspace(0, 1, 10_001)
    rest = 0.0025 / ((1 - t) ** 2 + 0.0025)  # of x_t, in the end
    expected = np.trapezoid(grey * (1 - rest * t) ** 2 + (rest * (1 - t)) ** 2, t)
    assert loss == pytest.approx(expected, rel=0.01)


def test_it_learns(digits: MNISTDataModule) -> None:
    """It predicts better than the mean image does, and new images resemble it."""
    model = tiny(**UNET | {"dense": 64}, lr=1e-2, ema_decay=0.9)
    trainer = fit(model, digits, max_epochs=4)
    mean = digits.splits["train"].images.double().mean(0)
    images = digits.splits["validation"].images.double()
    constant = ((images - mean) / 128).square().mean().item()
    assert trainer.callback_metrics["val/loss"] < 0.95 * constant
    with eval_mode(model):
        new = model.sample(100, generator("new")).double().mean(0)
    grey = (0.5 - mean / 255).square().mean()  # an untrained model's images are noise
    assert (new - mean / 255).square().mean() < 0.3 * grey


@pytest.mark.parametrize(
    ("shape", "attention", "dense"),
    [((1, 28, 28), False, 0), ((3, 32, 32), True, 8), ((1, 16, 24), True, 0)],
)
def test_a_unet_keeps_the_shape_and_sees_time_label_and_every_pixel(
    shape: tuple[int, int, int], attention: bool, dense: int
) -> None:
    torch.manual_seed(0)
    network = UNet(shape, width=4, activation="silu", classes=3, dense=dense, attention=attention)
    x, t = torch.randn(2, math.prod(shape)), torch.tensor([0.2, 0.2])
    labels = torch.eye(3)[:2]
    nn.init.zeros_(network.last.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(network(x, t, labels), -x * 0.8 / (0.64 + 0.0025))  # of image 0
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    x.requires_grad_(True)
    velocity = network(x, t, labels)
    assert velocity.shape == x.shape
    assert not torch.allclose(velocity, network(x, t + 0.5, labels))
    assert not torch.allclose(velocity[0], network(x, t, labels.flip(0))[0])
    (slope,) = torch.autograd.grad(velocity.square().sum(), x)
    assert (slope != 0).all()
    torch.testing.assert_close(network(x[:1], t[:1], labels[:1]), velocity[:1])  # of itself alone
    if dense or attention:  # every position reaches every other
        (slope,) = torch.autograd.grad(network(x, t, labels)[0, 0], x)
        assert (slope[0] != 0).all()


def test_parameters_of_a_unet_counted_by_hand() -> None:
    network = UNet((1, 28, 28), width=8, activation="silu", classes=10, dense=16, attention=True)

    def block(inputs: int, outputs: int) -> int:
        convolutions = (9 * inputs + 1) * outputs + (9 * outputs + 1) * outputs
        skip = 0 if inputs == outputs else (inputs + 1) * outputs
        return 2 * inputs + 2 * outputs + convolutions + (32 + 1) * 2 * outputs + skip

    parts = {
        "embed": (64 + 10 + 1) * 32 + (32 + 1) * 32,
        "first": (9 * 4 + 1) * 8,  # 4 pixels are 4 channels
        "fine": block(8, 8),
        "down2": (9 * 8 + 1) * 16,
        "coarse1": block(16, 16),
        "dense": 2 * 16 + (784 + 1) * 16 + (32 + 1) * 32 + (16 + 1) * 784,  # 16 x 7 x 7 is 784
        "attention": 2 * 16 + (16 + 1) * 48 + (16 + 1) * 16,
        "coarse2": block(16, 16),
        "up2": 16 * 16 * 8 + 8,
        "merge": block(16, 8),
        "norm": 2 * 8,
        "last": (9 * 8 + 1) * 4,
    }
    counts = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in network.named_children()
    }
    assert {name: count for name, count in counts.items() if count} == parts


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"network": "conv"}, "network must be one of mlp, unet"),
        ({"width": 6}, "width must be"),
        ({"dense": -1}, "dense must be"),
        ({"dense": 1.5}, "dense must be"),
        ({"attention": 1}, "attention must be"),
        ({"hidden_dims": [8]}, "hidden_dims must be null with network=unet"),
        ({"network": "mlp"}, "hidden_dims must be"),
        ({"network": "mlp", "hidden_dims": [0]}, "hidden_dims must be"),
        ({"init": "he"}, "init must be torch with network=unet"),
        ({"conditional": 1}, "conditional must be"),
        ({"conditional": True, "classes": 0}, "conditional must be false"),
        ({"label_dropout": 1.0}, "label_dropout must be"),
        ({"guidance": -1.0}, "guidance must be"),
        ({"guidance": 1.0}, "guidance=1.0 needs conditional=true"),
        ({"guidance": 1.0, "conditional": True, "label_dropout": 0.0}, "guidance=1.0 needs"),
        ({"coupling": "x"}, "coupling must be"),
        ({"times": "x"}, "times must be"),
        ({"solver": "rk5"}, "solver must be one of euler, midpoint, heun, dopri5"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 1.5}, "steps must be"),
        ({"steps": None}, "steps must be"),
        ({"solver": "dopri5"}, "steps must be null with solver=dopri5"),
        ({"lr": 0.0}, "lr must be"),
        ({"betas": [0.9]}, "betas must be"),
        ({"ema_decay": 1.0}, "ema_decay must be"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], named: str) -> None:
    little: dict[str, Any] = {"width": 4, "dense": 0}
    with pytest.raises(ValueError, match=f"^{named}") as refused:
        Flow(**little | arguments)
    assert "\n" not in str(refused.value)
