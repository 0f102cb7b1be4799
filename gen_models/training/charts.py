"""What TensorBoard shows of a run, and in which order: quality first, then losses."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

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


def log_metrics(logger: Any, metrics: dict[str, float], step: int) -> None:
    """Write metrics to a logger, in TensorBoard with names by which the important cards are first.

    Args:
        logger: Of Lightning's.
        metrics: By their keys.
        step: The number of training batches so far.
    """
    if isinstance(logger, TensorBoardLogger):
        metrics = {QUALITY.get(key, key): value for key, value in metrics.items()}
    logger.log_metrics(metrics, step=step)


def key_of(tag: str) -> str:
    """The key of a metric, from its name in TensorBoard."""
    return next((key for key, name in QUALITY.items() if name == tag), tag)


def arrange(logger: Any, keys: Iterable[str]) -> None:
    """Put curves that belong together into one chart of TensorBoard's, under "Custom Scalars".

    Args:
        logger: Of Lightning's.
        keys: What the run logs; charts of other metrics are left out.
    """
    if not isinstance(logger, TensorBoardLogger):
        return
    known = {*keys, *KEYS}
    layout: dict[str, dict[str, list[Any]]] = {}
    for group, charts in CHARTS.items():
        for title, curves in charts.items():
            if tags := [QUALITY.get(key, key) for key in curves if key in known]:
                layout.setdefault(group, {})[title] = ["Multiline", tags]
    logger.experiment.add_custom_scalars(layout)


def log_hyperparameters(logger: Any, job: Job, metrics: dict[str, float]) -> None:
    """Show the settings that matter or were changed in TensorBoard, next to the run's quality.

    The quality is that of the last point of its curves, so no chart of a single point is added.
    """
    settings = identity(job.config) | {"phase": job.config["phase"]}
    plain = {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in settings.items()
        if key in (*MATTER, *job.changed)
    }
    quality = {tag: metrics[key] for key, tag in QUALITY.items() if key in metrics}
    for summary in hparams(plain, quality):
        logger.experiment.file_writer.add_summary(summary)
    logger.save()
