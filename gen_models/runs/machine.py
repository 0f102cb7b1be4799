"""Where a run is trained or measured: versions, threads, processor, device, memory."""

import platform
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import torch

PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]


def machine() -> dict[str, Any]:
    """What metrics may depend on: versions, threads, processor, system."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {
        "versions": versions | {package: version(package) for package in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
        "machine": platform.platform(),
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(line.split(":")[1].strip() for line in file if "model name" in line)
    return platform.processor()


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the type of any other device: "cpu", "mps"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory() -> dict[str, float]:
    """Most memory this process has held so far: resident and, with CUDA, allocated there; MiB.

    Jobs of a multirun that share a process share its peak. Windows does not say what is resident.
    """
    peaks = {}
    with suppress(ImportError):
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        peaks["peak_memory_mib"] = round(resident, 1)
    if torch.cuda.is_available():
        peaks["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks
