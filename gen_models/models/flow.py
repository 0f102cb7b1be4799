"""Flow matching: a network learns the velocity at which noise turns into images.

Lipman et al. 2023, "Flow Matching for Generative Modeling", with straight paths (Liu et al. 2023,
"Flow Straight and Fast"). An image is made by solving dx/dt = v(x, t) from noise at t = 0 to t = 1,
and the same equation solved backwards gives its noise.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torchdiffeq import odeint

from gen_models.checks import (
    check_betas,
    check_bool,
    check_choice,
    check_dims,
    check_number,
    check_whole,
)
from gen_models.data.loader import Batch
from gen_models.models import losses, networks
from gen_models.models.interface import Density
from gen_models.models.velocity import LinearVelocity, UNet
from gen_models.seeding import generator as own_generator

COUPLINGS = ("independent", "ot")
TIMES = ("uniform", "logit_normal")
SOLVERS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2", "dopri5": "dopri5"}
TOLERANCE = 1e-4  # of dopri5, relative and absolute
AT_ONCE = 250  # images on their way at once, so that what is computed stays in the cache
LEVELS = 256  # values of a pixel


class Flow(Density):
    """A velocity network, its training by flow matching, and the way from noise to images.

    Args:
        network: "unet", or "mlp" (`velocity.py`).
        width: For "unet": channels at half the size of the images.
        dense: For "unet": units of a linear layer over all positions at the lowest size; 0 is none.
        attention: For "unet": self-attention at the lowest size.
        hidden_dims: For "mlp": hidden widths.
        activation: Activation of the hidden layers; a key of `layers.ACTIVATIONS`.
        init: Initial weights of "mlp": "torch" or "he" (`layers.linear_layers`).
        conditional: The network is given the label: images of a wanted class can be drawn.
        label_dropout: Share of training images whose label is left out, so that the network knows
            the velocity of all classes too, which `guidance` needs.
        guidance: Classifier-free guidance (Ho & Salimans 2022, equation 6): the velocity of the
            class is followed with a weight of 1 + guidance, that of all classes with -guidance.
        image_shape: (c, h, w) of the images.
        classes: Number of their classes.
        coupling: "independent": any noise goes to any image. "ot": each batch's noise and images
            are matched by the least sum of squared distances (Tong et al. 2024, "minibatch optimal
            transport"), which takes n^3 operations of one core for n images a batch; of several
            processes, each matches its own share of the batch.
        times: "uniform", or "logit_normal" (Esser et al. 2024), which trains the middle more.
        solver: "euler", of order 1; "midpoint" or "heun", of order 2 with two evaluations of the
            network a step; "dopri5", which picks its steps itself.
        steps: Number of steps; None for "dopri5".
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        ema_decay: Images come from an exponential moving average of the weights. Its decay per
            update rises to this, as (1 + n) / (10 + n) after n updates; 0 turns it off.

    Raises:
        ValueError: An argument is out of its range or refuses another; the message names it.
    """

    def __init__(
        self,
        *,
        network: str = "unet",
        width: int = 16,
        dense: int = 512,
        attention: bool = False,
        hidden_dims: Sequence[int] | None = None,
        activation: str = "silu",
        init: str = "torch",
        conditional: bool = False,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
        coupling: str = "independent",
        times: str = "logit_normal",
        solver: str = "midpoint",
        steps: int | None = 8,
        lr: float = 2e-3,
        betas: Sequence[float] = (0.9, 0.99),
        ema_decay: float = 0.999,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            classes=classes,
            conditional=check_bool("conditional", conditional),
        )
        self.save_hyperparameters()
        networks.check_network(network, width, activation, init, known=("mlp", "unet"))
        self.label_dropout = check_number("label_dropout", label_dropout, 0.0, 0.95)
        self.guidance = check_number("guidance", guidance, 0.0, 100.0)
        if guidance > 0 and not (conditional and label_dropout > 0):
            raise ValueError(
                f"guidance={guidance} needs conditional=true and a label_dropout above 0"
            )
        self.coupling = check_choice("coupling", coupling, COUPLINGS)
        self.times = check_choice("times", times, TIMES)
        self.set_solver(solver, steps)
        self.lr = check_number("lr", lr, 0.0, 1.0, open_low=True)
        self.betas = check_betas(betas)
        self.ema_decay = check_number("ema_decay", ema_decay, 0.0, 0.99999)

        columns = self.label_dim
        self.velocity: UNet | LinearVelocity
        if network == "unet":
            if hidden_dims is not None:
                raise ValueError("hidden_dims must be null with network=unet, whose size is width")
            self.velocity = UNet(
                self.image_shape,
                width=width,
                activation=activation,
                classes=columns,
                dense=check_whole("dense", dense, 0),
                attention=check_bool("attention", attention),
            )
        else:
            dims = check_dims("hidden_dims", hidden_dims)  # type: ignore[arg-type]
            self.velocity = LinearVelocity(self.pixels, dims, activation, columns, init)
        self.velocity_ema = (
            copy.deepcopy(self.velocity).requires_grad_(False) if self.ema_decay > 0 else None
        )

    def set_solver(self, solver: str, steps: int | None) -> None:
        """Choose how the equation is solved from now on; raises ValueError as the constructor."""
        self.solver = check_choice("solver", solver, list(SOLVERS))
        if solver != "dopri5":
            steps = check_whole("steps", steps, 1)  # type: ignore[arg-type]
        elif steps is not None:
            raise ValueError(
                f"steps must be null with solver=dopri5, which picks them, got {steps}"
            )
        self.steps = steps

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] from z, (n, latent_dim)."""
        z = networks.label_columns(z, self.label_dim)
        x = self._transport(z[:, : self.noise_dim], z[:, self.noise_dim :], 0.0, 1.0)
        levels = (x + 1) / 2 * LEVELS - 0.5  # the middle of a pixel's interval is its value
        return (levels / (LEVELS - 1)).clamp(0, 1).view(-1, *self.image_shape)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The z from which `decode` makes the images, (n, latent_dim), from (n, c, h, w).

        Its log-variance, (n, noise_dim), is -inf: there is one z for an image.
        """
        columns = self.columns_of(labels, images)
        noise = self._transport(_to_flow(images), columns, 1.0, 0.0)
        return torch.cat([noise, columns], 1), torch.full_like(noise, -torch.inf)

    def decoding_weights(self) -> Iterable[nn.Parameter]:
        """The network's weights; their moving average has as many."""
        return self.velocity.parameters()

    def flow(self, x: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        """The velocity that images follow, (n, c h w), with guidance.

        Args:
            x: (n, c h w), noise at t = 0 and images in [-1, 1] at t = 1.
            t: (n,) in [0, 1].
            columns: The columns of their labels, (n, label_dim).
        """
        network = self.velocity if self.velocity_ema is None else self.velocity_ema
        velocity: Tensor = network(x, t, columns).float()
        if self.guidance > 0:
            of_all = network(x, t, torch.zeros_like(columns)).float()
            velocity = velocity + self.guidance * (velocity - of_all)
        return velocity

    def log_density(
        self, images: Tensor, labels: Tensor | None = None, *, generator: torch.Generator
    ) -> Tensor:
        """Log p(x) in nats, (n,), of dequantised images, (n, c, h, w), whose pixels are 0 to 256.

        The instantaneous change of variables, with Hutchinson's estimate of the divergence by one
        vector of signs (Grathwohl et al. 2019, "FFJORD", equations 3 and 7).
        """
        shape, device = (len(images), self.pixels), images.device
        uniform = torch.rand(shape, generator=generator).to(device)
        signs = torch.randint(2, shape, generator=generator).to(device) * 2.0 - 1
        columns = self.columns_of(labels, images)

        def change(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                x = state[0].requires_grad_(True)
                velocity = self.flow(x, t.expand(len(x)), columns)
                (slope,) = torch.autograd.grad(velocity, x, signs)
            return velocity.detach(), (slope * signs).sum(1)

        start = _to_flow(images, uniform), torch.zeros(len(images), device=device)
        noise, divergence = _solve(change, start, 1.0, 0.0, "dopri5", None)
        scale = self.pixels * log(2 / LEVELS)
        # the divergence is integrated from 1 to 0, so it has the other sign
        return losses.log_normal(noise, torch.zeros_like(noise)) + divergence + scale

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss of one batch."""
        n, columns = len(batch.images), self.columns_of(batch.labels, batch.images)
        x = _to_flow(batch.images, self._drawn(torch.rand, n, self.pixels))
        z = self._drawn(torch.randn, n, self.pixels)
        if self.times == "uniform":
            t = self._drawn(torch.rand, n)
        else:
            t = self._drawn(torch.randn, n).sigmoid()
        if self.conditional:
            columns = columns * (self._drawn(torch.rand, n, 1) >= self.label_dropout)
        if self.coupling == "ot":
            costs = torch.cdist(x, z).square()
            z = z[torch.as_tensor(linear_sum_assignment(costs.cpu())[1], device=z.device)]
        return {"loss": losses.flow_matching_loss(self.velocity, x, z, t, columns)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of held-out images, of the averaged weights at uniform times."""
        stage = "test" if self.trainer.testing else "val"
        own = own_generator(stage, batch_idx, self.global_rank, device=self.device)
        n, columns = len(batch.images), self.columns_of(batch.labels, batch.images)
        draw: dict[str, Any] = {"generator": own, "device": self.device}
        x = _to_flow(batch.images, torch.rand(n, self.pixels, **draw))
        z = torch.randn(n, self.pixels, **draw)
        t = (torch.arange(n, device=self.device) + torch.rand(n, **draw)) / n  # one in each n-th
        network = self.velocity if self.velocity_ema is None else self.velocity_ema
        loss = losses.flow_matching_loss(network, x, z, t, columns)
        # The log callback writes it, on the same axis (batches) as the training curves.
        self.log(f"{stage}/loss", loss, batch_size=n, sync_dist=True, logger=False)

    test_step = validation_step

    def configure_optimizers(self) -> Optimizer:
        """Adam over all weights."""
        return Adam(self.velocity.parameters(), lr=self.lr, betas=self.betas, fused=True)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the weights, and their moving average."""
        super().optimizer_step(*args, **kwargs)
        if self.velocity_ema is not None:
            average, current = self.velocity_ema.parameters(), self.velocity.parameters()
            n = self.global_step + 1  # with this update
            decay = min(self.ema_decay, (1 + n) / (10 + n))
            get_ema_multi_avg_fn(decay)(tuple(average), tuple(current), 0)

    def _drawn(self, draw: Callable[..., Tensor], n: int, *shape: int) -> Tensor:
        """This process's rows of what is drawn for the batch of all: one stream for all ranks."""
        world, rank = self.trainer.world_size, self.global_rank
        return draw(n * world, *shape, device=self.device)[rank::world]

    def _transport(self, x: Tensor, columns: Tensor, start: float, end: float) -> Tensor:
        """Follow the velocity from one time to the other, (n, c h w)."""
        chunks = []
        for some, own in zip(x.split(AT_ONCE), columns.split(AT_ONCE), strict=True):

            def velocity(t: Tensor, x: Tensor, own: Tensor = own) -> Tensor:
                return self.flow(x, t.expand(len(x)), own)

            chunks.append(_solve(velocity, some, start, end, self.solver, self.steps))
        return torch.cat(chunks)


def _to_flow(images: Tensor, uniform: Tensor | float = 0.5) -> Tensor:
    """Images in [0, 1], (n, c, h, w), as (n, c h w) in [-1, 1], dequantised by (n, c h w) draws."""
    return (images.flatten(1) * (LEVELS - 1) + uniform) * (2 / LEVELS) - 1


def _solve(
    change: Callable[..., Any], state: Any, start: float, end: float, solver: str, steps: int | None
) -> Any:
    """The state at `end`, a tensor or a tuple of them, from that at `start`."""
    first = state if isinstance(state, Tensor) else state[0]
    times = torch.linspace(start, end, (steps or 1) + 1, device=first.device)
    path = odeint(change, state, times, rtol=TOLERANCE, atol=TOLERANCE, method=SOLVERS[solver])
    return path[-1] if isinstance(state, Tensor) else tuple(part[-1] for part in path)
