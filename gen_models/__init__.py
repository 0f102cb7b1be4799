"""Train GANs, VAEs and flows on small images with one command, and compare them by measurement.

from gen_models import load_pretrained
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen_models.models.interface import GenerativeModel


def load_pretrained(name: str) -> "GenerativeModel":
    """A trained model that comes with the package, in eval mode on the CPU.

    Args:
        name: One of `gen-models models`: "mnist/gan_best".

    Raises:
        UserError: There is no such model.
    """
    from gen_models.pretrained.catalogue import find_model
    from gen_models.runs.weights import load_model  # needs torch, for which no other part waits

    return load_model(find_model(name))
