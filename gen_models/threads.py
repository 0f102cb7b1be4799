"""How many threads this process computes with, and how they wait: chosen before torch is loaded.

Threads that wait actively (they spin) are the fastest where each has a core of its own, and several
times slower than one thread where another process needs that core (docs/speed.md).
"""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from gen_models.errors import UserError
from gen_models.machine import Usage, count_cores, others, usage

USEFUL = 4  # threads; networks of this size rarely gain from more
WATCHED = 0.3  # seconds, at least
QUIET = 0.3  # cores kept busy by others on a machine that counts as idle
COUNT, POLICY, SPINS = "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
ACTIVE = {POLICY: "active", SPINS: "1000000"}  # about 30 ms, then a thread gives its core away
PASSIVE = {POLICY: "passive"}


class Choice(NamedTuple):
    """How many threads, whether they wait actively, and why."""

    number: int
    active: bool
    reason: str


_set_here: dict[str, str] = {}  # in the environment; all else there is the user's
_begin: Usage | None = None
_choice: Choice | None = None


def check_threads(setting: Any) -> None:
    """Raise UserError unless `setting` is auto, or a number of threads with a core for each."""
    if setting == "auto":
        return
    if type(setting) is not int or setting < 1:
        raise UserError(f"threads must be auto or a whole number of at least 1, got {setting!r}")
    if setting > (cores := count_cores()):
        raise UserError(f"threads={setting}: this process may use {cores} cores: choose fewer")


def decide(
    setting: Any, by_user: Mapping[str, str], *, cores: int, busy: float | None, together: bool
) -> Choice:
    """Choose from the option, the environment and the machine.

    Args:
        setting: A number, or auto.
        by_user: The environment as the user has set it.
        cores: Those that this process may use.
        busy: How many of them other processes keep busy; None: unknown.
        together: Whether this process is one of several that train side by side.
    """
    useful = min(USEFUL, cores)
    free = 0.0 if busy is None or together else cores - busy + QUIET
    given, overrides = by_user.get(COUNT, ""), f"; threads={useful} overrides"
    first = given.partition(",")[0].strip()  # a list is for nested loops
    number = 1
    if setting != "auto":
        number, reason = setting, f"threads={setting} is set"
    elif given:
        number = (int(first) if first.isdigit() else 0) or cores  # as OpenMP reads it
        reason = f"{COUNT}={given} is set"
    elif cores == 1:
        reason = "there is one core"
    elif together:
        reason = "other runs train beside it" + overrides
    elif busy is None:
        reason = "this system does not tell what other processes do" + overrides
    elif free < useful:
        reason = f"other processes keep {busy:.1f} of {cores} cores busy" + overrides
    else:
        number = useful
        reason = "the machine is idle" if busy <= QUIET else "enough cores are idle"
    return Choice(number, 1 < number <= free, reason)


def watch() -> None:
    """Begin to measure what other processes do; threads wait passively unless `prepare` is called.

    To be called at a program's start: what is loaded meanwhile need not be waited for.
    """
    global _begin
    _begin = usage()
    _set(PASSIVE)


def prepare(setting: Any, *, together: bool = False) -> None:
    """Choose, and set the environment by which torch makes its threads when it is loaded.

    Raises:
        UserError: The setting is wrong; the line names what is right.
    """
    global _choice
    check_threads(setting)
    by_user = {key: value for key, value in os.environ.items() if _set_here.get(key) != value}
    one = setting == 1 or (setting == "auto" and by_user.get(COUNT) == "1")  # whatever others do
    busy = None if together or one else _busy()
    _choice = decide(setting, by_user, cores=count_cores(), busy=busy, together=together)
    _set(ACTIVE if _choice.active else PASSIVE)
    if setting != "auto" or not by_user.get(COUNT):
        _set_here[COUNT] = os.environ[COUNT] = str(_choice.number)


def use(setting: Any, recorded: int | None = None) -> str:
    """Give torch its number of threads, and say in a line which and why.

    Args:
        setting: A number, or auto.
        recorded: That of the part of a run that was trained before; another one rounds otherwise.
    """
    import torch

    if recorded is not None:
        number, reason = recorded, "as when this run began"
    elif setting != "auto":
        number, reason = setting, f"threads={setting} is set"
    elif _choice is not None:
        number, reason = _choice.number, _choice.reason
    else:  # called from a program that has loaded torch itself
        number, reason = torch.get_num_threads(), "as torch was loaded"
    torch.set_num_threads(number)
    return f"{number} thread{'s' if number > 1 else ''}: {reason}"


@cache
def _busy() -> float | None:
    """Cores that others keep busy; measured once, so that the runs of a sweep have one choice."""
    begin = _begin or usage()
    time.sleep(max(0.0, begin.time + WATCHED - time.perf_counter()))
    return others(begin, usage())


def _set(policy: Mapping[str, str]) -> None:
    if any(os.environ.get(key) != _set_here.get(key) for key in (POLICY, SPINS)):
        return  # the user's choice
    os.environ.update(policy)
    _set_here.update(policy)
