"""Killed by real signals in processes of its own, a run still ends as the whole one.

The cases are a covering set of benchmarks/kill_matrix.py, which runs all of them.
"""

import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import kill_matrix  # noqa: E402

CASES = kill_matrix.pairwise_cases()


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What became of each case, in one process that imports torch once: its table."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "kill_matrix.py"), "--pairwise"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    *rows, summary = ran.stdout.splitlines()
    equal = sum(row.split()[5] == "equal" for row in rows)
    assert summary.startswith(f"{equal} of {len(CASES)} equal"), ran.stdout + ran.stderr
    assert ran.returncode == (equal != len(CASES))
    return {" ".join(row.split()[:5]): row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_killed_run_ends_as_the_whole_one(
    case: kill_matrix.Case, outcomes: dict[str, str]
) -> None:
    assert outcomes[" ".join(case)].split()[5] == "equal", outcomes[" ".join(case)]


def test_each_two_values_of_different_factors_meet_in_a_case() -> None:
    factors = list(kill_matrix.FACTORS.items())
    met = {
        (left, case[left], right, case[right])
        for case in CASES
        for left in range(len(factors))
        for right in range(left)
    }
    wanted = {
        (left, a, right, b)
        for left in range(len(factors))
        for right in range(left)
        for a in factors[left][1]
        for b in factors[right][1]
    }
    assert met == wanted
    assert len(CASES) < len(kill_matrix.all_cases()) / 10


def test_a_difference_is_found() -> None:
    whole = {"weights/w": torch.zeros(2), "curves/train/loss": [(1, b"x")], "files": ["a"]}
    assert kill_matrix.differences(whole, dict(whole)) == []
    for key, other in (
        ("weights/w", torch.tensor([0.0, 1e-45])),
        ("curves/train/loss", [(1, b"x"), (1, b"x")]),
        ("files", ["a", "a.tmp-1"]),
        ("weights/more", torch.zeros(1)),
    ):
        assert kill_matrix.differences({**whole, key: other}, whole) == [key]
