"""Hydra's configurations as plain dictionaries, and what a sweep says at its end.

The one file of the package that knows Hydra; no room imports it.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import uuid4

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import instantiate as instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gen_models.analysis.settings import short_name, varying
from gen_models.errors import UserError, one_line
from gen_models.files import expanded, read_json, with_home, write_json
from gen_models.locks import is_locked, locked
from gen_models.places import CONF
from gen_models.runs.directory import LOCK, RunDirectory
from gen_models.runs.identity import identity, run_path
from gen_models.runs.listing import find_runs
from gen_models.terminal import say

GROUPS = ("data", "model", "phase")
PATHS = ("output_dir", "extend")  # the data module takes care of its own

OmegaConf.register_new_resolver("expanded", lambda path: str(expanded(path)), replace=True)


class Job(NamedTuple):
    """One run as the command line describes it."""

    config: dict[str, Any]  # resolved
    defaults: dict[str, Any]  # the same data set, model and phase without further options


def in_sweep() -> bool:
    """Whether this job is one of several."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def trains_beside_others(config: dict[str, Any]) -> bool:
    """Whether this job trains while others do: of another launcher than Hydra's, or its ranks."""
    own = HydraConfig.get().launcher._target_.endswith("BasicLauncher")  # one after the other
    return (in_sweep() and not own) or config["trainer"]["devices"] not in (1, "auto")


def job_of(config: DictConfig) -> Job:
    """What a job is to train.

    Raises:
        UserError: A sweep over jobs of several processes each.
    """
    choices = HydraConfig.get().runtime.choices
    groups = [f"{group}={choices[group]}" for group in GROUPS]
    job = Job(_plain(config), _plain(hydra.compose("config", groups)))
    trainer = job.config["trainer"]
    if in_sweep() and trainer["strategy"] != "auto" and trainer["devices"] != 1:
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
            return _plain(hydra.compose("config", with_home(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{' '.join(overrides)}: {one_line(error)}") from error


def compose_job(overrides: Sequence[str]) -> Job:
    """What `python train.py OVERRIDES` is to train.

    Raises:
        UserError: They do not compose.
    """
    groups = [text for text in overrides if text.partition("=")[0] in GROUPS]
    return Job(compose_overrides(overrides), compose_overrides(groups))


class SweepEnd(Callback):
    """Lets a sweep go on when a job fails; says at its end which failed, and what to type next.

    Jobs may run in other processes or on other machines, with copies of this object: each leaves
    a note in a folder of the sweep's, and the process that began the sweep reads them.
    """

    def __init__(self) -> None:
        self.held = ExitStack()  # the lock of the notes' folder

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: the folder, not its lock."""
        return {key: value for key, value in self.__dict__.items() if key != "held"}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose a folder for the notes of this sweep alone; delete those of sweeps that died."""
        folder = Path(config.hydra.sweep.dir).absolute()
        for left in folder.glob("jobs-*"):
            if not is_locked(left / LOCK):
                shutil.rmtree(left, ignore_errors=True)
        self.notes = folder / f"jobs-{uuid4().hex}"
        with suppress(UserError):  # an output_dir that cannot be written: the jobs will say it
            self.held.enter_context(locked(self.notes / LOCK))
        self.threads_by_user = os.environ.get("OMP_NUM_THREADS")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Show no progress bar of a job beside others: they would overwrite one another.

        And choose its threads as any job's: joblib sets a number that the user has not chosen.
        """
        if config.hydra.launcher._target_.endswith("JoblibLauncher"):  # in a process of its own
            os.environ["TTY_INTERACTIVE"] = "0"
            if self.threads_by_user is None:
                os.environ.pop("OMP_NUM_THREADS", None)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note how the job ended, and its run if it came as far as to have one."""
        if not in_sweep():
            return
        overrides = list(config.hydra.overrides.task)
        note: dict[str, Any] = {"overrides": overrides, "error": None, "run": None}
        failed = job_return.status == JobStatus.FAILED
        if failed:
            error = job_return._return_value
            note["error"] = one_line(error.__cause__ or error)
        with suppress(UserError, AttributeError, KeyError, TypeError):  # the job has said it
            job = job_of(config)
            path = run_path(job.config, job.defaults)
            if RunDirectory(path).status.exists():
                note["run"] = str(path)
        with suppress(OSError):  # an output_dir that cannot be written: the job has said it
            self.notes.mkdir(parents=True, exist_ok=True)
            write_json(self.notes / f"{config.hydra.job.num:06}.json", note)
            if failed:  # else it fails Hydra's way: the other jobs go on, but the sweep has no end
                job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what failed, and what to type next.

        Raises:
            SystemExit: With code 1, if a job failed.
        """
        notes = [read_json(file) for file in sorted(self.notes.glob("*.json"))]
        self.held.close()
        shutil.rmtree(self.notes, ignore_errors=True)
        failed = [note for note in notes if note["error"]]
        if failed:
            say(f"Failed: {len(failed)} of {len(notes)} jobs")
            for note in failed:
                say(f"  {' '.join(note['overrides'])}: {note['error']}")
        paths = [Path(run) for run in dict.fromkeys(note["run"] for note in notes) if run]
        if len(paths) > 1:
            _suggest_comparison(paths)
        if failed:
            sys.exit(1)


def _suggest_comparison(paths: list[Path]) -> None:
    """Say how to compare the runs, by the setting that was swept."""
    settings = [identity(RunDirectory(path).read_config()) for path in paths]
    one_kind = len({path.parent for path in paths}) == 1
    keys = [key for key in varying(settings) if key != "seed"] if one_kind else []
    by = f" --by {short_name(keys[0])}" if len(keys) == 1 else ""
    folder = Path(os.path.commonpath(paths))
    alone = find_runs(folder) == set(paths)
    say("Next:")
    say(f"  gen-models compare {shlex.join(map(str, [folder] if alone else paths))}{by}")


def _plain(config: DictConfig) -> dict[str, Any]:
    config = config.copy()
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    paths = {key: plain[key] for key in PATHS if isinstance(plain.get(key), str)}
    return plain | {key: str(expanded(path)) for key, path in paths.items() if path}
