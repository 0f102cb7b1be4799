"""GAN on flattened images: two networks that compete.

Goodfellow et al. 2014, "Generative Adversarial Nets". The objectives are in `losses.py`:
`discriminator_loss` and `generator_loss`, the non-saturating one by default.
"""

import copy
from collections.abc import Iterator, Sequence
from math import lcm
from typing import cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gen_models.checks import check_betas, check_bool, check_choice, check_number, check_whole
from gen_models.data.loader import Batch
from gen_models.models import losses, networks
from gen_models.models.cuda_graphs import GraphedSteps
from gen_models.models.interface import GenerativeModel
from gen_models.models.layers import mlp
from gen_models.seeding import generator as own_generator


class GAN(GenerativeModel):
    """Generator, discriminator and their alternating training.

    Args:
        latent_dim: Width of the noise of z ~ U(-1, 1); a conditional model's z has one more column
            for each class.
        network: "mlp", or "conv" (`networks.py`).
        width: For "conv": channels of D's first convolution and of G's last.
        generator_dims: For "mlp": hidden widths of the generator, input to output.
        discriminator_dims: Hidden widths of the discriminator; None mirrors `generator_dims`.
        activation: Activation of the hidden layers; a key of `layers.ACTIVATIONS`.
        init: Initial weights of "mlp": "torch" or "he" (`layers.linear_layers`); with torch's, G's
            first images hardly depend on z, and D is soon sure of every one of them.
        dropout: Share of D's hidden units dropped, [0, 0.95]; with "conv", of its last inputs.
        spectral_norm: Spectral normalisation of the discriminator (Miyato et al. 2018).
        conditional: Both networks are given the label: images of a wanted class can be drawn.
        image_shape: (c, h, w) of the images.
        classes: Number of their classes.
        loss: One of `losses.GAN_LOSSES`.
        r1: Weight of half the mean squared gradient of D at real images, whose pixels lie in
            [-1, 1]; with "wgan_gp", 0 or more too.
        r2: The same at generated images.
        gradient_penalty: Weight of `slope_penalty`, for "wgan_gp" alone.
        penalty_every: D's penalties are computed every `penalty_every`-th batch, with a weight that
            is as many times larger (Karras et al. 2020, "lazy regularization").
        lr: Adam's learning rate for both networks.
        lr_g: Learning rate of the generator alone; None means `lr`.
        lr_d: Learning rate of the discriminator alone; None means `lr`.
        betas: Adam's decay rates.
        d_steps: Each batch is one update of D; G is updated every `d_steps`-th batch.
        label_smoothing: The target of real images is 1 less this; with "nonsaturating" alone.
        fresh_noise: G's update draws images of its own, not those that D has just seen.
        ema_decay: Samples come from an exponential moving average of G's weights with this decay
            per update of G; 0 turns it off.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    training_only = ("discriminator",)

    def __init__(
        self,
        *,
        latent_dim: int = 100,
        network: str = "mlp",
        width: int = 32,
        generator_dims: Sequence[int] | None = (256, 512, 1024),
        discriminator_dims: Sequence[int] | None = None,
        activation: str = "leaky_relu",
        init: str = "torch",
        dropout: float = 0.3,
        spectral_norm: bool = False,
        conditional: bool = False,
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
        loss: str = "nonsaturating",
        r1: float = 0.0,
        r2: float = 0.0,
        gradient_penalty: float = 10.0,
        penalty_every: int = 1,
        lr: float = 2e-4,
        lr_g: float | None = None,
        lr_d: float | None = None,
        betas: Sequence[float] = (0.5, 0.999),
        d_steps: int = 1,
        label_smoothing: float = 0.0,
        fresh_noise: bool = False,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__(
            noise_dim=check_whole("latent_dim", latent_dim, 1),
            conditional=check_bool("conditional", conditional),
            image_shape=image_shape,
            classes=classes,
            prior_kind="uniform",
        )
        self.save_hyperparameters()
        self.automatic_optimization = False
        networks.check_network(network, width, activation, init)
        generator_dims, discriminator_dims = networks.check_mirrored(
            ("generator_dims", "discriminator_dims"), network, generator_dims, discriminator_dims
        )
        check_number("dropout", dropout, 0.0, 0.95)
        check_bool("spectral_norm", spectral_norm)
        self.loss = check_choice("loss", loss, losses.GAN_LOSSES)
        self.r1 = check_number("r1", r1, 0.0, 1e6)
        self.r2 = check_number("r2", r2, 0.0, 1e6)
        self.gradient_penalty = check_number("gradient_penalty", gradient_penalty, 0.0, 1e6)
        self.penalty_every = check_whole("penalty_every", penalty_every, 1)
        check_number("lr", lr, 0.0, 1.0, open_low=True)
        self.lr_g = check_number("lr_g", lr if lr_g is None else lr_g, 0.0, 1.0, open_low=True)
        self.lr_d = check_number("lr_d", lr if lr_d is None else lr_d, 0.0, 1.0, open_low=True)
        self.betas = check_betas(betas)
        self.d_steps = check_whole("d_steps", d_steps, 1)
        self.period = lcm(self.d_steps, self.penalty_every)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0.0, 0.5)
        if label_smoothing > 0 and loss != "nonsaturating":
            raise ValueError(f"label_smoothing must be 0 with loss={loss}, got {label_smoothing}")
        self.fresh_noise = check_bool("fresh_noise", fresh_noise)
        self.ema_decay = check_number("ema_decay", ema_decay, 0.0, 0.99999)

        shape, columns = self.image_shape, self.label_dim
        if network == "conv":
            body = networks.conv_up(shape, self.latent_dim, width=width, activation=activation)
            self.discriminator = networks.conv_down(
                shape, 1, width=width, activation=activation, classes=columns, dropout=dropout
            )
        else:
            widths = [self.latent_dim, *generator_dims, self.pixels]
            body = mlp(widths, activation=activation, init=init)
            widths = [self.pixels + columns, *discriminator_dims, 1]
            self.discriminator = mlp(widths, activation=activation, dropout=dropout, init=init)
        if spectral_norm:
            networks.normalise_spectrally(self.discriminator)
        self.generator = nn.Sequential(*body, nn.Tanh())
        self._graphed_steps: GraphedSteps | None = None
        self.generator_ema = (
            copy.deepcopy(self.generator).requires_grad_(False) if self.ema_decay > 0 else None
        )

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] from z, (n, latent_dim)."""
        network = self.generator if self.generator_ema is None else self.generator_ema
        pixels = network(networks.label_columns(z, self.label_dim))
        # (n, c h w) in [-1, 1]; bfloat16 under autocast
        return ((pixels.float() + 1) / 2).view(-1, *self.image_shape)

    def decoding_weights(self) -> Iterator[nn.Parameter]:
        """The generator's weights; their moving average has as many."""
        return self.generator.parameters()

    def on_train_start(self) -> None:
        """Set up CUDA graphs, on one GPU and if all steps are alike."""
        one_gpu = self.device.type == "cuda" and self.trainer.world_size == 1
        if self.cuda_graphs and one_gpu and self.period == 1:
            parameters = [*self.generator.parameters(), *self.discriminator.parameters()]
            self._graphed_steps = GraphedSteps(self._gradients, parts=2, parameters=parameters)

    def on_train_end(self) -> None:
        """Free the graphs, because the weights may be moved now."""
        self._graphed_steps = None

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One update of D and, every `d_steps`-th batch, one of G; returns what is logged."""
        optimizer_g, optimizer_d = cast(list[LightningOptimizer], self.optimizers())
        gradients = self._graphed_steps or self._gradients
        images = batch.images.flatten(1)
        step = gradients(images, self.columns_of(batch.labels, images))
        logged = dict(next(step))
        optimizer_d.step()  # the step that Lightning counts: one a batch
        if self.global_step % self.d_steps == 0:
            logged |= next(step)
            # Past Lightning's counter, which would count every optimizer (Lightning#17958).
            self.trainer.strategy.optimizer_step(optimizer_g.optimizer, lambda: None)
            if self.generator_ema is not None:
                average, current = self.generator_ema.parameters(), self.generator.parameters()
                get_ema_multi_avg_fn(self.ema_decay)(tuple(average), tuple(current), 0)
        return logged

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same for held-out images; D overfits if `val/d_real` is below `train/d_real`."""
        stage = "test" if self.trainer.testing else "val"
        images = batch.images
        noise = own_generator(stage, batch_idx, self.global_rank, device=self.device)
        real = 2 * images.flatten(1) - 1
        columns = self.columns_of(batch.labels, images)
        fake = 2 * self.sample(len(images), noise, batch.labels).flatten(1) - 1
        real_logits, fake_logits = (
            self.discriminator(torch.cat([x, columns], 1)).float() for x in (real, fake)
        )
        metrics = {
            f"{stage}/d_loss": losses.discriminator_loss(real_logits, fake_logits, loss=self.loss),
            f"{stage}/g_loss": losses.generator_loss(fake_logits, real_logits, loss=self.loss),
            f"{stage}/d_real": real_logits.sigmoid().mean(),
            f"{stage}/d_fake": fake_logits.sigmoid().mean(),
        }
        # The log callback writes them, on the same axis (batches) as the training curves.
        self.log_dict(metrics, batch_size=len(images), sync_dist=True, logger=False)

    test_step = validation_step

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for G, then for D: the order in which checkpoints keep them."""
        return [
            Adam(network.parameters(), lr=lr, betas=self.betas, fused=True)
            for network, lr in ((self.generator, self.lr_g), (self.discriminator, self.lr_d))
        ]

    def _gradients(self, images: Tensor, columns: Tensor) -> Iterator[dict[str, Tensor]]:
        """Compute D's gradients and, once D is updated, G's; yield what is logged of each.

        Args:
            images: (b, c h w) in [0, 1].
            columns: The columns of their labels, (b, classes), or (b, 0) if the model takes none.
        """
        done = self.global_step + 1  # with this step
        update_g = done % self.d_steps == 0
        real = 2 * images - 1  # in [-1, 1], as G's tanh
        with torch.set_grad_enabled(update_g and not self.fresh_noise):
            fake = self._generate(columns)
        real = torch.cat([real, columns], 1)

        both = torch.cat([real, fake.detach()])
        real_logits, fake_logits = self.discriminator(both).float().chunk(2)
        d_loss = losses.discriminator_loss(
            real_logits, fake_logits, loss=self.loss, label_smoothing=self.label_smoothing
        )
        logged = {"d_loss": d_loss.detach()}
        if done % self.penalty_every == 0:
            for name, (weight, value) in self._penalties(real, fake.detach()).items():
                d_loss = d_loss + self.penalty_every * weight * value
                logged[name] = value.detach()
        self.discriminator.zero_grad()
        self.manual_backward(d_loss)
        logged["d_real"] = real_logits.detach().sigmoid().mean()
        logged["d_fake"] = fake_logits.detach().sigmoid().mean()
        yield logged

        if not update_g:
            return
        self.discriminator.requires_grad_(False)  # spares D's weight gradients
        g_loss = self._generator_loss(real, self._generate(columns) if self.fresh_noise else fake)
        self.discriminator.requires_grad_(True)
        self.generator.zero_grad()
        self.manual_backward(g_loss)
        yield {"g_loss": g_loss.detach()}

    def _generate(self, columns: Tensor) -> Tensor:
        """Images of new noise and the columns of their labels: (b, c h w + k) in [-1, 1]."""
        world, rank = self.trainer.world_size, self.global_rank
        noise = self.noise(len(columns) * world)[rank::world]  # one stream for all ranks
        z = torch.cat([noise, columns], 1)
        return torch.cat([self.generator(z), columns], 1)

    def _penalties(self, real: Tensor, fake: Tensor) -> dict[str, tuple[float, Tensor]]:
        """D's gradient penalties by name: the weight and the mean over the batch, in float32."""
        columns = real[:, self.pixels :].float()  # labels; slopes are taken by the pixels alone
        real, fake = real[:, : self.pixels].float(), fake[:, : self.pixels].float()

        def judge(images: Tensor) -> tuple[Tensor, Tensor]:
            x = images.clone().requires_grad_(True)
            return self.discriminator(torch.cat([x, columns], 1)), x

        penalties: dict[str, tuple[float, Tensor]] = {}
        with torch.autocast(self.device.type, enabled=False):
            if self.r1 > 0:
                penalties["r1"] = self.r1 / 2, losses.squared_gradients(*judge(real)).mean()
            if self.r2 > 0:
                penalties["r2"] = self.r2 / 2, losses.squared_gradients(*judge(fake)).mean()
            if self.loss == "wgan_gp" and self.gradient_penalty > 0:
                world, rank = self.trainer.world_size, self.global_rank
                share = torch.rand(len(real) * world, 1, device=self.device)[rank::world]
                value = losses.slope_penalty(*judge(torch.lerp(fake, real, share)))
                penalties["gradient_penalty"] = self.gradient_penalty, value
        return penalties

    def _generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.loss != "relativistic":
            return losses.generator_loss(self.discriminator(fake).float(), loss=self.loss)
        real_logits, fake_logits = self.discriminator(torch.cat([real, fake])).float().chunk(2)
        return losses.generator_loss(fake_logits, real_logits, loss=self.loss)
