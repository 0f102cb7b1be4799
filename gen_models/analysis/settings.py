"""The settings of a run as they are compared, and in words."""

from collections.abc import Sequence
from typing import Any

HIDDEN_DIMS = "hidden_dims"  # of generator or encoder, as in conf/config.yaml
MIRRORED = {  # setting -> what it is where it is not set
    "model.discriminator_dims": "model.generator_dims",
    "model.decoder_dims": "model.encoder_dims",
}
OFF = {  # settings that limit nothing
    ("max_steps", -1),
    ("limit_train_batches", 1),
    ("limit_val_batches", 1),
    ("early.min_delta", 0),
}
SAME_RATE = ("model.lr_g", "model.lr_d")


def canonical(identity: dict[str, Any]) -> dict[str, Any]:
    """Settings, hashable, the same for the same network: what only repeats its default is None."""
    settings = {key: _hashable(value) for key, value in identity.items()}
    repeats = [
        key
        for key, source in MIRRORED.items()
        if settings.get(key) is not None and settings[key] == settings[source][::-1]
    ]
    repeats += [key for key in SAME_RATE if settings.get(key) == settings.get("model.lr")]
    return settings | {key: None for key in repeats if key in settings}


def varying(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose value is not the same in all of them."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [k for k in keys if any(each.get(k) != settings[0].get(k) for each in settings)]


def short_name(key: str) -> str:
    """A setting as it is typed: "model.lr" -> "lr", the widths of both networks "hidden_dims"."""
    return HIDDEN_DIMS if key in MIRRORED.values() else key.removeprefix("model.")


def show_value(value: Any) -> str:
    """A setting's value for a person: (256, 512) -> "256-512"."""
    if isinstance(value, tuple):
        return "-".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe(key: str, value: Any) -> str:
    """A setting in words: "lr 0.0005", "50 epochs", "layers 256-512"; "" if it is off."""
    text, name = show_value(value), short_name(key)
    if name == "sampler" and value is None:
        return "by its prior"
    if (name, value) in OFF or (name.startswith("early.") and value is None):
        return ""
    words = {
        "max_epochs": f"{text} epochs",
        HIDDEN_DIMS: f"layers {text}",
        "activation": text,
        "early.patience": f"early stopping with patience {text}",
        "early.every_n_epochs": f"measured every {text} epochs",
    }
    return words.get(name, f"{name} {text}")


def sortable(value: Any) -> tuple[int, float, str]:
    """Sorts settings: numbers by size, then widths by depth, then words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, len(value) if isinstance(value, tuple) else 0, show_value(value))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
