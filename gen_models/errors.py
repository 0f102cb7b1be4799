"""Errors meant for the user: one clear line, never a traceback."""

import difflib
from collections.abc import Iterable

from gen_models.places import COMMAND

# torch's CPU allocator raises a plain RuntimeError; so do sizes beyond any memory.
ON_CPU = ("can't allocate memory", "Storage size calculation overflowed")


class UserError(Exception):
    """Bad input; the message names the key or the file and says what to do."""


class DivergedError(UserError):
    """A loss stopped being finite."""


class StoppedEarly(UserError):
    """A run was ended because others do better; the same command resumes it."""


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


def unknown_option(name: str, known: Iterable[str]) -> str:
    """The line of an error about an option that does not exist, with the most similar one.

    Args:
        name: As it was typed, "lrr" or "model.lrr".
        known: All options, with their groups: "lr", "model.lr".
    """
    known = sorted(known)
    parent, _, typed = name.rpartition(".")
    parts = [(*key.rpartition("."), key) for key in reversed(known)]
    if parent in known:
        similar = {last: key for group, _, last, key in parts if group == parent}
    else:  # the group may be wrong, or left out
        typed = name
        similar = {} if parent else {last: key for _, _, last, key in parts}
        similar |= {key: key for key in known}
    if near := difflib.get_close_matches(typed, similar, 1):
        return f"unknown option {name!r}. Did you mean {similar[near[0]]}?"
    if parent in known:
        has = f"has {', '.join(sorted(similar))}" if similar else "has no options of its own"
        return f"unknown option {name!r}; {parent} {has}"
    return f"unknown option {name!r}; {COMMAND} --help lists what there is"
