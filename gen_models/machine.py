"""The machine of a run: its cores and how many threads use them, its memory, its versions.

Only the functions that need torch import it.
"""

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen_models.errors import UserError
from gen_models.terminal import counted

if TYPE_CHECKING:
    import torch

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container (cgroup version 2)
# The cores on which a process may run; 0: this one.
affinity = getattr(os, "sched_getaffinity", lambda _: set(range(os.cpu_count() or 1)))

PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]
MOST = 4  # threads; networks of this size rarely gain from more
COUNT = "OMP_NUM_THREADS"


def count_cores() -> int:
    """Cores of this process: of its affinity, and no more than its container's quota."""
    cores = len(affinity(0))
    with suppress(OSError, ValueError):  # no such file, or "max": nothing limits it
        most, period = QUOTA.read_text(encoding="utf-8").split()
        cores = min(cores, int(most) // int(period))
    return max(1, cores)


def check_threads(setting: Any) -> None:
    """Raise UserError unless `setting` is auto, or a number of threads with a core for each."""
    if setting == "auto":
        return
    if type(setting) is not int or setting < 1:
        raise UserError(f"threads must be auto or a whole number of at least 1, got {setting!r}")
    if setting > (cores := count_cores()):
        raise UserError(f"threads={setting}: this process may use {cores} cores: choose fewer")


def use_threads(setting: Any, *, together: bool = False, recorded: int | None = None) -> str:
    """Give torch its number of threads, and say in a line which and why.

    Args:
        setting: A number, or auto.
        together: Whether this process is one of several that train side by side.
        recorded: That of the part of a run that was trained before; another one rounds otherwise.
    """
    import torch

    cores, by_user = count_cores(), os.environ.get(COUNT)
    if recorded is not None:
        number, reason = recorded, "as when this run began"
    elif setting != "auto":
        number, reason = setting, f"threads={setting} is set"
    elif by_user:
        first = by_user.partition(",")[0].strip()  # a list is for nested loops
        number = (int(first) if first.isdigit() else 0) or cores  # as OpenMP reads it
        reason = f"{COUNT}={by_user} is set"
    elif together:
        number, reason = 1, "one for each job side by side"
    else:  # where another program needs the core of a thread, all of them wait (docs/speed.md)
        number = max(1, min(MOST, cores // 2))
        reason = f"half of {cores} cores, {MOST} at most" if cores > 1 else "there is one core"
    torch.set_num_threads(number)
    return f"{counted(number, 'thread')}: {reason}"


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
