"""The models, and the interface by which everything else knows them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that mypy holds each model to the interface
    from gen_models.models.gan import GAN
    from gen_models.models.interface import Encoder, GenerativeModel, Likelihood, Periodic
    from gen_models.models.vae import VAE

    _gan: type[GenerativeModel] = GAN
    _periodic: type[Periodic] = GAN
    _encoder: type[Encoder] = VAE
    _likelihood: type[Likelihood] = VAE
