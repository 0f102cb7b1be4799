"""The distance of new images to the validation images while a model trains: what a sweep minimises.

Losses do not tell whether a GAN's images improve, and a VAE's loss is no distance of its images.
The same noise is decoded each time, so that the points of a curve differ by the weights alone.
"""

import logging
import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from gen_models.checks import check_number, check_whole
from gen_models.errors import DivergedError
from gen_models.metrics.classifier import Classifier, Reading, some
from gen_models.metrics.distribution import (
    DIGITS,
    Coverage,
    NotFiniteError,
    frechet_distance,
    missing_classes,
    missing_key,
)
from gen_models.models.interface import GenerativeModel
from gen_models.runs.classifier import find_classifier
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.seeding import generator
from gen_models.terminal import counted

log = logging.getLogger(__name__)

OBJECTIVE = "val/fid_lenet"
KEYS = (OBJECTIVE, "val/coverage", "val/missing_digits", "val/missing_classes")
MOST = 10_000  # validation images
EARLY = 200  # batches after which new images must differ from one another
ALIKE = 0.2  # of the real images' spread: 0.06 and 0.1 where torch's weights let a GAN fail
SEPARATED = 0.5  # mean D(x) of real images less that of new ones
SATURATED = 0.99  # mean D(x) of real images above it, of new ones below 1 - it, or so small a loss


