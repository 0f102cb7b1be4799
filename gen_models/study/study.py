"""A study from its plan to its page: what is there, training of the rest, and the answers."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import get_args

import rich.table
from rich.box import SIMPLE

from gen_models.analysis.statistics import LEAST
from gen_models.errors import UserError
from gen_models.study import words
from gen_models.study.definition import Study
from gen_models.study.page import write_page
from gen_models.study.plan import Compose, PlannedRun, State, plan
from gen_models.study.table import (
    RUNS,
    Table,
    collect,
    missing,
    of_one_code,
    of_study,
    read_table,
)
from gen_models.study.train import train_missing
from gen_models.terminal import counted, say

LAUNCHER = ("hydra/launcher=", "hydra.launcher.")


def check_launcher(options: Sequence[str], compose: Compose) -> None:
    """Refuse options of `train.py` that are not of a launcher.

    Raises:
        UserError: One is not, or does not compose.
    """
    for option in options:
        if not option.startswith(LAUNCHER):
            raise UserError(
                f"{option}: the arms say what is trained; use only hydra/launcher=NAME and "
                "hydra.launcher.OPTION=VALUE here"
            )
    if options:
        compose(list(options))


def answer_from_table(study: Study, runs: Path, folder: Path) -> None:
    """Write the page of a study from its table alone, runs.csv, and show the answers.

    Raises:
        UserError: There is no such table, or it does not make a study.
    """
    if runs.name != RUNS or not runs.exists():
        raise UserError(f"--runs {runs}: must be an existing file named {RUNS}")
    write_answers(study, read_table(runs.parent), folder)


def answer(
    study: Study, folder: Path, compose: Compose, *, train: bool, jobs: int, launcher: Sequence[str]
) -> bool:
    """Show what is there of a study, train the rest if asked, write its page, show the answers.

    Returns:
        Whether no run failed; at the end there is a line on stderr for each that did.

    Raises:
        UserError: The study cannot be trained or decided.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all that is trained is kept.
    """
    few = too_few_seeds(study)
    if train and few:
        raise UserError(few)
    planned = plan(study, compose, folder / "runs")
    known = read_table(folder)
    waiting = missing(planned, known)
    say(study.question)
    if few:
        say(few)
    show_state(study, planned, waiting, jobs)
    failed: list[str] = []
    if train:
        waiting, failed = of_one_code(waiting, of_study(study, known))
        logs, ended = folder / "logs", lambda run: collect(study, planned, folder)
        failed += train_missing(waiting, jobs=jobs, launcher=launcher, logs=logs, ended=ended)
    table = collect(study, planned, folder)
    try:
        if of_study(study, table).rows:
            write_answers(study, table, folder)
    finally:
        for line in failed:
            print(f"failed: {line}", file=sys.stderr)
    return not failed


def too_few_seeds(study: Study) -> str:
    """Why the runs that are planned decide nothing; "" if there are enough."""
    arms = {arm for contrast in study.contrasts for arm in contrast.arms}
    few = [name for name in study.arms if name in arms and len(study.arms[name].seeds) < LEAST]
    if not few:
        return ""
    return (
        f"{study.file}: cannot decide with fewer than {LEAST} seeds of {', '.join(few)}, as three "
        f"runs against three never reach p < 0.05: give arms.{few[0]}.seeds more"
    )


def show_state(
    study: Study, runs: Sequence[PlannedRun], to_train: Sequence[PlannedRun], jobs: int
) -> None:
    """Print what is there of each arm, and how long those to be trained take, `jobs` at once."""
    heads = ("arm", "seeds", "runs", "the rest takes")
    table = rich.table.Table(*heads, box=SIMPLE, pad_edge=False)
    total, unknown = 0.0, 0
    for name, arm in study.arms.items():
        own = [run for run in runs if run.arm == name]
        waiting = [run for run in own if run in to_train]
        states = Counter(run.state for run in own if run in waiting or run.state != "missing")
        counts = [f"{states[state]} {state}" for state in get_args(State) if states[state]]
        if known := len(own) - states.total():
            counts.append(f"{known} in {RUNS} alone")
        took = [run.seconds for run in own if run.state == "done" and run.seconds is not None]
        rest = len(waiting) * fmean(took) if took else 0.0
        text = _in_words(rest, jobs) if rest else "unknown" if waiting else "-"
        total, unknown = total + rest, unknown + (0 if took else len(waiting))
        table.add_row(name, str(len(arm.seeds)), ", ".join(counts), text)
    say(table)
    parts = []
    if total:
        parts.append(_in_words(total, jobs) + (f" by {jobs} at once" if jobs > 1 else ""))
    if unknown:
        parts.append(f"an unknown time for {counted(unknown, 'run')} of arms that have none yet")
    say(f"the rest takes {' and '.join(parts)}" if parts else "nothing is missing")


def write_answers(study: Study, table: Table, folder: Path) -> None:
    """Write the page, and print the verdicts and where it is."""
    answers, paths = write_page(study, table, folder)
    for answer in answers:
        say(f"{answer.claim.name} {words.verdict(answer)}: {answer.claim.says}")
        say(f"   {words.sentence(answer)}")
    for path in paths[:2]:
        say(f"  {path}")


def _in_words(seconds: float, jobs: int) -> str:
    minutes = seconds / jobs / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"
