"""One run from a plain configuration: build, fit or resume, test, record."""

import gc
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from gen_models.errors import (
    DivergedError,
    StoppedEarly,
    UserError,
    first_line,
    raise_if_out_of_memory,
)
from gen_models.files import write_json
from gen_models.runs.checkpoints import BEST, prepare_folder
from gen_models.runs.directory import RunDirectory
from gen_models.runs.fingerprint import fingerprint
from gen_models.runs.identity import identity
from gen_models.runs.weights import save_model
from gen_models.terminal import say
from gen_models.threads import use
from gen_models.training import reporting
from gen_models.training.callbacks import RunLog
from gen_models.training.experiment import Build, Experiment, assemble, check_length
from gen_models.training.stopping import exit_if_stopped
from gen_models.training.validation import OBJECTIVE

log = logging.getLogger(__name__)


def train(
    config: dict[str, Any],
    *,
    defaults: dict[str, Any],
    build: Build,
    watchers: Sequence[Callback] = (),
) -> RunDirectory | None:
    """Train one model, or go on with it, or skip it because it is trained.

    Args:
        config: The resolved configuration, as `conf/config.yaml` composes it.
        defaults: The same data set, model and phase without further options: the run's name says
            what differs from it.
        build: Makes the object that a node with `_target_` describes.
        watchers: Further callbacks; they must not change the weights.

    Returns:
        The run; None in a process that only helped another one to train it.

    Raises:
        UserError: Bad input, or a run that stands in the way; one line.
        DivergedError: A loss was not finite.
        StoppedEarly: By a watcher, to be resumed.
        SystemExit: Stopped by a signal, to be resumed; inside `stopped_by_signals`.
    """
    experiment = assemble(config, defaults=defaults, build=build, watchers=watchers)
    experiment.datamodule.prepare_data()
    experiment.datamodule.setup()
    check_length(config, experiment.datamodule)
    if experiment.trainer.global_rank != 0:  # rank 0 alone decides, writes and reports
        _fit_and_measure(experiment)
        return None
    directory = experiment.directory
    with directory.lock(training=True):
        try:
            if not _stands(directory, config, type(experiment.model)):
                _train(config, experiment)
        finally:
            experiment.trainer.logger.close()  # type: ignore[union-attr]
            del experiment  # what follows needs the memory
            gc.collect()
    return directory


def _stands(directory: RunDirectory, config: dict[str, Any], model_class: type) -> bool:
    """Whether the directory holds a run that shall be left as it is.

    Raises:
        UserError: A run stands in the way, and the user must say what to do with it.
    """
    status = directory.read_status()
    if not status or config["overwrite"]:
        return False
    if status["fingerprint"] != fingerprint(model_class):
        if config["keep"]:
            say(f"{directory.path}: kept, though other code trained it")
            return True
        raise UserError(
            f"{directory.path}: was trained by other code: overwrite=true trains it again, "
            "keep=true keeps it"
        )
    now, before = identity(config), identity(directory.read_config())
    moved = [key for key in now if now[key] != before.get(key)]
    if moved:
        key = moved[0]
        raise UserError(
            f"{directory.path}: was trained with {key}={before.get(key)}, now it is "
            f"{now[key]}: set {key} as it was, or overwrite=true trains it again"
        )
    if status["status"] == "done":
        say(
            f"{directory.path}: already trained on {status['finished'][:10]}; "
            "overwrite=true trains it again"
        )
        return True
    if status["status"] == "diverged":
        raise DivergedError(f"{directory.path}: {status['error']} (overwrite=true trains it again)")
    return False


def _train(config: dict[str, Any], experiment: Experiment) -> None:
    model, datamodule, trainer, directory, checkpoint, origin = experiment
    status = origin.read_status()
    prepare_folder(directory.checkpoints)
    if origin is not directory or checkpoint is None:
        directory.clear()
    if origin is not directory and (best := origin.checkpoints / BEST).exists():
        directory.checkpoints.mkdir()
        shutil.copyfile(best, directory.checkpoints / BEST)
    threads = use(config["threads"], status["threads"] if checkpoint is not None else None)
    directory.write_config(config)
    directory.architecture.write_text(reporting.architecture(model), encoding="utf-8")
    code = fingerprint(type(model))
    started = status["started"] if checkpoint else _now()
    begun = {"status": "running", "fingerprint": code, "started": started}
    write_json(directory.status, begun | reporting.environment(trainer))
    with _logged_to(directory), _ending_recorded(directory):
        reporting.announce(config, experiment)
        say(f"  {threads}")
        reporting.describe(trainer, directory)
        reporting.warn_of_slow_precision(trainer)
        metrics = _fit_and_measure(experiment)
        peak = reporting.peak_memory()  # of training, before pictures are drawn
        seconds = RunLog.find(trainer).seconds
        save_model(directory, model)
        write_json(directory.metrics, metrics)
        reporting.record(config, experiment, metrics)
        images = trainer.global_step * datamodule.batch_size
        directory.write_status(
            status="done",
            objective=metrics.get(OBJECTIVE),
            finished=_now(),
            steps=trainer.global_step,
            seconds=round(seconds, 3),
            images_per_second=round(images / seconds, 1) if seconds else None,
            **peak,
        )
        reporting.summarise(directory, metrics, seconds)


def _fit_and_measure(experiment: Experiment) -> dict[str, float]:
    """Train from the checkpoint, or from the beginning, to the end.

    Returns:
        The last weights' metrics on the validation and the test images.

    Raises:
        SystemExit: Stopped by a signal, after a whole batch.
    """
    model, datamodule, trainer, _, checkpoint, _ = experiment
    metrics: dict[str, float] = {}
    batch_size = datamodule.batch_size
    try:
        trainer.fit(model, datamodule, ckpt_path=checkpoint)
    except MisconfigurationException as error:  # an option of Lightning's that does not fit
        raise UserError(f"trainer: {first_line(error)}") from error
    except (RuntimeError, MemoryError) as error:
        remedy = f"try {max(1, batch_size // 2)}, or smaller hidden_dims"
        raise_if_out_of_memory(error, f"with data.batch_size={batch_size}: {remedy}")
        raise
    exit_if_stopped()
    for measure in (trainer.validate, trainer.test):
        measure(model, datamodule=datamodule, verbose=False)
        exit_if_stopped()
        metrics |= {name: value.item() for name, value in trainer.callback_metrics.items()}
    return metrics


@contextmanager
def _ending_recorded(directory: RunDirectory) -> Iterator[None]:
    """Keep in the status how a run ended that did not come to its end."""
    try:
        yield
    except StoppedEarly:
        directory.write_status(status="interrupted")
        raise
    except DivergedError as error:
        directory.write_status(status="diverged", error=str(error), finished=_now())
        raise
    except SystemExit:
        directory.write_status(status="interrupted")
        say(f"{directory.path}: stopped; the same command goes on from here")
        raise
    except BaseException as error:
        with suppress(OSError):  # the disk may be full
            directory.write_status(status="failed", error=f"{type(error).__name__}: {error}")
        log.info("failed", exc_info=True)
        raise


@contextmanager
def _logged_to(directory: RunDirectory) -> Iterator[None]:
    """Send the package's log to train.log."""
    package = logging.getLogger("gen_models")
    handler = _LogFile(directory.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


class _LogFile(logging.FileHandler):
    """A log that ends no training, and fills no terminal, where it cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out: a disk that is full is said by what needs it."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
