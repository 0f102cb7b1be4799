"""Train one model, or sweep over many: `python train.py --help`."""

import os
import sys
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gen_models.errors import Reported, UserError, report, take_over

EXPECTED = (UserError, HydraException, OmegaConfBaseException)
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
        report(error, traceback_too=DEBUG or not isinstance(error, EXPECTED))
        raise (Reported() if sweep else SystemExit(1)) from error  # a sweep's other jobs go on


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


if __name__ == "__main__":
    take_over()
    try:
        main()
    except Exception as error:
        report(error, traceback_too=DEBUG)
        sys.exit(1)
    finally:
        if training := sys.modules.get("gen_models.training"):  # something was composed
            training.suggest_comparison()
