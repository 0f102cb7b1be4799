"""A run while it trains: opened as new, resumed, extended or finished, or refused; and its ending.

What is written here is written by rank 0 alone.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException

from gen_models.data.module import MNISTDataModule
from gen_models.errors import (
    DivergedError,
    StoppedEarly,
    UserError,
    first_line,
    raise_if_out_of_memory,
)
from gen_models.files import write_json
from gen_models.machine import device_name, machine, peak_memory, use_threads
from gen_models.runs.classifier import check_same_data
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job, commit, fingerprint, identity
from gen_models.runs.weights import BEST, newest_readable, prepare_folder, read_step, save_model
from gen_models.seeding import same_convolutions
from gen_models.terminal import LogFile, say
from gen_models.training import reporting
from gen_models.training.callbacks import RunLog
from gen_models.training.loggers import MATTER, Start, loggers_of
from gen_models.training.options import find_shorter_run
from gen_models.training.trainer import exit_if_stopped
from gen_models.training.validation import OBJECTIVE

ENDED = ("done", "diverged")

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """A run that is open."""

    directory: RunDirectory
    finished: bool = False  # there is nothing to train
    checkpoint: Path | None = None  # from which the training resumes; None: from the beginning
    extends: RunDirectory | None = None  # the shorter run that this checkpoint is of
    before: Mapping[str, Any] = MappingProxyType({})  # the status of what was trained before it


@contextmanager
def open_run(
    job: Job, model: pl.LightningModule, data: MNISTDataModule, trainer: pl.Trainer
) -> Iterator[Run]:
    """Open the run of a job and lock it, until it is trained; its status says how that ended.

    Args:
        job: What to train.
        model: With its first weights.
        data: Set up.
        trainer: Of the run.

    Raises:
        UserError: The run cannot be trained, or cannot be left as it is; one line.
        DivergedError: A loss was not finite, now or when the run was trained.
    """
    directory = RunDirectory(job.path)
    with ExitStack() as stack:
        if trainer.is_global_zero:
            stack.enter_context(directory.lock(training=True))
            for logger in loggers_of(trainer):
                stack.callback(logger.close)
        judge = trainer.is_global_zero and not job.config["overwrite"]
        if judge:
            check_same_data(directory, data)
        run = find_run(job, type(model), judge=trainer.is_global_zero)
        if run.extends and judge:
            check_same_data(run.extends, data)
        if trainer.is_global_zero and run.finished and job.config["tags"]:
            directory.write_status(tags=job.config["tags"])
        threads = use_threads(
            job.config["threads"], together=job.together, recorded=run.before.get("threads")
        )
        if trainer.is_global_zero and not run.finished:
            _begin(run, job.config, model, data, trainer)
            stack.enter_context(_ending_recorded(directory))
            reporting.announce(
                job.config, model, data, trainer, directory=directory, threads=threads,
                resumes=run.checkpoint is not None, extends=run.extends,
            )  # fmt: skip
            for where in filter(None, (logger.where for logger in loggers_of(trainer))):
                say(f"  {where}")
        try:
            with same_convolutions():
                yield run
        except MisconfigurationException as error:  # an option of Lightning's that does not fit
            raise UserError(f"trainer: {first_line(error)}") from error
        except (RuntimeError, MemoryError) as error:
            remedy = f"try {max(1, data.batch_size // 2)}, or smaller hidden_dims"
            raise_if_out_of_memory(error, f"with data.batch_size={data.batch_size}: {remedy}")
            raise


def find_run(job: Job, model_class: type, *, judge: bool) -> Run:
    """The run of a job as its directory has it, and from where its training resumes.

    Args:
        job: What to train.
        model_class: The class of its model.
        judge: Refuse a run that stands in the way; rank 0 alone does, while it holds the lock.

    Raises:
        UserError: There is a run that cannot be resumed, and the user must say what to do with it.
        DivergedError: It diverged.
    """
    config, directory = job.config, RunDirectory(job.path)
    status = {} if config["overwrite"] else directory.read_status()
    if status and judge:
        _judge(directory, status, config, fingerprint(model_class))
    if status.get("status") in ENDED:
        return Run(directory, finished=True)
    checkpoint = newest_readable(directory.checkpoints) if status else None
    if checkpoint is None and config["extend"] is not None:
        shorter = find_shorter_run(config, fingerprint(model_class))
        checkpoint = newest_readable(shorter.checkpoints)
        return Run(directory, checkpoint=checkpoint, extends=shorter, before=shorter.read_status())
    return Run(directory, checkpoint=checkpoint, before=status if checkpoint else {})


def _judge(
    directory: RunDirectory, status: dict[str, Any], config: dict[str, Any], code: str
) -> None:
    """Say why a run needs no training; raises as `find_run`."""
    path, done = directory.path, status["status"] == "done"
    if status["fingerprint"] != code:
        if done and config["keep"]:
            say(f"{path}: kept, though other code trained it")
            return
        ended = status["status"] in ENDED
        problem = "was trained by other code" if ended else "was begun by other code, not finished"
        keep = ", keep=true keeps it" if done else ""
        raise UserError(f"{path}: {problem}: overwrite=true trains it again{keep}")
    now, before = identity(config), identity(directory.read_config())
    moved = [key for key in now if now[key] != before.get(key)]
    if moved:
        key = moved[0]
        raise UserError(
            f"{path}: was trained with {key}={before.get(key)}, now it is {now[key]}: set {key} as "
            "it was, or overwrite=true trains it again"
        )
    if status["status"] == "diverged":
        raise DivergedError(f"{path}: {status['error']} (overwrite=true trains it again)")
    if done:
        date = status["finished"][:10]
        say(f"{path}: already trained on {date}; overwrite=true trains it again")


def _begin(
    run: Run,
    config: dict[str, Any],
    model: pl.LightningModule,
    data: MNISTDataModule,
    trainer: pl.Trainer,
) -> None:
    """Write what is known before the training."""
    directory, checkpoint, status = run.directory, run.checkpoint, run.before
    prepare_folder(directory.checkpoints)
    if run.extends or checkpoint is None:
        directory.clear()
    if run.extends and (best := run.extends.checkpoints / BEST).exists():
        directory.checkpoints.mkdir()
        shutil.copyfile(best, directory.checkpoints / BEST)
    directory.write_config(config)
    networks = []
    for name, network in model.named_children():
        count = sum(parameter.numel() for parameter in network.parameters())
        networks.append(f"{name}: {count:,} parameters\n{network}\n")
    directory.architecture.write_text("\n".join(networks), encoding="utf-8")
    devices = {"device": device_name(trainer.strategy.root_device), "devices": trainer.world_size}
    begun: dict[str, Any] = {"status": "running", "fingerprint": fingerprint(type(model))}
    begun["started"] = status.get("started") or _now()
    begun |= {"data": data.dataset.record()} if data.dataset.digest else {}
    own = {} if run.extends else status  # a longer run is another one on a server
    begun["tags"] = config["tags"] or own.get("tags", [])
    step = read_step(checkpoint) if checkpoint else 0
    begun["remote"], known = {}, own.get("remote", {})  # class of a logger -> id on its server
    for logger in loggers_of(trainer):
        name = type(logger).__name__
        remote_id = logger.begin(Start(directory, config, step, known.get(name)))
        begun["remote"] |= {} if remote_id is None else {name: remote_id}
    write_json(directory.status, begun | machine() | devices | {"commit": commit()})


def measure_losses(
    trainer: pl.Trainer, model: pl.LightningModule, data: MNISTDataModule
) -> dict[str, float]:
    """The last weights' metrics on the validation and the test images.

    Raises:
        SystemExit: Stopped by a signal.
    """
    exit_if_stopped()  # while it was trained, by now after a whole batch
    metrics: dict[str, float] = {}
    for measure in (trainer.validate, trainer.test):
        measure(model, datamodule=data, verbose=False)
        exit_if_stopped()
        metrics |= {name: value.item() for name, value in trainer.callback_metrics.items()}
    return metrics


def save_run(
    run: Run,
    job: Job,
    model: pl.LightningModule,
    data: MNISTDataModule,
    trainer: pl.Trainer,
    metrics: dict[str, float],
) -> None:
    """Keep weights, metrics and pictures of a run that is trained; rank 0 alone."""
    if not trainer.is_global_zero:
        return
    directory = run.directory
    peak = peak_memory()  # of training, before pictures are drawn
    (run_log,) = (c for c in trainer.callbacks if isinstance(c, RunLog))  # type: ignore[attr-defined]
    seconds, steps = run_log.seconds, trainer.global_step
    save_model(directory, model)
    write_json(directory.metrics, metrics)
    settings = identity(job.config) | {"phase": job.config["phase"]}
    shown = {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in settings.items()
        if key in (*MATTER, *job.changed)
    }
    for logger in loggers_of(trainer):
        logger.log_result(shown, metrics, steps)
    model.cpu()
    reporting.write_figures(directory, job.config, model, data, trainer)
    directory.write_status(
        status="done",
        epoch=trainer.current_epoch,
        objective=metrics.get(OBJECTIVE),
        finished=_now(),
        steps=steps,
        seconds=round(seconds, 3),
        images_per_second=round(steps * data.batch_size / seconds, 1) if seconds else None,
        **peak,
    )


@contextmanager
def _ending_recorded(directory: RunDirectory) -> Iterator[None]:
    """Keep train.log, and in the status how a run ended that did not come to its end."""
    package, handler = logging.getLogger("gen_models"), LogFile(directory.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
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
        say(f"{directory.path}: stopped; the same command resumes from here")
        raise
    except BaseException as error:
        with suppress(OSError):  # the disk may be full
            directory.write_status(status="failed", error=f"{type(error).__name__}: {error}")
        log.info("failed", exc_info=True)
        raise
    finally:
        package.removeHandler(handler)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
