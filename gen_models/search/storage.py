"""The trials of a search in Optuna's storage: one search each, shared by all its workers."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, Trial, TrialState

from gen_models.errors import StoppedEarly, UserError, first_line
from gen_models.files import locked
from gen_models.search.space import Space
from gen_models.seeding import derive_seed

NAME = "gen-models search"
STARTUP = 10  # trials drawn at random before TPE learns from them
PRUNE_AFTER = 5  # trials to their end before others are compared with their median
BEING_MADE = ("already exists", "UNIQUE constraint")  # another worker makes the tables just now
TRIES = 4  # half a second apart
ASKING = "ask.lock"  # held while a worker counts the trials and asks for another


class StorageError(StoppedEarly):
    """The storage cannot be read or written any more; the trial's run can be resumed later."""


def open_study(url: str, settings: dict[str, Any], space: Space) -> optuna.Study:
    """The search in a storage, a new one if there is none.

    Args:
        url: As SQLAlchemy writes it, e.g. sqlite:///search.db.
        settings: The identity of a run without what is searched, and the folder of all runs.
        space: What is searched.

    Raises:
        UserError: It cannot be opened, or holds a search with other settings or another space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = f"--storage {url}"
    described = {
        name: json.loads(optuna.distributions.distribution_to_json(kind))["attributes"]
        for name, kind in space.distributions.items()
    }
    asked = {"space": described, "settings": settings}
    with storage_errors(f"{place}: cannot be opened", "name a database, e.g. sqlite:///search.db"):
        for tries_left in reversed(range(TRIES)):
            try:
                study = _create_or_load(url, place)
                if not study.user_attrs:
                    study.set_user_attr("search", asked)
                break
            except Exception as error:
                being_made = any(text in f"{error} {error.__cause__}" for text in BEING_MADE)
                if not (being_made and tries_left):
                    raise
                time.sleep(0.5)
    stored = study.user_attrs.get("search", {})
    for part, own in asked.items():
        for key in [*stored.get(part, {}), *own]:
            before, now = (some.get(part, {}).get(key, "nothing") for some in (stored, asked))
            if before != now:
                raise UserError(
                    f"{place}: already holds a search in whose {part} {key} is {before}, here it "
                    f"is {now}: set it to that, or choose another storage"
                )
    return study


def _create_or_load(url: str, place: str) -> optuna.Study:
    waiting = {"connect_args": {"timeout": 60}}  # seconds for another worker's write
    sqlite = url.startswith("sqlite")
    storage = RDBStorage(url, engine_kwargs=waiting) if sqlite else get_storage(url)
    others = [name for name in optuna.get_all_study_names(storage) if name != NAME]
    if others:
        raise UserError(f"{place}: already holds another study, {others[0]}: choose another")
    return optuna.create_study(
        storage=storage,
        study_name=NAME,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER),
        load_if_exists=True,
    )


@contextmanager
def take_trial(
    study: optuna.Study, *, count: int, seed: int, locks: Path
) -> Iterator[Trial | None]:
    """A trial whose worker has died or, until there are `count`, a new one; None after that.

    Optuna's own heartbeat would retry a trial under a new number, after a pause: the search would
    count it twice, and choose other settings than one that was never stopped.

    Args:
        study: The search.
        count: Trials in all.
        seed: Of the sampler. Each trial has a stream of its own, so that a search that was
            stopped continues as if it had not been.
        locks: Folder with a file for each trial at work, which its worker locks; a kill -9 frees
            it.
    """
    trial: Trial | None
    with ExitStack() as held:
        with locked(locks / ASKING, patience=math.inf), storage_errors():
            trials = study.get_trials(deepcopy=False)
            for running in (known for known in trials if known.state == TrialState.RUNNING):
                trial = Trial(study, running._trial_id)
                free = held.enter_context(lock_trial(locks, trial))
                if free and latest(trial).state == TrialState.RUNNING:  # not finished meanwhile
                    break
            else:
                trial = study.ask() if len(trials) < count else None
                if trial is not None:
                    held.enter_context(lock_trial(locks, trial))
        if trial is not None:
            study.sampler = optuna.samplers.TPESampler(
                seed=derive_seed("search", seed, trial.number),
                n_startup_trials=STARTUP,
                multivariate=False,
            )
        yield trial


@contextmanager
def lock_trial(folder: Path, trial: Trial) -> Iterator[bool]:
    """Hold a trial; False where another worker does."""
    path = folder / f"{trial.number}-{trial.datetime_start:%Y%m%dT%H%M%S%f}.lock"
    with locked(path, patience=0) as free:
        yield free
        if free:
            path.unlink()


@contextmanager
def storage_errors(
    problem: str = "--storage: cannot be read or written any more",
    remedy: str = "the runs are kept; when it is back, the same command resumes",
) -> Iterator[None]:
    """Turn whatever Optuna's storage raises into one line.

    Raises:
        StorageError: With the database's reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of Optuna, of SQLAlchemy, of a database's driver, of the system
        reason = first_line(error.__cause__ or error)
        raise StorageError(f"{problem} ({reason}): {remedy}") from error


def latest(trial: Trial) -> FrozenTrial:
    """The trial as it is in the storage now."""
    return trial.study.get_trials(deepcopy=False)[trial.number]
