"""A study from its plan to its page: what is there, training of the rest, and the answers."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import get_args

from rich.box import SIMPLE
from rich.table import Table

from gen_models.analysis.statistics import LEAST
from gen_models.errors import UserError
from gen_models.study import words
from gen_models.study.answer import Answer
from gen_models.study.definition import Study
from gen_models.study.load import check_seeds
from gen_models.study.page import write_page
from gen_models.study.plan import Compose, PlannedRun, State, plan
from gen_models.study.table import RUNS, collect, missing, of_one_code, of_study, read_table
from gen_models.study.train import train_missing
from gen_models.terminal import say

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
    show_answers(*write_page(study, read_table(runs.parent), folder))


def answer(
    study: Study,
    folder: Path,
    compose: Compose,
    *,
    train: bool,
    jobs: int,
    launcher: Sequence[str],
) -> bool:
    """Show what is there of a study, train the rest if asked, write its page, show the answers.

    Returns:
        Whether no run failed; at the end there is a line on stderr for each that did.

    Raises:
        UserError: The study cannot be trained or decided.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all that is trained is kept.
    """
    if train:
        check_seeds(study)
    planned = plan(study, compose, folder / "runs")
    known = read_table(folder)
    waiting = missing(planned, known)
    show_state(study, planned, waiting, jobs)
    failed: list[str] = []
    if train:
        waiting, failed = of_one_code(waiting, of_study(study, known))
        failed += train_missing(
            waiting,
            jobs=jobs,
            launcher=launcher,
            logs=folder / "logs",
            ended=lambda run: collect(study, planned, folder),
        )
    table = collect(study, planned, folder)
    try:
        if of_study(study, table).rows:
            show_answers(*write_page(study, table, folder))
    finally:
        for line in failed:
            print(f"failed: {line}", file=sys.stderr)
    return not failed


def show_state(
    study: Study, runs: Sequence[PlannedRun], to_train: Sequence[PlannedRun], jobs: int
) -> None:
    """Print what is there of each arm, and how long those to be trained take, `jobs` at once."""
    table = Table("arm", "seeds", "runs", "the rest takes", box=SIMPLE, pad_edge=False)
    total, unknown = 0.0, 0
    for name, arm in study.arms.items():
        own = [run for run in runs if run.arm == name]
        waiting = [run for run in own if run in to_train]
        states = Counter(run.state for run in own if run in waiting or run.state != "missing")
        rest = _rest(own, waiting)
        total += rest or 0.0
        unknown += len(waiting) if rest is None else 0
        counts = [f"{states[state]} {state}" for state in get_args(State) if states[state]]
        if known := len(own) - states.total():
            counts.append(f"{known} in {RUNS} alone")
        table.add_row(name, str(len(arm.seeds)), ", ".join(counts), _in_words(rest, jobs))
    say(study.question)
    if few := [name for name, arm in study.arms.items() if len(arm.seeds) < LEAST]:
        say(
            f"cannot decide with fewer than {LEAST} seeds of {', '.join(few)}: three runs against "
            "three never reach p < 0.05"
        )
    say(table)
    parts = []
    if total:
        parts.append(_in_words(total, jobs) + (f" by {jobs} at once" if jobs > 1 else ""))
    if unknown:
        parts.append(f"unknown for {unknown} runs, of arms that have none yet")
    say(f"the rest takes {'; '.join(parts)}" if parts else "nothing is missing")


def show_answers(answers: Sequence[Answer], paths: Sequence[Path]) -> None:
    """Print the verdicts, and where the page is."""
    for answer in answers:
        say(f"{answer.claim.name} {words.verdict(answer)}: {answer.claim.says}")
        say(f"   {words.sentence(answer)}")
    for path in paths[:2]:
        say(f"  {path}")


def _rest(runs: Sequence[PlannedRun], missing: Sequence[PlannedRun]) -> float | None:
    """Seconds that the runs of an arm still take by those that are finished; None if unknown."""
    known = [run.seconds for run in runs if run.state == "done" and run.seconds is not None]
    if not missing:
        return 0.0
    return len(missing) * fmean(known) if known else None


def _in_words(seconds: float | None, jobs: int) -> str:
    if seconds is None:
        return "unknown"
    minutes = seconds / jobs / 60
    if minutes == 0:
        return "-"
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"
