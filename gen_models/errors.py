"""Errors meant for the user: one clear line, never a traceback."""

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Sequence

from gen_models.places import how_to_install

# What the user has set HYDRA_FULL_ERROR to, for processes that are started from here.
BY_USER = "GEN_MODELS_FULL_ERROR"

NOISE = ("To append to", "See https://", "full_key:", "object_type=", "reference_type=")

# torch's CPU allocator raises a plain RuntimeError; so do sizes beyond any memory.
ON_CPU = ("can't allocate memory", "Storage size calculation overflowed")

NEEDLESS_WARNING = "ignore:resource_tracker"

# What joblib and submitit raise of a job that left no result.
KILLED = ("TerminatedWorkerError", "UncompletedJobError", "FailedJobError")

# Hydra's launchers that come with an extra.
LAUNCHERS = {"hydra/launcher/joblib": "parallel", "hydra/launcher/submitit_slurm": "slurm"}

# Groups of the configuration that have no key in it until one of their options is picked.
WITHOUT_KEY = ("experiment", "learning_rate", "network", "sweep")


class UserError(Exception):
    """Bad input; the message names the key or the file and says what to do."""


class DivergedError(UserError):
    """A loss stopped being finite."""


class StoppedEarly(UserError):
    """A run was ended because others do better; the same command goes on with it."""


class BusyError(UserError):
    """Another process is at work on a run."""


def raise_if_out_of_memory(error: BaseException, remedy: str) -> None:
    """Raise a UserError with the remedy if `error` says that memory could not be had.

    Args:
        error: Of a GPU's allocator, of the CPU's or of Python's.
        remedy: What was being done, and what to make smaller.
    """
    name, message = type(error).__name__, str(error)
    if name in ("OutOfMemoryError", "MemoryError") or any(text in message for text in ON_CPU):
        raise UserError(f"out of memory {remedy}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def system_error(error: BaseException) -> OSError | None:
    """The system's error behind another: torch's writer hides that the disk is full; or None."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.strerror:
            return chain
        chain = chain.__cause__ or chain.__context__
    return None


class Reported(Exception):
    """Ends a job of a sweep whose error has been said already."""


def take_over() -> None:
    """Leave all errors of a command line to `report`: Hydra's own, and argparse's usage.

    Jobs side by side that were stopped leave semaphores, which a process of joblib's removes;
    its warning of that would follow the last line of a run that was stopped as it should be.
    """
    os.environ.setdefault(BY_USER, os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    warnings_of_user = os.environ.get("PYTHONWARNINGS", "")  # the last that matches wins
    if NEEDLESS_WARNING not in warnings_of_user:
        os.environ["PYTHONWARNINGS"] = f"{NEEDLESS_WARNING},{warnings_of_user}".rstrip(",")
    argparse.ArgumentParser.print_usage = lambda *_: None  # type: ignore[method-assign]


def wants_traceback(arguments: Sequence[str]) -> bool:
    """Whether the user asks for tracebacks: by debug=true, or by HYDRA_FULL_ERROR=1."""
    by_user = os.environ.get(BY_USER, os.environ.get("HYDRA_FULL_ERROR"))
    return by_user == "1" or "debug=true" in map(str.lower, arguments)


def report(error: Exception, *, traceback_too: bool) -> None:
    """Say on stderr what went wrong: in one line, unless the traceback is wanted too."""
    if isinstance(error, Reported):
        return
    if traceback_too:
        traceback.print_exception(error)
    else:
        print(one_line(error), file=sys.stderr)


def one_line(error: Exception) -> str:
    """The message of an error; Hydra's and OmegaConf's take several lines, some of them noise."""
    text = str(error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    message = " ".join(line for line in lines if line and not line.startswith(NOISE))
    for launcher, extra in LAUNCHERS.items():
        if launcher in message:
            message = f"{launcher} is not installed: {how_to_install(extra)}"
    if type(error).__name__ in KILLED:
        message = f"a job of the sweep was killed: the same command goes on from there ({message})"
    override = getattr(error, "override", None)  # Hydra's parser knows it, and may not say it
    if override:
        reason = message.removeprefix(f"Error parsing override '{override}' ")
        message = f"{override}: {reason} (special characters need quotes: \"key='value'\")"
    if message.startswith("Config group override must be"):  # Hydra does not say which
        message = f"{message}, in: {' '.join(sys.argv[1:])}"
    if message.startswith("Could not override") and error.__cause__:
        message = _unknown_key(error.__cause__) or message
    return message or type(error).__name__


def _unknown_key(error: BaseException) -> str | None:
    """OmegaConf's error of a key that is not there, with those that are; None for any other."""
    node, full_key = getattr(error, "parent_node", None), getattr(error, "full_key", None)
    if node is None or not full_key:
        return None
    parent, _, key = full_key.rpartition(".")
    known = sorted(str(name) for name in node if not str(name).startswith("_"))
    near = difflib.get_close_matches(key, known if parent else [*known, *WITHOUT_KEY], 1)
    message = f"{full_key}: no such option"
    if near:
        message += f"; did you mean {f'{parent}.' if parent else ''}{near[0]}?"
    if not known:
        return f"{message}: {parent} has no keys"
    where = (
        f"known in {parent} are {', '.join(known)}"
        if parent
        else "python train.py --help lists them"
    )
    return f"{message}{'' if near else ';'} {where}"
