"""VAE with a Bernoulli decoder on flattened images.

Kingma & Welling 2014, "Auto-Encoding Variational Bayes". The objective, the negative ELBO, stands
in `losses.py`: `bernoulli_nll` + beta * `kl_to_standard_normal` (beta: Higgins et al. 2017).
"""

from collections.abc import Sequence

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gen_models.checks import check_betas, check_bool, check_dims, check_number, check_whole
from gen_models.data.loader import IMAGE_SIZE, Batch
from gen_models.models.layers import ACTIVATIONS, PIXELS, check_activation, linear_layers
from gen_models.models.losses import bernoulli_nll, kl_to_standard_normal
from gen_models.seeding import generator as own_generator


class LinearVAE(nn.Module):
    """Encoder `enc1..` and decoder `dec1..` of linear layers, as the report prints them.

    The activation is applied as a function, so that it does not show as a submodule.
    """

    def __init__(
        self,
        latent_dim: int,
        encoder_dims: Sequence[int],
        decoder_dims: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        encoder_widths = [PIXELS, *encoder_dims, 2 * latent_dim]  # means and log-variances
        decoder_widths = [latent_dim, *decoder_dims, PIXELS]
        for name, widths in (("enc", encoder_widths), ("dec", decoder_widths)):
            for i, layer in enumerate(linear_layers(widths), start=1):
                self.add_module(f"{name}{i}", layer)
        self.depths = {"enc": len(encoder_dims) + 1, "dec": len(decoder_dims) + 1}
        self.activation = ACTIVATIONS[activation]

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, 784) pixels."""
        mu, logvar = self._layers("enc", images).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, (n, 784), from (n, latent_dim)."""
        return self._layers("dec", z)

    @property
    def last_bias(self) -> nn.Parameter:
        """Of the pixels' logits, (784,)."""
        bias: nn.Parameter = getattr(self, f"dec{self.depths['dec']}").bias
        return bias

    def _layers(self, name: str, x: Tensor) -> Tensor:
        depth = self.depths[name]
        for i in range(1, depth):
            x = self.activation(getattr(self, f"{name}{i}")(x))
        output: Tensor = getattr(self, f"{name}{depth}")(x)
        return output


