"""Train one model, or sweep over many: `python train.py --help`."""

import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gen_models.composition import in_sweep, job_of, trains_beside_others
from gen_models.errors import Reported, UserError, report, take_over, wants_traceback
from gen_models.files import with_home
from gen_models.terminal import outlive_output, substitute_characters
from gen_models.threads import prepare, watch

EXPECTED = (UserError, HydraException, OmegaConfBaseException)
DEBUG = wants_traceback(sys.argv)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Train the composed run, then measure it; returns what a sweep minimises."""
    try:
        job = job_of(config)
        prepare(job.config.get("threads"), together=trains_beside_others(job.config))
        from gen_models import terminal, training  # here, so that --help need not wait for torch

        terminal.quiet_libraries()
        with training.stopped_by_signals():
            run = training.train(job.config, defaults=job.defaults, build=hydra.utils.instantiate)
            if run is None:  # rank 0 of this training goes on
                return None
            from gen_models import evaluation

            evaluation.evaluate_trained(run, job.config["evaluate"], job.config["sampler"])
        if not in_sweep():
            evaluation.suggest(run)
        return run.read_status().get("objective")
    except Exception as error:
        report(error, traceback_too=DEBUG or not isinstance(error, EXPECTED))
        raise (Reported() if in_sweep() else SystemExit(1)) from error  # a sweep goes on


if __name__ == "__main__":
    take_over()
    watch()
    substitute_characters()
    outlive_output()
    try:
        sys.argv[1:] = with_home(sys.argv[1:])
        main()
    except KeyboardInterrupt:  # a sweep whose jobs are other processes, which have ended too
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        report(error, traceback_too=DEBUG)
        sys.exit(1)
