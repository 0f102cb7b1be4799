"""VAE on flattened images: an encoder and a decoder that learn one bound on the likelihood.

Kingma & Welling 2014, "Auto-Encoding Variational Bayes". The objective, the negative ELBO by
default, is put together in `VAE._step`, of the terms in `losses.py` (beta: Higgins et al. 2017).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gen_models.checks import check_betas, check_bool, check_choice, check_number, check_whole
from gen_models.data.loader import Batch, InMemoryLoader
from gen_models.models import losses, networks
from gen_models.models.interface import Likelihood
from gen_models.models.pseudo_inputs import PseudoInputs
from gen_models.seeding import generator as own_generator

PRIORS = {"standard": "normal", "vamp": "mixture"}
FIRST_VARIANCE = 0.1  # of the pixels of "gaussian", about that of all pixels of MNIST


class VAE(Likelihood):
    """Encoder, decoder and their training by the ELBO.

    Args:
        latent_dim: Width of the noise of z; a conditional model's z has one more column a class.
        network: "mlp", or "conv" (`networks.py`).
        width: For "conv": channels of the encoder's first convolution and of the decoder's last.
        encoder_dims: For "mlp": hidden widths of the encoder, input to output.
        decoder_dims: Hidden widths of the decoder; None mirrors `encoder_dims`.
        activation: Activation of the hidden layers; a key of `layers.ACTIVATIONS`.
        init: Initial weights of "mlp": "torch" or "he" (`layers.linear_layers`).
        conditional: Both networks are given the label: images of a wanted class can be drawn.
        image_shape: (c, h, w) of the images.
        classes: Number of their classes.
        likelihood: Distribution of the pixels; one of `losses.VAE_LIKELIHOODS`.
        prior: "standard", N(0, I), or "vamp" (`pseudo_inputs.py`), whose KL is estimated.
        vamp_components: Pseudo-inputs of "vamp", which start as training images.
        lr: Adam's learning rate, of all weights.
        betas: Adam's decay rates.
        eps: Adam's constant, added to the root of the second moment.
        beta: Weight of the KL term; 1 is the ELBO.
        kl_warmup_epochs: The KL's weight rises linearly from 0 to `beta` over so many epochs.
        free_bits: Nats that each latent's KL, a mean over the batch, counts as at least while it
            trains (Kingma et al. 2016); 0 is off. Validation is without.
        iwae_samples: Samples of z an image, of the importance weighted bound that is the loss
            (Burda et al. 2016); 1 is the ELBO.
        binarize: Draw each pixel from Bernoulli(grey) anew at every step; without, the term of
            "bernoulli" is no likelihood and compares with no published one.
        data_bias: The decoder's last bias starts at the logit of the mean training image ("conv":
            of its mean pixel), cut to [0.001, 0.999], as in Burda et al. 2016's code, not near 0.

    Raises:
        ValueError: An argument is out of its range or refuses another; the message names it.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 64,
        network: str = "mlp",
        width: int = 32,
        encoder_dims: Sequence[int] | None = (256,),
        decoder_dims: Sequence[int] | None = None,
        activation: str = "relu",
        init: str = "torch",
        conditional: bool = False,
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
        likelihood: str = "bernoulli",
        prior: str = "standard",
        vamp_components: int = 500,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        beta: float = 1.0,
        kl_warmup_epochs: int = 0,
        free_bits: float = 0.0,
        iwae_samples: int = 1,
        binarize: bool = False,
        data_bias: bool = False,
    ) -> None:
        super().__init__(
            noise_dim=check_whole("latent_dim", latent_dim, 1),
            conditional=check_bool("conditional", conditional),
            image_shape=image_shape,
            classes=classes,
            prior_kind=PRIORS[check_choice("prior", prior, list(PRIORS))],
        )
        self.save_hyperparameters()
        networks.check_network(network, width, activation, init)
        encoder_dims, decoder_dims = networks.check_mirrored(
            ("encoder_dims", "decoder_dims"), network, encoder_dims, decoder_dims
        )
        self.likelihood = check_choice("likelihood", likelihood, losses.VAE_LIKELIHOODS)
        self.density = likelihood != "bernoulli"  # of grey pixels
        check_whole("vamp_components", vamp_components, 1)
        self.lr = check_number("lr", lr, 0.0, 1.0, open_low=True)
        self.betas = check_betas(betas)
        self.eps = check_number("eps", eps, 0.0, 1.0, open_low=True)
        self.beta = check_number("beta", beta, 0.0, 1e6)
        self.kl_warmup_epochs = check_whole("kl_warmup_epochs", kl_warmup_epochs, 0)
        self.free_bits = check_number("free_bits", free_bits, 0.0, 1e6)
        if free_bits > 0 and prior == "vamp":
            raise ValueError("free_bits must be 0 with prior=vamp, whose KL is no sum over latents")
        self.iwae_samples = check_whole("iwae_samples", iwae_samples, 1)
        if iwae_samples > 1 and (beta != 1 or free_bits > 0 or kl_warmup_epochs > 0):
            raise ValueError(
                "iwae_samples must be 1 with beta, free_bits or kl_warmup_epochs, which change the "
                f"KL term, got {iwae_samples}"
            )
        self.binarize = check_bool("binarize", binarize)
        if binarize and self.density:
            raise ValueError(f"binarize must be false with likelihood={likelihood}")
        self.data_bias = check_bool("data_bias", data_bias)

        shape, columns = self.image_shape, self.label_dim
        self.network: networks.LinearVAE | networks.ConvVAE
        if network == "conv":
            self.network = networks.ConvVAE(shape, latent_dim, width, activation, columns)
        else:
            self.network = networks.LinearVAE(
                self.pixels, latent_dim, encoder_dims, decoder_dims, activation, columns, init
            )
        self.pixel_logvar: nn.Parameter | None = None  # of "gaussian", one for all pixels
        if likelihood == "gaussian":
            self.pixel_logvar = nn.Parameter(torch.tensor(FIRST_VARIANCE).log())
        self.pseudo_inputs = (
            PseudoInputs(vamp_components, self.pixels, columns) if prior == "vamp" else None
        )

    def setup(self, stage: str) -> None:
        """Set the last bias and the pseudo-inputs, before a checkpoint's weights are loaded."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage != "fit" or datamodule is None:  # none: a step of a copy, which costs the same
            return
        loader: InMemoryLoader = datamodule.train_dataloader()
        if self.data_bias:
            mean = loader.images.flatten(1).double().mean(0) / 255  # (c h w,)
            bias = self.network.last_bias  # (c h w,) or (c,)
            with torch.no_grad():
                bias.copy_(mean.view(len(bias), -1).mean(1).clamp(0.001, 0.999).logit())
        if self.pseudo_inputs is not None:
            self.pseudo_inputs.start(loader)

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw the noise of z, (n, noise_dim), from N(0, I) or the mixture of "vamp"."""
        noise = super().noise(n, generator)
        if self.pseudo_inputs is None:
            return noise
        mu, logvar = self.pseudo_inputs(self.network)
        device = self.device if generator is None else generator.device
        which = torch.randint(len(mu), (n,), generator=generator, device=device).to(mu.device)
        return losses.posterior_sample(mu[which], logvar[which], noise)

    def decode(self, z: Tensor) -> Tensor:
        """Means of the pixels, (n, c, h, w) in [0, 1], from z, (n, latent_dim)."""
        logits = self._logits(z)
        continuous = self.likelihood == "continuous_bernoulli"
        pixels = losses.continuous_bernoulli_mean(logits) if continuous else logits.sigmoid()
        return pixels.view(-1, *self.image_shape)

    def decoding_weights(self) -> Iterable[nn.Parameter]:
        """The decoder's weights."""
        weights = self.network.named_parameters()
        return [weight for name, weight in weights if name.startswith("dec")]

    def sampling_weights(self) -> Iterable[nn.Parameter]:
        """The decoder's weights; with "vamp", those of the prior's mixture too."""
        if self.pseudo_inputs is None:
            return self.decoding_weights()
        return [*self.network.parameters(), *self.pseudo_inputs.parameters()]

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (n, latent_dim), from (n, c, h, w).

        A conditional model's mean ends with the label's columns, which are known and have no
        log-variance.
        """
        x = images.flatten(1)
        if not self.conditional:
            mu, logvar = self.network.encode(x)
            return mu.float(), logvar.float()
        columns = self.columns_of(labels, x)
        mu, logvar = self.network.encode(torch.cat([x, columns], 1))
        return torch.cat([mu.float(), columns], 1), logvar.float()

    def log_likelihood(self, z: Tensor, images: Tensor) -> Tensor:
        """Log p(x | z) in nats, (..., n), from z, (..., n, latent_dim), and (n, c, h, w).

        On grey pixels, a cross-entropy and no likelihood with "bernoulli", else a log density.
        """
        return losses.log_pixels(
            self._logits(z), images.flatten(1), likelihood=self.likelihood, logvar=self.pixel_logvar
        )

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (...), from z, (..., latent_dim); of a label's columns, nothing."""
        noise = z[..., : self.noise_dim]
        if self.pseudo_inputs is None:
            return losses.log_normal(noise, torch.zeros_like(noise))
        return losses.log_mixture(noise, *self.pseudo_inputs(self.network))

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) in nats: exact, (n,), or estimated with "vamp", (..., n)."""
        mu = mu[:, : self.noise_dim]
        if self.pseudo_inputs is None:
            return losses.kl_to_standard_normal(mu, logvar).sum(1)
        noise = (z[..., : self.noise_dim] - mu) * (-0.5 * logvar).exp()
        return losses.log_normal(noise, logvar) - self.log_prior(z)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss of one batch, with its parts for the log."""
        images, world, rank = batch.images, self.trainer.world_size, self.global_rank
        if self.binarize:  # drawn for the batch of all ranks, so that adding one changes nothing
            uniform = torch.rand(len(images) * world, *images.shape[1:], device=self.device)
            images = (uniform[rank::world] < images).float()
        shape = self.iwae_samples, len(images) * world, self.noise_dim
        noise = torch.randn(shape, device=self.device)[:, rank::world]
        logged = self._step(
            images, noise, batch.labels, kl_weight=self._kl_weight(), free_bits=self.free_bits
        )
        return {**logged, "recon": logged["recon"].detach(), "kl": logged["kl"].detach()}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of held-out images, with its parts."""
        stage = "test" if self.trainer.testing else "val"
        images = batch.images
        own = own_generator(stage, batch_idx, self.global_rank, device=self.device)
        if self.binarize:
            images = torch.bernoulli(images, generator=own)
        shape = self.iwae_samples, len(images), self.noise_dim
        noise = torch.randn(shape, generator=own, device=self.device)
        logged = self._step(images, noise, batch.labels, kl_weight=self.beta)
        # The log callback writes them, on the same axis (batches) as the training curves.
        metrics = {f"{stage}/{key}": value for key, value in logged.items()}
        self.log_dict(metrics, batch_size=len(images), sync_dist=True, logger=False)

    test_step = validation_step

    def configure_optimizers(self) -> Optimizer:
        """Adam over all weights."""
        return Adam(self.parameters(), lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def _step(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor | None = None,
        *,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
    ) -> dict[str, Tensor]:
        """Loss, reconstruction and KL terms, means over the batch in nats per image.

        With k > 1 samples of noise, (k, b, noise_dim), the loss is the importance weighted one.
        """
        mu, logvar = self.encode(images, labels)  # (b, latent_dim), (b, noise_dim)
        z = losses.posterior_sample(mu, logvar, noise)  # (k, b, latent_dim)
        if len(noise) > 1:
            recon = -self.log_likelihood(z, images)  # (k, b)
            kl = losses.log_normal(noise, logvar) - self.log_prior(z)
            loss = losses.importance_weighted_loss(-recon - kl)
            return {"loss": loss.mean(), "recon": recon.mean(), "kl": kl.mean()}
        if self.likelihood == "bernoulli":  # equal to the other, but not in the last bit
            recon = losses.bernoulli_nll(self._logits(z[0]), images.flatten(1)).mean()
        else:
            recon = -self.log_likelihood(z[0], images).mean()
        kl = self.kl(mu, logvar, z[0]).mean()
        penalty = kl
        if free_bits > 0:
            latent_kl = losses.kl_to_standard_normal(mu[:, : self.noise_dim], logvar).mean(0)
            global_kl = self.trainer.strategy.reduce(latent_kl.detach(), reduce_op="mean")
            penalty = losses.free_bits_penalty(latent_kl, global_kl, free_bits)
        return {"loss": recon + kl_weight * penalty, "recon": recon, "kl": kl}

    def _logits(self, z: Tensor) -> Tensor:
        """The decoder's logits of z, (..., latent_dim), in float32: (..., c h w)."""
        return self.network.decode(networks.label_columns(z, self.label_dim)).float()

    def _kl_weight(self) -> float:
        warmup = self.kl_warmup_epochs * self.trainer.num_training_batches
        return self.beta * min(1.0, (self.global_step + 1) / warmup) if warmup else self.beta
