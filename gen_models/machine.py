"""The machine of a run: its cores, what other processes do on them, its memory, its versions.

Cores are counted before torch is loaded, so only the functions that need torch import it.
"""

import os
import platform
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # the cgroups of this process
PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]


class Usage(NamedTuple):
    """Seconds of work until a time: of all processes on our cores, and of this one alone."""

    time: float
    total: float
    own: float


def count_cores() -> int:
    """Cores of this process: of its affinity, and no more than its cgroup's quota."""
    limit = quota()
    return len(_affinity()) if limit is None else max(1, min(len(_affinity()), int(limit[0])))


def usage() -> Usage:
    """The work until now; the total is 0 where the system does not tell it."""
    cores, limit, total = _affinity(), quota(), 0.0
    with suppress(OSError):  # the files are Linux's
        if limit is not None and limit[0] < len(cores):  # the machine's other work is no matter
            total = group_seconds((limit[1] / "cpu.stat").read_text(encoding="utf-8"))
        else:
            stat = Path("/proc/stat").read_text(encoding="utf-8")
            total = core_seconds(stat, cores, os.sysconf("SC_CLK_TCK"))
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


def quota(membership: Path = MEMBERSHIP, root: Path = CGROUPS) -> tuple[float, Path] | None:
    """The smallest quota, in cores, of a process's cgroup (version 2) and those above it.

    Args:
        membership: The file that names the process's cgroups.
        root: Where the cgroups are.

    Returns:
        The quota and the folder of its cgroup; None if nothing limits the process.
    """
    limits, lines = [], list[str]()
    with suppress(OSError):  # another system than Linux
        lines = membership.read_text(encoding="utf-8").splitlines()
    for line in lines:
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
