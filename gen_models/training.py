"""One run from a plain configuration: build, fit or resume, test, record."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from gen_models import reporting, runs
from gen_models.callbacks import RunLog, find_callback
from gen_models.checkpoints import prepare_folder
from gen_models.data import MNISTDataModule
from gen_models.errors import DivergedError, UserError
from gen_models.evaluation.evaluate import evaluate_quickly, evaluate_run
from gen_models.evaluation.validation import OBJECTIVE
from gen_models.experiment import Build, assemble
from gen_models.memory import raise_if_out_of_memory
from gen_models.runs import RunDirectory
from gen_models.stopping import exit_if_stopped, stopped_by_signals

log = logging.getLogger(__name__)

swept: dict[Path, dict[str, Any]] = {}  # runs of this process's sweep -> their identity


def run(
    config: dict[str, Any], *, defaults: dict[str, Any], build: Build, sweep: bool = False
) -> float | None:
    """Train one model, or go on with it, or skip it because it is trained.

    Args:
        config: The resolved configuration, as `conf/config.yaml` composes it.
        defaults: The same data set, model and phase without further options: the run's name says
            what differs from it.
        build: Makes the object that a node with `_target_` describes.
        sweep: The run is one of several that this process trains: its default evaluation is quick.

    Returns:
        What a sweep minimises, the metric `val/fid_lenet`; None where it was not measured.

    Raises:
        UserError: Bad input, or a run that stands in the way; one line.
        DivergedError: A loss was not finite.
        SystemExit: Stopped by SIGTERM (143) or Ctrl-C (130), to be resumed.
    """
    if sweep and config["trainer"]["devices"] != 1:
        raise UserError(
            "trainer.devices: each process would start the whole sweep; train these one by one"
        )
    if config["evaluate"] is None:
        config = config | {"evaluate": "quick" if sweep else "full"}
    with stopped_by_signals():
        return _run(config, defaults=defaults, build=build, sweep=sweep)


def suggest_comparison() -> None:
    """Say, behind a sweep of this process, how to compare its runs."""
    reporting.suggest_comparison(swept)


def _run(
    config: dict[str, Any], *, defaults: dict[str, Any], build: Build, sweep: bool
) -> float | None:
    experiment = assemble(config, defaults=defaults, build=build)
    model, datamodule, trainer, directory, checkpoint = experiment
    datamodule.prepare_data()
    datamodule.setup()
    if trainer.global_rank != 0:  # rank 0 alone decides, writes and reports
        _fit_and_measure(trainer, model, datamodule, checkpoint)
        return None
    with directory.lock():
        if sweep:
            swept[directory.path] = runs.identity(config)
        try:
            if not _stands(directory, config, model):
                _train(config, directory, checkpoint, trainer, model, datamodule)
        finally:
            trainer.logger.close()  # type: ignore[union-attr]
            # The evaluation, and a sweep's next job, need the memory.
            del experiment, model, trainer, datamodule
            gc.collect()
        status = directory.read_status()
        if status["status"] == "done":
            _evaluate(directory, config["evaluate"])
            if not sweep:
                reporting.suggest(directory)
        return status.get("objective")


def _stands(directory: RunDirectory, config: dict[str, Any], model: Any) -> bool:
    """Whether the directory holds a run that shall be left as it is.

    Raises:
        UserError: A run stands in the way, and the user must say what to do with it.
    """
    status = directory.read_status()
    if not status or config["overwrite"]:
        return False
    if status["fingerprint"] != runs.fingerprint(type(model)):
        if config["keep"]:
            reporting.say(f"{directory.path}: kept, though other code trained it")
            return True
        raise UserError(
            f"{directory.path}: was trained by other code: overwrite=true trains it again, "
            "keep=true keeps it"
        )
    ours, theirs = runs.identity(config), runs.identity(directory.read_config())
    moved = [key for key in ours if ours[key] != theirs.get(key)]
    if moved:
        key = moved[0]
        raise UserError(
            f"{directory.path}: was trained with {key}={theirs.get(key)}, now the default is "
            f"{ours[key]}: set {key} yourself, or overwrite=true trains it again"
        )
    if status["status"] == "done":
        reporting.say(
            f"{directory.path}: already trained on {status['finished'][:10]}; "
            "overwrite=true trains it again"
        )
        return True
    if status["status"] == "diverged":
        raise DivergedError(f"{directory.path}: {status['error']} (overwrite=true trains it again)")
    return False


def _train(
    config: dict[str, Any],
    directory: RunDirectory,
    checkpoint: Path | None,
    trainer: pl.Trainer,
    model: Any,
    datamodule: MNISTDataModule,
) -> None:
    status = directory.read_status()
    prepare_folder(directory.checkpoints)
    if checkpoint is None:
        directory.clear()
    elif status["threads"] != torch.get_num_threads():
        torch.set_num_threads(status["threads"])  # other threads round otherwise
    directory.write_config(config)
    directory.architecture.write_text(reporting.architecture(model))
    started = status["started"] if checkpoint else _now()
    begun = {"status": "running", "fingerprint": runs.fingerprint(type(model)), "started": started}
    runs.write_json(directory.status, begun | reporting.environment(trainer))
    with _logged_to(directory), _ending_recorded(directory):
        reporting.announce(config, directory, model, datamodule, resumed=checkpoint is not None)
        reporting.describe(trainer, directory)
        reporting.warn_of_slow_precision(trainer)
        metrics = _fit_and_measure(trainer, model, datamodule, checkpoint)
        peak = reporting.peak_memory()  # of training, before pictures are drawn
        run_log = find_callback(trainer, RunLog)
        assert run_log is not None
        runs.save_model(directory, model)
        runs.write_json(directory.metrics, metrics)
        reporting.record(trainer, directory, model, datamodule, config, metrics)
        images = trainer.global_step * datamodule.batch_size
        directory.write_status(
            status="done",
            objective=metrics.get(OBJECTIVE),
            finished=_now(),
            steps=trainer.global_step,
            seconds=round(run_log.seconds, 3),
            images_per_second=round(images / run_log.seconds, 1) if run_log.seconds else None,
            **peak,
        )
        reporting.summarise(directory, metrics, run_log.seconds)


def _evaluate(directory: RunDirectory, how: str) -> None:
    """Measure what is not measured yet: training may have been stopped behind its last batch."""
    known = runs.read_json(directory.metrics)
    if how == "full" and "fid_lenet" not in known:
        evaluation = evaluate_run(directory.path, say=reporting.say)
        reporting.show_evaluation(directory, evaluation.metrics)
    if how == "quick" and "quick/fid_lenet" not in known:
        evaluate_quickly(directory.path, say=reporting.say)
        reporting.show_quick_evaluation(directory)


def _fit_and_measure(
    trainer: pl.Trainer, model: Any, datamodule: MNISTDataModule, checkpoint: Path | None
) -> dict[str, float]:
    """Train from the checkpoint, or from the beginning, to the end.

    Returns:
        The last weights' figures on the validation and the test images.

    Raises:
        SystemExit: Stopped by a signal, behind a whole batch.
    """
    metrics: dict[str, float] = {}
    batch_size = datamodule.batch_size
    try:
        trainer.fit(model, datamodule, ckpt_path=checkpoint)
    except (RuntimeError, MemoryError) as error:
        remedy = f"try {max(1, batch_size // 2)}, or smaller hidden_dims"
        raise_if_out_of_memory(error, f"with data.batch_size={batch_size}: {remedy}")
        raise
    exit_if_stopped()
    for evaluate in (trainer.validate, trainer.test):
        evaluate(model, datamodule=datamodule, verbose=False)
        exit_if_stopped()
        metrics |= {name: value.item() for name, value in trainer.callback_metrics.items()}
    return metrics


@contextmanager
def _ending_recorded(directory: RunDirectory) -> Iterator[None]:
    """Keep in the status how a run ended that did not come to its end."""
    try:
        yield
    except DivergedError as error:
        directory.write_status(status="diverged", error=str(error), finished=_now())
        raise
    except SystemExit:
        directory.write_status(status="interrupted")
        reporting.say(f"{directory.path}: stopped; the same command goes on from here")
        raise
    except BaseException as error:
        with suppress(OSError):  # the disk may be full
            directory.write_status(status="failed", error=f"{type(error).__name__}: {error}")
        log.info("failed", exc_info=True)
        if isinstance(error, OSError):
            raise UserError(f"{directory.path}: {error}") from error
        raise


@contextmanager
def _logged_to(directory: RunDirectory) -> Iterator[None]:
    """Send the package's log to train.log."""
    package = logging.getLogger("gen_models")
    handler = logging.FileHandler(directory.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
