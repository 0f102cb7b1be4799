"""The benchmarks run where they are needed: here with settings of seconds."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (
            "gpu_speed.py --accelerator cpu --data digits --epochs 2 --batches 2",
            [r"(gan|vae) (baseline|final) +epoch +\d+\.\d+ s +bare +\d+\.\d+ s"] * 4,
        ),
        (
            "start_and_memory.py --data digits --evaluate none",
            [r"train.py --help: [\d.]+ s", r"gen-models --help: [\d.]+ s",
             r"imports alone: \d+ MiB", r"training the final GAN: \d+ MiB"],
        ),
        (
            "threads.py --data digits --vae-batches 2 --gan-batches 2 --machines idle --ways auto",
            [r"\| auto \| [\d.]+ \| [\d.]+ \|"],
        ),
        (
            "scale.py --small runs images samples",
            [r"    8 runs: [\d.]+ s, [\d.]+ of a core, \d+ MiB",
             r"6,000 images, in memory: [\d.]+ ms a batch", r"300 new images: drawing [\d.]+ s"],
        ),
    ],
)  # fmt: skip
def test_a_benchmark_prints_its_figures(
    script: str, lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, *options = script.split()
    cache = str(tmp_path_factory.mktemp("cache"))
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for line in lines:
        assert re.search(line, ran.stdout), ran.stdout
