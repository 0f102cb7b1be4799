"""GAN on flattened images: two multi-layer perceptrons that learn against one another.

Goodfellow et al. 2014, "Generative Adversarial Nets". The objective stands in `losses.py`:
`discriminator_loss` and the non-saturating `generator_loss`.
"""

import copy
from collections.abc import Sequence
from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gen_models.checks import check_betas, check_dims, check_number, check_whole
from gen_models.data.loader import IMAGE_SIZE, Batch
from gen_models.models.layers import PIXELS, check_activation, mlp
from gen_models.models.losses import discriminator_loss, generator_loss
from gen_models.seeding import generator as own_generator


class GAN(pl.LightningModule):
    """Generator, discriminator and their alternating training.

    Args:
        latent_dim: Width of z ~ U(-1, 1).
        generator_dims: Hidden widths of the generator, input to output.
        discriminator_dims: Hidden widths of the discriminator; None mirrors `generator_dims`.
        activation: Hidden layers of both networks; a key of `layers.ACTIVATIONS`.
        dropout: Share of the discriminator's hidden units dropped, [0, 0.95].
        lr: Adam's learning rate for both networks.
        lr_g: Learning rate of the generator alone; None means `lr`.
        lr_d: Learning rate of the discriminator alone; None means `lr`.
        betas: Adam's decay rates.
        d_steps: Each batch is one update of D; G is updated every `d_steps`-th batch.
        label_smoothing: Real images have the target 1 - label_smoothing.
        ema_decay: Samples come from an exponential moving average of G's weights with this decay
            per update of G; 0 turns it off.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 100,
        generator_dims: Sequence[int] = (256, 512, 1024),
        discriminator_dims: Sequence[int] | None = None,
        activation: str = "leaky_relu",
        dropout: float = 0.3,
        lr: float = 2e-4,
        lr_g: float | None = None,
        lr_d: float | None = None,
        betas: Sequence[float] = (0.5, 0.999),
        d_steps: int = 1,
        label_smoothing: float = 0.0,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.latent_dim = check_whole("latent_dim", latent_dim, 1)
        generator_dims = check_dims("generator_dims", generator_dims)
        if discriminator_dims is None:
            discriminator_dims = generator_dims[::-1]
        discriminator_dims = check_dims("discriminator_dims", discriminator_dims)
        check_activation(activation)
        check_number("dropout", dropout, 0.0, 0.95, open_low=False)
        check_number("lr", lr, 0.0, 1.0, open_low=True)
        self.lr_g = check_number("lr_g", lr if lr_g is None else lr_g, 0.0, 1.0, open_low=True)
        self.lr_d = check_number("lr_d", lr if lr_d is None else lr_d, 0.0, 1.0, open_low=True)
        self.betas = check_betas(betas)
        self.d_steps = self.period = check_whole("d_steps", d_steps, 1)
        self.label_smoothing = check_number(
            "label_smoothing", label_smoothing, 0.0, 0.5, open_low=False
        )
        self.ema_decay = check_number("ema_decay", ema_decay, 0.0, 0.99999, open_low=False)

        self.generator = nn.Sequential(
            *mlp([latent_dim, *generator_dims, PIXELS], activation=activation), nn.Tanh()
        )
        self.discriminator = mlp(
            [PIXELS, *discriminator_dims, 1], activation=activation, dropout=dropout
        )
        self.generator_ema = (
            copy.deepcopy(self.generator).requires_grad_(False) if self.ema_decay > 0 else None
        )

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z ~ U(-1, 1), (n, latent_dim); from the global generator if none is given."""
        device = generator.device if generator is not None else self.device
        z = torch.rand(n, self.latent_dim, generator=generator, device=device)
        return (2 * z - 1).to(self.device)

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, 1, 28, 28) in [0, 1] from z, (n, latent_dim)."""
        network = self.generator if self.generator_ema is None else self.generator_ema
        pixels = network(z).float()  # (n, 784) in [-1, 1]; bfloat16 under autocast
        return ((pixels + 1) / 2).view(-1, 1, IMAGE_SIZE, IMAGE_SIZE)

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw n new images, (n, 1, 28, 28) in [0, 1]."""
        return self.decode(self.prior(n, generator, labels))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One update of D and, every `d_steps`-th batch, one of G; returns what is logged."""
        optimizer_g, optimizer_d = cast(list[LightningOptimizer], self.optimizers())
        update_g = (self.global_step + 1) % self.d_steps == 0
        real = 2 * batch.images.flatten(1) - 1  # (b, 784) in [-1, 1], as G's tanh
        with torch.set_grad_enabled(update_g):
            z = self.prior(len(real) * self.trainer.world_size)  # one stream for all ranks
            fake = self.generator(z[self.global_rank :: self.trainer.world_size])  # (b, 784)

        both = torch.cat([real, fake.detach()])
        real_logits, fake_logits = self.discriminator(both).float().chunk(2)
        d_loss = discriminator_loss(real_logits, fake_logits, label_smoothing=self.label_smoothing)
        optimizer_d.zero_grad()
        self.manual_backward(d_loss)
        optimizer_d.step()  # the step that Lightning counts: one a batch

        logged = {
            "d_loss": d_loss.detach(),
            "d_real": real_logits.detach().sigmoid().mean(),
            "d_fake": fake_logits.detach().sigmoid().mean(),
        }
        if update_g:
            self.discriminator.requires_grad_(False)  # spares D's weight gradients
            g_loss = generator_loss(self.discriminator(fake).float())
            self.discriminator.requires_grad_(True)
            optimizer_g.zero_grad()
            self.manual_backward(g_loss)
            # Past Lightning's counter, which would count every optimizer (Lightning#17958).
            self.trainer.strategy.optimizer_step(optimizer_g.optimizer, lambda: None)
            self._update_ema()
            logged["g_loss"] = g_loss.detach()
        return logged

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """D on held-out images: `val/d_real` below `train/d_real` means that D overfits."""
        self._evaluation_step(batch.images, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on the test images."""
        self._evaluation_step(batch.images, batch_idx, "test")

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for G, then for D: the order in which checkpoints keep them."""
        betas = self.betas
        return [
            Adam(self.generator.parameters(), lr=self.lr_g, betas=betas, fused=True),
            Adam(self.discriminator.parameters(), lr=self.lr_d, betas=betas, fused=True),
        ]

    def _update_ema(self) -> None:
        if self.generator_ema is not None:
            averages: list[Tensor] = list(self.generator_ema.parameters())
            current: list[Tensor] = [weight.detach() for weight in self.generator.parameters()]
            torch._foreach_lerp_(averages, current, 1 - self.ema_decay)

    def _evaluation_step(self, images: Tensor, batch_idx: int, stage: str) -> None:
        noise = own_generator(stage, batch_idx, self.global_rank, device=self.device)
        real_logits = self.discriminator(2 * images.flatten(1) - 1).float()
        fakes = self.sample(len(images), noise)
        fake_logits = self.discriminator(2 * fakes.flatten(1) - 1).float()
        metrics = {
            f"{stage}/d_loss": discriminator_loss(real_logits, fake_logits),
            f"{stage}/g_loss": generator_loss(fake_logits),
            f"{stage}/d_real": real_logits.sigmoid().mean(),
            f"{stage}/d_fake": fake_logits.sigmoid().mean(),
        }
        # The log callback writes them, on the same axis (batches) as the training curves.
        self.log_dict(metrics, batch_size=len(images), sync_dist=True, logger=False)
