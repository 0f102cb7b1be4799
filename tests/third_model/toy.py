"""A third model, in a file of its own: a conditional auto-encoder without a likelihood."""

from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.data.loader import Batch
from gen_models.models.interface import labels_of

CLASSES = 10


class Toy(pl.LightningModule):
    """One linear layer each way; z is a code with the label, one-hot, appended."""

    def __init__(self, *, code_dim: int = 8, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.code_dim = code_dim
        self.latent_dim = code_dim + CLASSES
        self.encoder = nn.Linear(784 + CLASSES, code_dim)
        self.decoder = nn.Linear(self.latent_dim, 784)

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        code = torch.randn(n, self.code_dim, generator=generator)
        if labels is None:
            labels = torch.randint(CLASSES, (n,), generator=generator)
        return torch.cat([code, F.one_hot(labels, CLASSES).float()], 1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid().view(-1, 1, 28, 28)

    def sample(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        return self.decode(self.prior(n, generator, labels))

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        known = F.one_hot(labels_of(Batch(images, labels)), CLASSES).float()
        code = self.encoder(torch.cat([images.flatten(1), known], 1))
        mean = torch.cat([code, known], 1)
        return mean, torch.zeros_like(code)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"loss": self._loss(batch)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch), batch_size=len(batch.images), logger=False)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("test/loss", self._loss(batch), batch_size=len(batch.images), logger=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _loss(self, batch: Batch) -> Tensor:
        mean, _ = self.encode(batch.images, labels_of(batch))
        return F.mse_loss(self.decode(mean), batch.images)
