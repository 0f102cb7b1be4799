"""A third model, in a file of its own: a conditional auto-encoder without a likelihood."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.data.loader import Batch
from gen_models.models.interface import Encoder


class Toy(Encoder):
    """One linear layer each way; z is a code with the label, one-hot, appended."""

    def __init__(self, *, code_dim: int = 8, lr: float = 1e-3, **facts: Any) -> None:
        super().__init__(
            noise_dim=code_dim,
            conditional=True,
            prior_kind="normal",
            **facts,
        )
        self.save_hyperparameters()
        self.lr = lr
        self.encoder = nn.Linear(self.pixels + self.label_dim, code_dim)
        self.decoder = nn.Linear(self.latent_dim, self.pixels)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid().view(-1, *self.image_shape)

    def decoding_weights(self) -> Iterator[nn.Parameter]:
        return self.decoder.parameters()

    def encode(
        self,
        images: Tensor,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        known = self.columns_of(labels, images)
        code = self.encoder(torch.cat([images.flatten(1), known], 1))
        mean = torch.cat([code, known], 1)
        return mean, torch.zeros_like(code)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"loss": self._loss(batch)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._loss(batch)
        self.log("val/loss", loss, batch_size=len(batch.images), logger=False)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._loss(batch)
        self.log("test/loss", loss, batch_size=len(batch.images), logger=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _loss(self, batch: Batch) -> Tensor:
        mean, _ = self.encode(batch.images, batch.labels)
        return F.mse_loss(self.decode(mean), batch.images)
