"""What `gen-models study` prints."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.box import SIMPLE
from rich.table import Table

from gen_models.study import words
from gen_models.study.answer import Answer
from gen_models.study.definition import Study
from gen_models.study.evidence import LEAST
from gen_models.study.plan import PlannedRun, State
from gen_models.study.table import RUNS
from gen_models.terminal import say

STATES: tuple[State, ...] = ("done", "diverged", "running", "stopped", "failed", "missing")


def show_state(
    study: Study, runs: Sequence[PlannedRun], missing: Sequence[PlannedRun], jobs: int
) -> None:
    """Print what is there of each arm, and how long the missing runs take, `jobs` at once."""
    table = Table("arm", "seeds", "runs", "the rest takes", box=SIMPLE, pad_edge=False)
    total, unknown = 0.0, 0
    for name, arm in study.arms.items():
        own = [run for run in runs if run.arm == name]
        waiting = [run for run in own if run in missing]
        states = Counter(run.state for run in own if run in waiting or run.state != "missing")
        rest = _rest(own, waiting)
        total += rest or 0.0
        unknown += len(waiting) if rest is None else 0
        counts = [f"{states[state]} {state}" for state in STATES if states[state]]
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
