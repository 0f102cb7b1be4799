"""What a sweep says at its end: which jobs failed, and what to type next."""

import atexit
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from gen_models.analysis.settings import short_name, varying
from gen_models.composition import in_sweep, job_of, one_line
from gen_models.errors import UserError
from gen_models.files import read_json, write_json
from gen_models.runs.directory import RunDirectory, find_runs
from gen_models.runs.identity import identity
from gen_models.terminal import say


class SweepEnd(Callback):
    """Lets a sweep continue after a job that fails; at its end says which failed, and what is next.

    Jobs may run in other processes or on other machines, with copies of this object: each leaves
    a note in a folder of the sweep's, and the process that began the sweep reads them.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose a folder for the notes of this sweep alone."""
        self.notes = Path(config.hydra.sweep.dir).absolute() / f"jobs-{uuid4().hex}"
        atexit.register(shutil.rmtree, self.notes, ignore_errors=True)  # after Ctrl-C too
        self.threads_by_user = os.environ.get("OMP_NUM_THREADS")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Show no progress bars of jobs that run at once: they would overwrite one another.

        And choose a job's threads as usual: joblib sets a number that the user has not chosen.
        """
        if config.hydra.launcher._target_.endswith("JoblibLauncher"):  # in a process of its own
            os.environ["TTY_INTERACTIVE"] = "0"
            if self.threads_by_user is None:
                os.environ.pop("OMP_NUM_THREADS", None)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note how the job ended, and its run if there is one."""
        if not in_sweep():
            return
        overrides = list(config.hydra.overrides.task)
        note: dict[str, Any] = {"overrides": overrides, "error": None, "run": None}
        failed = job_return.status == JobStatus.FAILED
        if failed:
            error = job_return._return_value
            note["error"] = one_line(error.__cause__ or error)
        with suppress(UserError, AttributeError, KeyError, TypeError):  # the job's own error
            path = job_of(config).path
            if RunDirectory(path).status.exists():
                note["run"] = str(path)
        with suppress(OSError):  # an output_dir that cannot be written is the job's error
            self.notes.mkdir(parents=True, exist_ok=True)
            write_json(self.notes / f"{config.hydra.job.num:06}.json", note)
            if failed:  # without a note it fails in Hydra's way, and the sweep has no end
                job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what failed, and what to type next; exit with code 1 if a job failed."""
        notes = [read_json(file) for file in sorted(self.notes.glob("*.json"))]
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
    """Say how to compare the runs, with the setting that was swept."""
    settings = [identity(RunDirectory(path).read_config()) for path in paths]
    one_kind = len({path.parent for path in paths}) == 1
    keys = [key for key in varying(settings) if key != "seed"] if one_kind else []
    by = f" --by {short_name(keys[0])}" if len(keys) == 1 else ""
    folder = Path(os.path.commonpath(paths))
    alone = find_runs(folder) == set(paths)
    say("Next:")
    for path in paths:
        if "evaluation" not in RunDirectory(path).read_status():  # no comparison without it
            say(f"  gen-models evaluate {shlex.quote(str(path))}")
    say(f"  gen-models compare {shlex.join(map(str, [folder] if alone else paths))}{by}")