class ValidationDistance(Callback):
    """Measures `val/fid_lenet`, `val/coverage` and `val/missing_digits`, and warns of a collapse.

    As many new images as there are validation images (5,000 of MNIST, 10,000 at most): those of the
    test images are of another size, and have other names. Of other classes than digits it is
    `val/missing_classes`, and without a classifier there is no such metric. The classifier lives
    here, never in the model.
    """

    def __init__(self, every_n_epochs: int = 5) -> None:
        self.every_n_epochs = check_whole("every_n_epochs", every_n_epochs, 1)
        self._seen: dict[str, int] = {}  # a sign of collapse -> measurements in a row
        self._classifier: Classifier | None = None
        self._class_names = DIGITS
        self._real: Reading
        self._spread: Tensor  # of the real images: a pixel's standard deviation, the mean of all
        self._coverage: Coverage

    def state_dict(self) -> dict[str, Any]:
        """Keep what was seen when a run is resumed, so that nothing is warned of twice."""
        return {"seen": dict(self._seen)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to count."""
        self._seen = dict(state_dict["seen"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the validation images, once."""
        if trainer.is_global_zero:
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
            self._classifier = find_classifier(datamodule, log.warning).to(pl_module.device)
            self._class_names = datamodule.class_names
            directory = RunDirectory(trainer.default_root_dir)
            if directory.status.exists():  # a trainer may have no run
                directory.write_status(validation=features_record(self._classifier))
            images = some(datamodule.splits["validation"], MOST).images.to(pl_module.device)
            self._spread = (images[:500].float() / 255).std(0).mean()
            self._real = self._classifier.read(images)
            self._coverage = Coverage(self._real.features)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure in every nth epoch, in the last one, and outside of training.

        Of the epochs that have a validation: trainer.check_val_every_n_epoch can leave some out.
        """
        for key in KEYS:  # so that no epoch is taken for another one's metrics
            trainer.callback_metrics.pop(key, None)
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs or trainer.should_stop
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting and trainer.is_global_zero and trainer.global_step >= EARLY:
            self._warn_early(trainer, pl_module)
        if fitting and epoch % self.every_n_epochs and not last:
            return
        assert isinstance(pl_module, GenerativeModel)
        metrics = self._measure(pl_module) if trainer.is_global_zero else {}
        metrics = trainer.strategy.broadcast(metrics)
        trainer.callback_metrics.update(
            {key: torch.tensor(value, dtype=torch.float64) for key, value in metrics.items()}
        )
        if fitting:
            self._warn(trainer)

    @torch.no_grad()
    def _measure(self, model: GenerativeModel) -> dict[str, float]:
        assert self._classifier is not None
        images = model.sample(len(self._real.features), generator("validation distance")).float()
        new = self._classifier.read(images)
        try:
            distance = frechet_distance(self._real.features, new.features)
        except NotFiniteError as error:
            raise DivergedError(f"diverged: its images cannot be measured ({error})") from error
        metrics = {OBJECTIVE: distance, "val/coverage": self._coverage(new.features)}
        if new.shares is not None and self._real.shares is not None:
            key = missing_key(self._class_names)
            metrics[f"val/{key}"] = float(missing_classes(new.shares, self._real.shares))
        return metrics

    @torch.no_grad()
    def _warn_early(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Look once, early, whether a GAN's images are all alike while D tells them apart."""
        if "early" in self._seen:
            return
        self._seen["early"] = 1
        metrics = trainer.callback_metrics
        separation = metrics.get("val/d_real", 0.0) - metrics.get("val/d_fake", 0.0)
        if separation < SEPARATED:
            return
        assert isinstance(model, GenerativeModel)
        images = model.sample(500, generator("early look")).float()
        ratio = (images.std(0).mean() / self._spread).item()
        if ratio < ALIKE:
            log.warning(
                "epoch %d: the new images hardly differ from one another (%.0f %% of the real "
                "images' spread), and the discriminator knows them all: such a GAN rarely "
                "recovers. Try model.init=he, or a smaller lr",
                trainer.current_epoch + 1,
                100 * ratio,
            )

    def _warn(self, trainer: pl.Trainer) -> None:
        """Warn once, when two measurements in a row show a sign: a first one may be too early."""
        metrics: dict[str, Tensor] = trainer.callback_metrics
        key = missing_key(self._class_names)
        missing, count = int(metrics.get(f"val/{key}", 0)), len(self._class_names)
        what = "digits" if key == "missing_digits" else "classes"
        signs = {
            f"{what} missing from the new images: {missing} of {count}": missing > 0,
            "the discriminator is sure of every image, so the generator hardly learns": saturated(
                *(
                    float(metrics.get(f"val/{key}", math.nan))
                    for key in ("d_loss", "d_real", "d_fake")
                )
            ),
        }
        for (text, shown), name in zip(signs.items(), ("missing", "saturated"), strict=True):
            before = self._seen.get(name, 0)
            self._seen[name] = before + 1 if shown or before >= 2 else 0
            if self._seen[name] == 2:
                log.warning("epoch %d: %s", trainer.current_epoch + 1, text)


def saturated(loss: float, real: float, fake: float) -> bool:
    """Whether D is sure, by its loss and its mean answers; a negative loss is no measure of it."""
    sure = real > SATURATED and fake < 1 - SATURATED
    return real > fake and not loss < 0 and (sure or loss < -2 * math.log(SATURATED))


class EarlyStopping(callbacks.EarlyStopping):
    """Ends the training when `val/fid_lenet` no longer improves.

    Args:
        patience: Measurements in a row that are no better than the best so far.
        min_delta: The least improvement that counts.
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0) -> None:
        super().__init__(
            OBJECTIVE,
            min_delta=check_number("min_delta", min_delta, 0, math.inf),
            patience=check_whole("patience", patience, 1),
            strict=False,  # it is measured in every nth epoch
            check_on_train_epoch_end=False,
        )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train no further if the run resumes after it had been ended early."""
        if self.wait_count >= self.patience:
            trainer.fit_loop.max_epochs = self.stopped_epoch + 1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop if it is time, and say so."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING and self.wait_count >= self.patience:
            log.warning(
                "epoch %d: stopped early: %s has not improved on %.4g in %s",
                trainer.current_epoch + 1,
                OBJECTIVE,
                self.best_score.item(),
                counted(self.patience, "measurement"),
            )


class Reporter(Callback):
    """Reports `val/fid_lenet` in each epoch in which it is measured.

    Args:
        report: Called with the epochs trained so far and the value; may raise StoppedEarly.
    """

    def __init__(self, report: Callable[[int, float], None]) -> None:
        self.report = report

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call `report`."""
        if trainer.state.fn == TrainerFn.FITTING and OBJECTIVE in trainer.callback_metrics:
            self.report(trainer.current_epoch + 1, trainer.callback_metrics[OBJECTIVE].item())
