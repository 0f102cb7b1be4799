"""The machine of a run: its cores and how many threads use them, its memory, its versions.

Threads are chosen before torch is loaded, so only the functions that need torch import it. Threads
that wait actively (they spin) are the fastest where each has a core of its own, and several times
slower than one thread where another process needs that core (docs/speed.md).
"""

import os
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gen_models.errors import UserError

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")  # of a container: its own
PROC_STAT = Path("/proc/stat")
# The cores on which a process may run; 0: this one.
affinity = getattr(os, "sched_getaffinity", lambda _: set(range(os.cpu_count() or 1)))

PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]
USEFUL = 4  # threads; networks of this size rarely gain from more
WATCHED = 0.3  # seconds, at least
QUIET = 0.3  # cores kept busy by others on a machine that counts as idle
COUNT, POLICY, SPINS = "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
ACTIVE = {POLICY: "active", SPINS: "1000000"}  # about 30 ms, then a thread gives its core away
PASSIVE = {POLICY: "passive"}


class Usage(NamedTuple):
    """Seconds of work until a time: of all processes on our cores, and of this one alone."""

    time: float
    total: float
    own: float


class Choice(NamedTuple):
    """How many threads, whether they wait actively, and why."""

    number: int
    active: bool
    reason: str


_set_here: dict[str, str] = {}  # in the environment; all else there is the user's
_begin: Usage | None = None
_choice: Choice | None = None


def quota() -> float | None:
    """The cores that a container may use (cgroup version 2); None if nothing limits it."""
    with suppress(OSError, ValueError):  # no such file, or "max"
        most, period = (CGROUP / "cpu.max").read_text(encoding="utf-8").split()
        return int(most) / int(period)
    return None


def count_cores() -> int:
    """Cores of this process: of its affinity, and no more than its container's quota."""
    cores = len(affinity(0))
    return max(1, min(cores, int(quota() or cores)))


def usage() -> Usage:
    """The work until now; the total is 0 where the system does not tell it."""
    cores, limit, total = affinity(0), quota(), 0.0
    with suppress(OSError):  # the files are Linux's
        if limit is not None and limit < len(cores):  # the machine's other work is no matter
            stat = (CGROUP / "cpu.stat").read_text(encoding="utf-8")
            total = int(dict(line.split() for line in stat.splitlines())["usage_usec"]) / 1e6
        else:
            for line in PROC_STAT.read_text(encoding="utf-8").splitlines():
                name, *fields = line.split()
                number = name.removeprefix("cpu")
                if name != number and number.isdigit() and int(number) in cores:
                    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
                    total += user + nice + system + irq + softirq + steal  # in ticks
            total /= os.sysconf("SC_CLK_TCK")
    return Usage(time.perf_counter(), total, time.process_time())


def others(begin: Usage, end: Usage) -> float | None:
    """Cores that other processes kept busy in between; None if not even our own work counted."""
    total, own = end.total - begin.total, end.own - begin.own
    if end.total == 0 or total + 0.1 < own / 2:  # ticks are coarse
        return None
    return max(0.0, total - own) / (end.time - begin.time)


def check_threads(setting: Any) -> None:
    """Raise UserError unless `setting` is auto, or a number of threads with a core for each."""
    if setting == "auto":
        return
    if type(setting) is not int or setting < 1:
        raise UserError(f"threads must be auto or a whole number of at least 1, got {setting!r}")
    if setting > (cores := count_cores()):
        raise UserError(f"threads={setting}: this process may use {cores} cores: choose fewer")


def choose_threads(
    setting: Any, by_user: str, *, cores: int, busy: float | None, together: bool
) -> Choice:
    """Choose from the option, the environment and the machine.

    Args:
        setting: A number, or auto.
        by_user: OMP_NUM_THREADS as the user has set it, or empty.
        cores: Those that this process may use.
        busy: How many of them other processes keep busy; None: unknown.
        together: Whether this process is one of several that train side by side.
    """
    useful = min(USEFUL, cores)
    free = 0.0 if busy is None or together else cores - busy + QUIET
    number = 1
    if setting != "auto":
        number, reason = setting, f"threads={setting} is set"
    elif by_user:
        first = by_user.partition(",")[0].strip()  # a list is for nested loops
        number = (int(first) if first.isdigit() else 0) or cores  # as OpenMP reads it
        reason = f"{COUNT}={by_user} is set"
    elif cores == 1:
        reason = "there is one core"
    elif free >= useful:
        number = useful
        reason = "the machine is idle" if free >= cores else "enough cores are idle"
    else:
        if together:
            reason = "other runs train at the same time"
        elif busy is None:
            reason = "this system does not tell what other processes do"
        else:
            reason = f"other processes keep {busy:.1f} of {cores} cores busy"
        reason += f"; threads={useful} overrides"
    return Choice(number, 1 < number <= free, reason)


def watch_load() -> None:
    """Begin to measure what other processes do; until `prepare_threads`, threads wait passively.

    To be called at a program's start: what is loaded meanwhile need not be waited for.
    """
    global _begin
    _begin = None if os.environ.get(COUNT) == "1" else usage()  # then others change nothing
    _set(PASSIVE)


def prepare_threads(setting: Any, *, together: bool = False) -> None:
    """Choose the threads, and set the environment variables that torch reads when it is loaded.

    Raises:
        UserError: The setting is wrong; the line names what is right.
    """
    global _choice
    check_threads(setting)
    count = os.environ.get(COUNT, "")
    by_user = "" if _set_here.get(COUNT) == count else count
    one = setting == 1 or (setting == "auto" and by_user == "1")  # whatever others do
    busy = None if together or one else _busy()
    _choice = choose_threads(setting, by_user, cores=count_cores(), busy=busy, together=together)
    _set(ACTIVE if _choice.active else PASSIVE)
    if setting != "auto" or not by_user:
        _set_here[COUNT] = os.environ[COUNT] = str(_choice.number)


def use_threads(setting: Any, recorded: int | None = None) -> str:
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
    if all(os.environ.get(key) == _set_here.get(key) for key in (POLICY, SPINS)):  # not the user's
        os.environ.update(policy)
        _set_here.update(policy)


def machine() -> dict[str, Any]:
    """Facts on which metrics may depend: versions, threads, processor, system."""
    import torch

    versions = {"python": platform.python_version(), "torch": torch.__version__}
    processor = platform.processor()
    with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next(line.split(":")[1].strip() for line in file if "model name" in line)
    return {
        "versions": versions | {package: version(package) for package in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor,
        "machine": platform.platform(),
    }


def device_name(device: "torch.device") -> str:
    """The name of a GPU, or the type of any other device: "cpu", "mps"."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory() -> dict[str, float]:
    """Most memory this process has held so far: resident and, with CUDA, allocated there; MiB.

    Jobs of a multirun that share a process share its peak. Windows does not say what is resident.
    """
    import torch

    peaks = {}
    with suppress(ImportError):
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        peaks["peak_memory_mib"] = round(resident, 1)
    if torch.cuda.is_available():
        peaks["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks
