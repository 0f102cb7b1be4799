"""The cores that this process may use, and how busy other processes keep them."""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")


class Usage(NamedTuple):
    """Seconds of work until a time: of all processes on our cores, and of this one alone."""

    time: float
    total: float
    own: float


def count_cores() -> int:
    """Cores of this process: of its affinity, and no more than its cgroup's quota."""
    limit = quota(_read("/proc/self/cgroup"))
    return len(_affinity()) if limit is None else max(1, min(len(_affinity()), int(limit[0])))


def usage() -> Usage:
    """The work until now; the total is 0 where the system does not tell it."""
    cores, limit = _affinity(), quota(_read("/proc/self/cgroup"))
    if limit is not None and limit[0] < len(cores):  # then the machine's other work is no matter
        total = group_seconds(_read(limit[1] / "cpu.stat"))
    else:
        total = core_seconds(_read("/proc/stat"), cores, os.sysconf("SC_CLK_TCK"))
    return Usage(time.perf_counter(), total, time.process_time())


def others(begin: Usage, end: Usage) -> float | None:
    """Cores that other processes kept busy in between; None if not even our own work counted."""
    total, own = end.total - begin.total, end.own - begin.own
    if end.total == 0 or total + 0.1 < own / 2:  # ticks are coarse
        return None
    return max(0.0, total - own) / (end.time - begin.time)


def core_seconds(stat: str, cores: Collection[int], ticks: int) -> float:
    """Seconds of work on `cores`, from the text of /proc/stat and its ticks a second."""
    total = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            total += user + nice + system + irq + softirq + steal  # not idle, not waiting for disks
    return total / ticks


def group_seconds(stat: str) -> float:
    """Seconds of work of a cgroup, from the text of its cpu.stat."""
    counts = dict(line.split() for line in stat.splitlines())
    return int(counts.get("usage_usec", 0)) / 1e6


def quota(membership: str, root: Path = CGROUPS) -> tuple[float, Path] | None:
    """The smallest quota, in cores, of a process's cgroup (version 2) and those above it.

    Args:
        membership: The text of /proc/self/cgroup.
        root: Where the cgroups are.

    Returns:
        The quota and the folder of its cgroup; None if nothing limits the process.
    """
    limits = []
    for line in membership.splitlines():
        if line.startswith("0::/"):
            folder = root / line.removeprefix("0::/")
            for group in (folder, *folder.parents):
                with suppress(OSError, ValueError):  # no such file, or "max"
                    most, period = map(int, (group / "cpu.max").read_text(encoding="utf-8").split())
                    limits.append((most / period, group))
    return min(limits, default=None)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _read(path: Path | str) -> str:
    """The text of a file of Linux; "" on another system."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8")
    return ""
