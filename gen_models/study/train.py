"""Trains what a study has planned and is not there: a process of train.py for each run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gen_models.analysis.page import OTHER_OUTPUT
from gen_models.analysis.runs import FINISHED
from gen_models.errors import UserError
from gen_models.files import writing
from gen_models.places import TRAIN
from gen_models.study.plan import PlannedRun
from gen_models.terminal import say

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
MEASURE = ("-m", "gen_models")  # what Python runs to measure a run again
PAUSE = 0.2  # seconds between two looks at the processes


class Job(NamedTuple):
    """A process at work on a run."""

    run: PlannedRun
    process: subprocess.Popen[bytes]
    log: Path
    trained: bool  # before: what is at work measures it at several numbers of steps


def train_missing(
    runs: Sequence[PlannedRun],
    *,
    jobs: int,
    launcher: Sequence[str] = (),
    logs: Path,
    ended: Callable[[PlannedRun], object],
) -> list[str]:
    """Train runs in their order, or finish them; the others go on if one fails.

    Args:
        runs: Those of `plan` that are not finished.
        jobs: How many at once; each has one thread, unless OMP_NUM_THREADS says otherwise.
        launcher: Hydra's, as options of train.py: each run is a job of it; none: a process here.
        logs: A folder for what the processes say.
        ended: Called with each run that has come to its end, also if it diverged.

    Returns:
        What failed, with its reason: a line each.

    Raises:
        UserError: `logs` cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after all processes have saved and ended.
    """
    waiting = list(runs)
    working, failed = list[Job](), list[str]()
    with writing(logs, OTHER_OUTPUT):
        logs.mkdir(parents=True, exist_ok=True)
    with _interrupted_by_signals():
        try:
            while waiting or working:
                before = [*waiting, *(job.run for job in working)]
                ready = [run for run in waiting if run.earlier not in before]
                for run in ready[: jobs - len(working)]:
                    waiting.remove(run)
                    if run.state == "running":
                        failed.append(f"{run.name}: another process trains it: {run.path}")
                        continue
                    working.append(_start(run, launcher, logs))
                    say(f"{len(runs) - len(waiting)}/{len(runs)} {run.name}")
                time.sleep(PAUSE)
                for job in [job for job in working if job.process.poll() is not None]:
                    working.remove(job)
                    if job.run.state in FINISHED:
                        seconds = job.run.seconds
                        took = "" if seconds is None else f" after {seconds:,.0f} s"
                        say(f"{job.run.name}: {job.run.state}{took}")
                        try:
                            ended(job.run)
                        except UserError as error:
                            failed.append(f"{job.run.name}: {error}")
                    elif job.run.unmeasured and not job.trained and not job.process.returncode:
                        working.append(_start(job.run, launcher, logs))
                    else:
                        failed.append(f"{job.run.name}: {_reason(job)}")
                        say(f"failed: {failed[-1]}")
        finally:  # the processes save where they are
            for job in working:
                job.process.terminate()
            for job in working:
                job.process.wait()
    return failed


def _start(run: PlannedRun, launcher: Sequence[str], logs: Path) -> Job:
    trained = run.unmeasured
    if trained:
        words = [*MEASURE, *run.steps_words]
    else:
        words = [str(TRAIN), *(["-m", *launcher] if launcher else []), *run.words]
    log = logs / f"{run.arm}-seed{run.seed}.log"
    if not trained:
        log.unlink(missing_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": "1", **os.environ},
            start_new_session=True,  # Ctrl-C is ours to pass on, once
        )
    return Job(run, process, log, trained)


def _reason(job: Job) -> str:
    """The last line that a process has printed."""
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "said nothing")
    return f"{reason} (exit code {job.process.returncode}; {job.log})"


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP where it is not ignored as by nohup, do what Ctrl-C does."""
    heeded = [signum for signum in SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, signal.default_int_handler) for signum in heeded}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
