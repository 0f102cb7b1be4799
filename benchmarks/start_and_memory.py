"""Times the start of the programs, and measures the memory of training and evaluating a model.

    python benchmarks/start_and_memory.py [--data mnist]

Each number is of a process of its own: seconds are the best of three, memory is the most that was
resident at once (`ru_maxrss`); a process that only imports what training imports is the least.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

TRAIN = str(Path(__file__).parent.parent / "train.py")
CLI = ["-c", "from gen_models.cli import app; app()"]


class Usage(NamedTuple):
    """What a process took."""

    seconds: float
    cpu_seconds: float  # of all its threads
    peak: float  # the highest resident memory, MiB


def call(*arguments: str) -> Usage:
    """`python ARGUMENTS`, whose output is not shown."""
    begin = time.perf_counter()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            dict(os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)],
        )
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)}: exit code {os.waitstatus_to_exitcode(status)}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Usage(time.perf_counter() - begin, cpu_seconds, usage.ru_maxrss / 1024)


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="mnist", help="that is on disk already")
    parser.add_argument("--evaluate", default="full", help="quick; none: training alone")
    chosen = parser.parse_args()
    for name, command in (("python train.py", [TRAIN]), ("gen-models", CLI)):
        seconds = min(call(*command, "--help").seconds for _ in range(3))
        print(f"{name} --help: {seconds:.2f} s", flush=True)
    imports = call("-c", "import gen_models.training, gen_models.evaluation").peak
    print(f"imports alone: {imports:.0f} MiB", flush=True)
    with TemporaryDirectory() as folder:
        options = [f"data={chosen.data}", "model=gan", "phase=final", "trainer=smoke"]
        kinds = [("training", "none"), ("training and evaluating", chosen.evaluate)]
        for what, evaluate in kinds[: 1 if chosen.evaluate == "none" else 2]:
            words = [f"evaluate={evaluate}", "overwrite=true", f"output_dir='{folder}'"]
            peak = call(TRAIN, *options, *words).peak
            print(f"{what} the final GAN: {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
