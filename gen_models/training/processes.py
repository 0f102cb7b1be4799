"""Who starts the processes of a training, and which of them this one is."""

import os
from typing import Any

from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)


class OneProcess(LightningEnvironment):
    """One device is one process, of rank 0, whatever a scheduler or a launcher has exported.

    Lightning reads its rank from RANK, LOCAL_RANK, SLURM_PROCID, ... even where nothing is
    distributed, and lets only rank 0 write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)

    def local_rank(self) -> int:
        """The first."""
        return 0

    def node_rank(self) -> int:
        """The first."""
        return 0


def find_environment(options: dict[str, Any]) -> ClusterEnvironment | None:
    """Who has started the processes of a training; None leaves it to Lightning to find out.

    SLURM has, where it runs as many tasks as are asked for; else Lightning starts its own.

    Raises:
        RuntimeError: SLURM's tasks are not spread over its nodes as Lightning needs it.
    """
    if options["strategy"] == "auto":
        return OneProcess()
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return None
    devices = options["devices"]
    count = len(devices) if isinstance(devices, list) else devices
    if isinstance(count, int) and os.environ["SLURM_NTASKS"] != str(count * options["num_nodes"]):
        return LightningEnvironment()
    return SLURMEnvironment(auto_requeue=False)  # Lightning's way would save within a step
