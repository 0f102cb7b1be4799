"""The pseudo-inputs of a VAE's "vamp" prior, a mixture of the posteriors of learned images.

Tomczak & Welling 2018, "VAE with a VampPrior", equation 9.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen_models.data.loader import InMemoryLoader
from gen_models.errors import UserError
from gen_models.models.networks import ConvVAE, LinearVAE, require_labels


class PseudoInputs(nn.Module):
    """Learned pixels and, if conditional, labels, which are encoded to the prior's components.

    Kept as logits, so that training never leaves [0, 1].

    Args:
        count: Components of the prior.
        pixels: Of an image, c h w.
        classes: Columns of a label, which then are learned like pixels.
    """

    def __init__(self, count: int, pixels: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.logits = nn.Parameter(torch.randn(count, pixels + classes))

    def forward(self, network: LinearVAE | ConvVAE) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the components, (count, d) each."""
        mu, logvar = network.encode(self.logits.sigmoid())
        return mu.float(), logvar.float()

    @torch.no_grad()
    def start(self, loader: InMemoryLoader) -> None:
        """Set them to the first training images and their labels.

        Raises:
            UserError: There are fewer training images than components.
        """
        count = len(self.logits)
        if count > len(loader.images):
            raise UserError(
                f"model.vamp_components={count}: there are {len(loader.images):,} training images: "
                "choose no more"
            )
        first = loader.images[:count].flatten(1).float() / 255
        if self.classes:
            labels = None if loader.labels is None else loader.labels[:count]
            columns = F.one_hot(require_labels(labels), self.classes)
            first = torch.cat([first, columns], 1)
        self.logits.copy_(first.clamp(0.01, 0.99).logit())
