"""What TensorBoard shows of a run, and in which order: quality first, then losses."""

from collections.abc import Iterable
from typing import Any

from gen_models.runs.identity import Job, identity
from gen_models.training.validation import KEYS, OBJECTIVE

# Cards are sorted by their names, so what is said of quality begins with a "q": before train, val.
QUALITY = {key: key.replace("val/", "quality/") for key in KEYS}
CHARTS = {  # under "Custom Scalars": group -> title -> curves
    "quality": {
        "distance to real images (lower is better)": [OBJECTIVE],
        "coverage (higher is better)": ["val/coverage"],
        "missing classes": ["val/missing_digits", "val/missing_classes"],
    },
    "discriminator": {
        "D(real) and D(fake), validation images": ["val/d_real", "val/d_fake"],
        "D(real) and D(fake), training batches": ["train/d_real", "train/d_fake"],
    },
    "losses": {
        name: [f"{stage}/{name}" for stage in ("train", "val")]
        for name in ("loss", "recon", "kl", "g_loss", "d_loss")
    },
}
# Settings that HPARAMS shows of every run; others, if they were changed.
MATTER = ("data", "model", "phase", "seed", "batch_size", "max_epochs", "model.lr")


def key_of(tag: str) -> str:
    """The key of a metric, from its name in TensorBoard."""
    return next((key for key, name in QUALITY.items() if name == tag), tag)


def layout(keys: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """The charts of "Custom Scalars" for a run that logs these keys: curves that belong together.

    Returns:
        Group -> title -> kind of the chart and names of its curves.
    """
    known = {*keys, *KEYS}
    charts: dict[str, dict[str, list[Any]]] = {}
    for group, titles in CHARTS.items():
        for title, curves in titles.items():
            if tags := [QUALITY.get(key, key) for key in curves if key in known]:
                charts.setdefault(group, {})[title] = ["Multiline", tags]
    return charts


def settings_to_show(job: Job) -> dict[str, str | int | float]:
    """The settings of a run that matter or were changed."""
    settings = identity(job.config) | {"phase": job.config["phase"]}
    return {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in settings.items()
        if key in (*MATTER, *job.changed)
    }
