"""The trials of a search in Optuna's storage: one search each, shared by all its workers."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, get_storage
from optuna.trial import Trial, TrialState

from gen_models.errors import StoppedEarly, UserError, first_line
from gen_models.locks import locked
from gen_models.search.space import Space
from gen_models.seeding import derive_seed

NAME = "gen-models search"
STARTUP = 10  # trials drawn at random before TPE learns from them
PRUNE_AFTER = 5  # trials to their end before others are measured against their median
ASKING = "ask.lock"  # held while a worker counts the trials and asks for another


class StorageError(StoppedEarly):
    """The storage cannot be read or written any more; the trial's run can go on later."""


def open_study(url: str, settings: dict[str, Any], space: Space) -> optuna.Study:
    """The search of a storage, begun if there is none.

    Args:
        url: As SQLAlchemy writes it, e.g. sqlite:///search.db.
        settings: The identity of a run without what is searched, and the folder of all runs.
        space: What is searched.

    Raises:
        UserError: It cannot be reached, or is of another search or space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        waiting = {"connect_args": {"timeout": 60}}  # seconds for another worker's write
        sqlite = url.startswith("sqlite")
        storage = RDBStorage(url, engine_kwargs=waiting) if sqlite else get_storage(url)
        others = [name for name in optuna.get_all_study_names(storage) if name != NAME]
        if others:
            raise UserError(f"--storage {url}: is of another search ({others[0]}): choose another")
        study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER),
            load_if_exists=True,
        )
        ours = {"settings": settings, "space": _describe(space)}
        if not study.user_attrs:
            study.set_user_attr("search", ours)
    except UserError:
        raise
    except Exception as error:  # of SQLAlchemy, of a database's driver, of the system
        raise UserError(
            f"--storage {url}: cannot be opened ({first_line(error.__cause__ or error)}): name a "
            "database, e.g. sqlite:///search.db"
        ) from error
    for what, remedy in (
        ("space", "give it that space"),
        ("settings", "set it so, or choose another storage"),
    ):
        kept = study.user_attrs.get("search", {}).get(what, {})
        for key in [*kept, *ours[what]]:
            there, here = (some.get(key, "nothing") for some in (kept, ours[what]))
            if there != here:
                raise UserError(
                    f"--storage {url}: is of another search: in its {what}, {key} is {there}, "
                    f"here it is {here}: {remedy}"
                )
    return study


@contextmanager
def take_trial(
    study: optuna.Study, *, count: int, seed: int, locks: Path
) -> Iterator[Trial | None]:
    """A trial whose worker is no more or, until there are `count`, a new one; None after that.

    Args:
        study: The search.
        count: Trials in all.
        seed: Of the sampler. Each trial has a stream of its own, so that a search that was
            stopped goes on as if it had not been.
        locks: Folder of a file for each trial at work, which its worker holds; a kill -9 frees it.
    """
    tried: set[int] = set()  # and found to be another worker's
    trial: Trial | None
    while True:
        with locked(locks / ASKING, patience=math.inf), storage_errors():
            trials = study.get_trials(deepcopy=False)
            left = [t for t in trials if t.state == TrialState.RUNNING and t.number not in tried]
            if left:
                trial = Trial(study, left[0]._trial_id)
            elif len(trials) < count:
                trial = study.ask()
            else:
                trial = None
        if trial is None:
            yield None
            return
        tried.add(trial.number)
        with lock_trial(locks, trial) as free:
            if free and _state(trial) == TrialState.RUNNING:
                study.sampler = optuna.samplers.TPESampler(
                    seed=derive_seed("search", seed, trial.number),
                    n_startup_trials=STARTUP,
                    multivariate=False,
                )
                yield trial
                return


@contextmanager
def lock_trial(folder: Path, trial: Trial) -> Iterator[bool]:
    """Hold a trial; False where another worker does."""
    path = folder / f"{trial.number}-{trial.datetime_start:%Y%m%dT%H%M%S%f}.lock"
    with locked(path, patience=0) as free:
        yield free
        if free:
            path.unlink()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn whatever Optuna's storage raises into one line.

    Raises:
        StorageError: With the database's reason.
    """
    try:
        yield
    except Exception as error:  # of Optuna, of SQLAlchemy, of a database's driver, of the system
        raise StorageError(
            f"--storage: cannot be read or written any more ({first_line(error.__cause__ or error)}"
            "): the runs are kept; when it is there again, the same command goes on from here"
        ) from error


def _state(trial: Trial) -> TrialState:
    with storage_errors():
        state: TrialState = trial.study._storage.get_trial(trial._trial_id).state
    return state


def report(trial: Trial, epoch: int, value: float) -> bool:
    """Keep a value as of after an epoch; whether the trial is worse than the median of others."""
    with storage_errors():
        known = trial.study._storage.get_trial(trial._trial_id).intermediate_values
        if epoch not in known:  # measured again after a stop: the same value
            trial.report(value, epoch)
        return trial.should_prune()


def _describe(space: Space) -> dict[str, Any]:
    described: dict[str, Any] = {
        name: json.loads(optuna.distributions.distribution_to_json(kind))["attributes"]
        for name, kind in space.distributions.items()
    }
    return described
