"""Train GANs, VAEs and flows on small images with one command, and compare them by measurement.

from gen_models import load_pretrained
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_models.pretrained.catalogue import load_pretrained as load_pretrained


def __getattr__(name: str) -> Any:
    """`load_pretrained`, imported when it is asked for: no other part waits for it."""
    if name == "load_pretrained":
        from gen_models.pretrained.catalogue import load_pretrained

        return load_pretrained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