class VAE(pl.LightningModule):
    """Encoder, decoder and their training by the ELBO.

    Args:
        latent_dim: Width of z ~ N(0, I).
        encoder_dims: Hidden widths of the encoder, input to output.
        decoder_dims: Hidden widths of the decoder; None mirrors `encoder_dims`.
        activation: Hidden layers of both networks; a key of `layers.ACTIVATIONS`.
        lr: Adam's learning rate; one optimizer trains both networks.
        betas: Adam's decay rates.
        eps: Adam's, added to the root of the second moment.
        beta: Weight of the KL term; 1 is the ELBO.
        kl_warmup_epochs: The KL's weight rises linearly from 0 to `beta` over so many epochs.
        binarize: Draw each pixel from Bernoulli(grey) anew at every step; without it the
            reconstruction term is no likelihood and compares with no published one.
        data_bias: The decoder's last bias starts at the logit of the mean training image, cut to
            [0.001, 0.999], as in Burda et al. 2016's code; without it, near 0.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 64,
        encoder_dims: Sequence[int] = (256,),
        decoder_dims: Sequence[int] | None = None,
        activation: str = "relu",
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        beta: float = 1.0,
        kl_warmup_epochs: int = 0,
        binarize: bool = False,
        data_bias: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.latent_dim = check_whole("latent_dim", latent_dim, 1)
        encoder_dims = check_dims("encoder_dims", encoder_dims)
        if decoder_dims is None:
            decoder_dims = encoder_dims[::-1]
        decoder_dims = check_dims("decoder_dims", decoder_dims)
        check_activation(activation)
        self.lr = check_number("lr", lr, 0.0, 1.0, open_low=True)
        self.betas = check_betas(betas)
        self.eps = check_number("eps", eps, 0.0, 1.0, open_low=True)
        self.beta = check_number("beta", beta, 0.0, 1e6, open_low=False)
        self.kl_warmup_epochs = check_whole("kl_warmup_epochs", kl_warmup_epochs, 0)
        self.binarize = check_bool("binarize", binarize)
        self.data_bias = check_bool("data_bias", data_bias)
        self.network = LinearVAE(latent_dim, encoder_dims, decoder_dims, activation)

    def setup(self, stage: str) -> None:
        """Set the last bias from the training images, before a checkpoint's weights are loaded."""
        if stage == "fit" and self.data_bias:
            images: Tensor = self.trainer.datamodule.train_dataloader().images  # type: ignore[attr-defined]
            mean = images.flatten(1).double().mean(0) / 255
            with torch.no_grad():
                self.network.last_bias.copy_(mean.clamp(0.001, 0.999).logit())

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw z ~ N(0, I), (n, latent_dim); from the global generator if none is given."""
        device = generator.device if generator is not None else self.device
        return torch.randn(n, self.latent_dim, generator=generator, device=device).to(self.device)

    def decode(self, z: Tensor) -> Tensor:
        """Means of the pixels, (n, 1, 28, 28) in [0, 1], from z, (n, latent_dim)."""
        pixels = self.network.decode(z).float().sigmoid()
        return pixels.view(-1, 1, IMAGE_SIZE, IMAGE_SIZE)

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Draw n new images (the decoder's means), (n, 1, 28, 28) in [0, 1]."""
        return self.decode(self.prior(n, generator, labels))

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim), from (n, 1, 28, 28)."""
        mu, logvar = self.network.encode(images.flatten(1))
        return mu.float(), logvar.float()

    def log_likelihood(self, z: Tensor, images: Tensor) -> Tensor:
        """Log p(x | z) in nats, (..., n), from z, (..., n, latent_dim), and (n, 1, 28, 28).

        On grey pixels a cross-entropy, and no likelihood.
        """
        pixels = images.flatten(1)  # (n, p)
        logits = self.network.decode(z).float()  # (..., n, p)
        # x log sigmoid(l) + (1 - x) log(1 - sigmoid(l)); three times faster than torch's BCE
        return torch.einsum("...np,np->...n", logits, pixels) - F.softplus(logits).sum(-1)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss of one batch, with its parts for the log."""
        images, world, rank = batch.images, self.trainer.world_size, self.global_rank
        if self.binarize:  # drawn for the batch of all ranks, so that adding one changes nothing
            uniform = torch.rand(len(images) * world, *images.shape[1:], device=self.device)
            images = (uniform[rank::world] < images).float()
        noise = torch.randn(len(images) * world, self.latent_dim, device=self.device)
        recon, kl = self._step(images, noise[rank::world])
        return {"loss": recon + self._kl_weight() * kl, "recon": recon.detach(), "kl": kl.detach()}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss of held-out images."""
        self._evaluation_step(batch.images, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss of the test images."""
        self._evaluation_step(batch.images, batch_idx, "test")

    def configure_optimizers(self) -> Optimizer:
        """Adam over the encoder and the decoder."""
        return Adam(self.parameters(), lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def _step(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL terms with one posterior sample; nats per image, batch means."""
        mu, logvar = self.encode(images)  # (b, latent_dim) each
        z = mu + (0.5 * logvar).exp() * noise
        logits = self.network.decode(z).float()  # (b, 784)
        recon = bernoulli_nll(logits, images.flatten(1)).mean()
        kl = kl_to_standard_normal(mu, logvar).sum(1).mean()
        return recon, kl

    def _kl_weight(self) -> float:
        warmup = self.kl_warmup_epochs * self.trainer.num_training_batches
        return self.beta * min(1.0, (self.global_step + 1) / warmup) if warmup else self.beta

    def _evaluation_step(self, images: Tensor, batch_idx: int, stage: str) -> None:
        own = own_generator(stage, batch_idx, self.global_rank, device=self.device)
        if self.binarize:
            images = torch.bernoulli(images, generator=own)
        recon, kl = self._step(images, self.prior(len(images), own))
        metrics = {
            f"{stage}/loss": recon + self.beta * kl,
            f"{stage}/recon": recon,
            f"{stage}/kl": kl,
        }
        # The log callback writes them, on the same axis (batches) as the training curves.
        self.log_dict(metrics, batch_size=len(images), sync_dist=True, logger=False)
