"""Train one model, or sweep over many: `python train.py --help`."""

from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gen_models.composition import build, in_sweep, job_of, reported_errors, run_command
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job


def assemble(job: Job, watchers: Sequence[Any] = ()) -> tuple[Any, Any, Any]:
    """Model, data and trainer of a job; no published data are read yet, and nothing is written."""
    from gen_models import training  # needs torch, for which --help need not wait

    config = job.config
    training.check_options(job)
    data = build(config["data"], "data")
    model = training.build_model(config, data, build)
    training.check_extension(job, type(model))
    callbacks = [build(node, f"callbacks.{name}") for name, node in config["callbacks"].items()]
    loggers = training.build_loggers(config, job.path, build)
    trainer = training.build_trainer(config, job.path, [*callbacks, *watchers], loggers)
    return model, data, trainer


def train(job: Job, watchers: Sequence[Any] = ()) -> RunDirectory | None:
    """Train the model of a job, or resume it, unless it is trained already; then measure it.

    The `watchers` are further callbacks of Lightning's, which must not change the weights. A
    process that only helps another one to train returns None.
    """
    from gen_models import evaluation, training

    config = job.config
    model, data, trainer = assemble(job, watchers)
    data.prepare_data()
    data.setup()
    training.limit_epochs(config, data, trainer)
    with training.open_run(job, model, data, trainer) as run:  # new, resumed, extended, finished
        if not run.finished:
            trainer.fit(model, data, ckpt_path=run.checkpoint)
            metrics = training.measure_losses(trainer, model, data)
            training.save_run(run, job, model, data, trainer, metrics)
    if not trainer.is_global_zero:
        return None
    if config["evaluate"] != "none" or config["sampler"]:
        trained = None if run.finished else model  # None: it is loaded if it must be measured
        evaluation.evaluate_trained(run.directory, config, trained, data)
    return run.directory


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Train the composed job; returns what a sweep minimises."""
    objective = None
    with reported_errors(config):
        job = job_of(config)
        from gen_models import evaluation, terminal, training

        terminal.quiet_libraries()
        with training.stopped_by_signals():
            run = train(job)
        if run is not None:
            objective = run.read_status().get("objective")
            if in_sweep():
                evaluation.show_line(run)
            else:
                evaluation.show_run(run, HydraConfig.get().overrides.task)
    return objective


if __name__ == "__main__":
    run_command(main)
