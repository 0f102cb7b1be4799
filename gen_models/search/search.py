"""The search: ask for settings, train them, tell Optuna the result; until there are enough."""

import gc
import io
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import Trial, TrialState

from gen_models.errors import BusyError, DivergedError, StoppedEarly, UserError
from gen_models.files import read_json
from gen_models.places import COMMAND
from gen_models.runs.directory import MISSING, RunDirectory
from gen_models.runs.identity import Job, identity
from gen_models.search.space import Space
from gen_models.search.storage import (
    StorageError,
    latest,
    open_study,
    storage_errors,
    take_trial,
)
from gen_models.terminal import say
from gen_models.training.validation import OBJECTIVE, Reporter

ENDING = "ending"  # the attribute of a trial that says what was wrong, in words
MEASURES = "validation_distance"  # the callback
EVERY_EPOCH = f"callbacks.{MEASURES}.every_n_epochs=1"  # pruning needs it
PAUSE = 2.0  # seconds between two tries to get a run that another process trains

Train = Callable[[Job, Sequence[Reporter]], RunDirectory]


class Search(NamedTuple):
    """What every trial has in common.

    Attributes:
        common: Options of train.py.
        space: What is searched.
        compose: From such options to a job.
        assemble: Builds what a job trains, without training it: of train.py.
        train: Trains a job: of train.py.
    """

    common: list[str]
    space: Space
    compose: Callable[[Sequence[str]], Job]
    assemble: Callable[[Job], object]
    train: Train

    def command(self, parameters: dict[str, Any]) -> list[str]:
        """The options of train.py with which a trial's training is repeated."""
        return [*self.common, *self.space.overrides(parameters)]

    def composed(self, parameters: dict[str, Any]) -> Job:
        """The job of a trial."""
        return self.compose([EVERY_EPOCH, *self.command(parameters), "evaluate=none"])

    def check(self) -> dict[str, Any]:
        """Check that every value of the space can be trained; returns what all trials share.

        Raises:
            UserError: A key does not exist, is fixed too, or a value is out of its range.
        """
        corners = self.space.corners()
        fixed = {text.partition("=")[0].lstrip("+~") for text in self.common}
        searched = {text.partition("=")[0] for text in self.space.overrides(corners[0])}
        if both := sorted(fixed & searched):
            raise UserError(f"{both[0]}: {self.space.file} searches it too: leave one out")
        settings = []
        for corner in corners:
            job = self.composed(corner)
            config = job.config
            if MEASURES not in config["callbacks"]:
                raise UserError(f"callbacks.{MEASURES}: a search needs it: do not remove it")
            self.assemble(job)
            folder = str(Path(config["output_dir"]).resolve())  # with the locks of all workers
            settings.append(identity(config) | {"output_dir": folder})
        first, *others = settings
        return {k: v for k, v in first.items() if all((k, v) in other.items() for other in others)}


def search(search: Search, *, storage: str, count: int, seed: int) -> optuna.Study:
    """Train until the storage has so many trials; several processes may do so at once.

    A trial that was stopped or killed is resumed from its run's checkpoint.

    Args:
        search: What is tried.
        storage: Optuna's URL; a new storage if there is none.
        count: Trials in all.
        seed: Of the choice of settings; not of the training.

    Raises:
        UserError: Bad input, or a storage that can no longer be used; one line.
    """
    settings = search.check()
    study = open_study(storage, settings, search.space)
    locks = Path(settings["output_dir"]) / ".search"
    while True:
        with take_trial(study, count=count, seed=seed, locks=locks) as trial:
            if trial is None:
                return study
            _train(search, trial, count)


def _train(search: Search, trial: Trial, count: int) -> None:
    with storage_errors():
        parameters = search.space.draw(trial)
    job = search.composed(parameters)
    say(f"trial {trial.number + 1} of {count}: {' '.join(search.space.overrides(parameters))}")

    def prune_or_continue(epoch: int, value: float) -> None:
        with storage_errors():
            if epoch not in latest(trial).intermediate_values:  # measured again after a stop
                trial.report(value, epoch)
            worse = trial.should_prune()
        if worse:
            raise StoppedEarly(f"pruned after epoch {epoch}, {OBJECTIVE} {value:.4g}")

    value, state, ending, refused = None, None, "", None
    try:
        with redirect_stdout(io.StringIO()):  # a run's own words; train.log has them
            run = _train_alone(search, job, Reporter(prune_or_continue))
        value, metrics = float(run.read_status()["objective"]), read_json(run.metrics)
        for key in MISSING:
            if missing := int(metrics.get(f"val/{key}", 0)):
                ending = f"{missing} {key.removeprefix('missing_')} missing"
        result = f"{OBJECTIVE} {value:.4g}" + (f" ({ending})" if ending else "")
    except StorageError:
        raise
    except StoppedEarly as error:
        result, ending, state = str(error), str(error), TrialState.PRUNED
    except UserError as error:
        result, ending, state = str(error), str(error), TrialState.FAIL
        refused = None if isinstance(error, DivergedError) else error
    with storage_errors():
        if ending:
            trial.set_user_attr(ENDING, ending)
        trial.study.tell(trial, value, state)
        if refused:
            raise refused
        if trial.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            best = trial.study.best_trial
            result += f"; best so far {best.value:.4g}, trial {best.number + 1}"
    gc.collect()  # a trainer and its model refer to one another, and may hold memory of a GPU
    say(f"  {result}")


def _train_alone(search: Search, job: Job, watcher: Reporter) -> RunDirectory:
    """The run, after another process that trains the same settings has ended."""
    while True:
        try:
            return search.train(job, [watcher])
        except BusyError:
            time.sleep(PAUSE)


def summarise(search: Search, study: optuna.Study, output: Path) -> None:
    """Print how the trials ended, and the command of the best one; draw the plots."""
    from gen_models.search import plots

    with storage_errors():
        trials = study.get_trials(deepcopy=False)
    counts = {state: sum(t.state == state for t in trials) for state in TrialState}
    parts = [f"{n} {state.name.lower()}" for state, n in counts.items() if n]
    say(f"{len(trials)} trials: {', '.join(parts)}")
    if not counts[TrialState.COMPLETE]:
        return
    best = study.best_trial
    say(f"Best: {OBJECTIVE} {best.value:.4g}, trial {best.number + 1}:")
    say(f"  {COMMAND} {shlex.join(search.command(best.params))}")
    for picture in plots.write(study, output):
        say(f"  {picture}")
