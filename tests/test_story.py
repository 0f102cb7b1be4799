"""The story of a run: how many files and functions of the package one command passes through."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_command import ENVIRONMENT

PROGRAM = """
import importlib, inspect, json, runpy, sys
package, output, *command = sys.argv[1:]
libraries = ["lightning.pytorch", "torchmetrics.functional", "torch.utils.tensorboard",
             "hydra", "matplotlib.pyplot", "sklearn.datasets", "scipy.stats"]
entered = set()

def count(frame, event, _):
    code = frame.f_code
    named = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    if event == "call" and named and code.co_filename.startswith(package):
        entered.add((code.co_filename, code.co_qualname))

for name in libraries:  # their own imports are no part of the story, and take half of its time
    importlib.import_module(name)
sys.argv = command
sys.setprofile(count)  # of this thread alone
runpy.run_path(command[0], run_name="__main__")
sys.setprofile(None)
with open(output, "w", encoding="utf-8") as file:
    json.dump(sorted(entered), file)
"""
COMMAND = ["model=gan", "phase=final", "data=digits", "trainer=smoke", "evaluate=none"]


@pytest.mark.slow
def test_a_run_passes_through_few_files_and_functions(tmp_path: Path) -> None:
    """Named functions and methods that are called; no bodies of modules or classes, no lambdas."""
    words = [f"{ROOT / 'gen_models'}{os.sep}", str(tmp_path / "entered.json")]
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, str(ROOT / "train.py"), *COMMAND],
        cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    entered = json.loads((tmp_path / "entered.json").read_text(encoding="utf-8"))
    files = {file for file, _ in entered}
    assert len(files) <= 32, sorted(files)
    assert len(entered) <= 225, entered


def test_the_story_fits_on_a_screen() -> None:
    assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) <= 80


def test_no_file_is_longer_than_300_lines() -> None:
    files = {file: file.read_text(encoding="utf-8") for file in (ROOT / "gen_models").rglob("*.py")}
    assert not [file for file, text in files.items() if len(text.splitlines()) > 300]
