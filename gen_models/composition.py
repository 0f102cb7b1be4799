"""Hydra's configurations as plain dictionaries, and what a sweep says at its end.

The one file of the package that knows Hydra; no room imports it.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gen_models.comparison.settings import short_name, varying
from gen_models.errors import UserError, one_line
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import identity, run_path
from gen_models.terminal import say

CONF = Path(__file__).parent.parent / "conf"
GROUPS = ("data", "model", "phase")


class Job(NamedTuple):
    """One run as the command line describes it."""

    config: dict[str, Any]  # resolved
    defaults: dict[str, Any]  # the same data set, model and phase without further options


def in_sweep() -> bool:
    """Whether this job is one of several."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def job_of(config: DictConfig) -> Job:
    """What a job is to train.

    Raises:
        UserError: A sweep over jobs of several processes each.
    """
    choices = HydraConfig.get().runtime.choices
    groups = [f"{group}={choices[group]}" for group in GROUPS]
    job = Job(_plain(config), _plain(hydra.compose("config", groups)))
    if in_sweep() and job.config["trainer"]["devices"] != 1:
        raise UserError(
            "trainer.devices: each process would start the whole sweep; train these one by one"
        )
    if job.config["evaluate"] is None:
        job.config["evaluate"] = "quick" if in_sweep() else "full"
    return job


def compose_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of `python train.py OVERRIDES`, without running it.

    Raises:
        UserError: They do not compose.
    """
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return _plain(hydra.compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{' '.join(overrides)}: {one_line(error)}") from error


class SweepEnd(Callback):
    """Lets a sweep go on when a job fails, and says at its end how to compare the runs."""

    def __init__(self) -> None:
        self.runs: dict[Path, dict[str, Any]] = {}  # run directory -> identity
        self.failed = 0

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note the job's run, if it came as far as to have one."""
        if job_return.status == JobStatus.FAILED:  # Hydra would end the sweep without its end
            self.failed += 1
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        with suppress(UserError, AttributeError, KeyError, TypeError):  # the job has said it
            job = job_of(config)
            path = run_path(job.config, job.defaults)
            if RunDirectory(path).status.exists():
                self.runs[path] = identity(job.config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what to type next.

        Raises:
            SystemExit: With code 1, if a job failed.
        """
        if len(self.runs) > 1:
            self._suggest_comparison()
        if self.failed:
            sys.exit(1)

    def _suggest_comparison(self) -> None:
        """The comparison of the runs, by the setting that was swept."""
        paths, settings = list(self.runs), list(self.runs.values())
        one_kind = len({path.parent for path in paths}) == 1
        keys = [key for key in varying(settings) if key != "seed"] if one_kind else []
        by = f" --by {short_name(keys[0])}" if len(keys) == 1 else ""
        folder = Path(os.path.commonpath(paths))
        alone = {file.parent for file in folder.rglob("status.json")} == set(paths)
        say("Next:")
        say(f"  gen-models compare {folder if alone else ' '.join(map(str, paths))}{by}")


def _plain(config: DictConfig) -> dict[str, Any]:
    config = config.copy()
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
