"""The run directory: its name, its files, its status, its checkpoints, the model in it.

from gen_models.runs import load_model
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_models.runs.weights import load_model as load_model


def __getattr__(name: str) -> Any:
    """`load_model`, imported when it is asked for: it needs torch, and the paths do not."""
    if name == "load_model":
        from gen_models.runs.weights import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
