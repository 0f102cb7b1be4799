"""Train one model, or sweep over many: `python train.py --help`."""

from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class Refused(CompactHydraException):
    """Bad input: Hydra prints the one line, without a traceback, and exits with 1."""


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Train the composed experiment; returns what a sweep minimises."""
    from gen_models import training  # here, so that --help need not wait for torch
    from gen_models.errors import UserError

    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN and config.trainer.devices != 1:
        raise Refused(
            "trainer.devices: each process would start the whole sweep; train these one by one"
        )
    plain = _plain(config)
    if plain["evaluate"] is None:
        plain["evaluate"] = "quick" if hydra_config.mode == RunMode.MULTIRUN else "full"
    choices = hydra_config.runtime.choices
    groups = [f"{group}={choices[group]}" for group in ("data", "model", "phase")]
    try:
        return training.run(
            plain,
            defaults=_plain(hydra.compose("config", groups)),
            build=hydra.utils.instantiate,
        )
    except (UserError, OmegaConfBaseException) as error:
        raise Refused(str(error)) from error


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


if __name__ == "__main__":
    main()
