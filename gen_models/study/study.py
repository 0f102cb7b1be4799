"""A study from its plan to its page: what is there, training of the rest, and the answers."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gen_models.errors import UserError
from gen_models.study import terminal
from gen_models.study.collect import collect, missing, of_one_code
from gen_models.study.definition import Study
from gen_models.study.load import check_seeds
from gen_models.study.page import write_page
from gen_models.study.plan import Compose, plan
from gen_models.study.table import RUNS, of_study, read_table
from gen_models.study.train import train_missing

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
    terminal.show_answers(*write_page(study, read_table(runs.parent), folder))


def answer(
    study: Study,
    folder: Path,
    compose: Compose,
    *,
    train: bool,
    jobs: int,
    launcher: Sequence[str],
    report_failure: Callable[[str], None],
) -> bool:
    """Show what is there of a study, train the rest if asked, write its page, show the answers.

    Returns:
        Whether no run failed; `report_failure` is called at the end with a line for each that did.

    Raises:
        UserError: The study cannot be trained or decided.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all that is trained is kept.
    """
    if train:
        check_seeds(study)
    planned = plan(study, compose, folder / "runs")
    known = read_table(folder)
    waiting = missing(planned, known)
    terminal.show_state(study, planned, waiting, jobs)
    failed: list[str] = []
    if train:
        waiting, failed = of_one_code(waiting, of_study(study, known))
        failed += train_missing(
            waiting,
            jobs=jobs,
            launcher=launcher,
            logs=folder / "logs",
            say=terminal.say,
            ended=lambda run: collect(study, planned, folder),
        )
    table = collect(study, planned, folder)
    try:
        if of_study(study, table).rows:
            terminal.show_answers(*write_page(study, table, folder))
    finally:
        for line in failed:
            report_failure(f"failed: {line}")
    return not failed
