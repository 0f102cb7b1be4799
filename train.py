"""Train one model, or sweep over many: `python train.py --help`."""

import argparse
import os
import sys
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gen_models.errors import Reported, UserError, report

DEBUG = "debug=true" in sys.argv or os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Train the composed experiment; returns what a sweep minimises."""
    choices = HydraConfig.get().runtime.choices
    groups = [f"{group}={choices[group]}" for group in ("data", "model", "phase")]
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        from gen_models import training  # here, so that --help need not wait for torch

        plain, defaults = _plain(config), _plain(hydra.compose("config", groups))
        return training.run(plain, defaults=defaults, build=hydra.utils.instantiate, sweep=sweep)
    except Exception as error:
        expected = isinstance(error, UserError | HydraException | OmegaConfBaseException)
        report(error, traceback_too=DEBUG or not expected)
        if sweep:  # its other jobs go on
            raise Reported from error
        raise SystemExit(1) from error


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra leaves its errors to us,
    argparse.ArgumentParser.print_usage = lambda *_: None  # type: ignore[method-assign]
    try:
        main()
    except Exception as error:
        report(error, traceback_too=DEBUG)
        sys.exit(1)
    finally:
        if "gen_models.training" in sys.modules:  # something was composed
            from gen_models import reporting, training

            reporting.suggest_comparison(training.swept)
