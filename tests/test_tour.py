"""docs/tour.ipynb runs from top to bottom, with shorter trainings than in the committed one."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300).execute()
nbformat.write(notebook, sys.argv[1])
"""


def outputs(file: Path) -> list[list[str]]:
    """For each cell of code, the kinds of its outputs."""
    cells = nbformat.read(file, 4).cells
    kinds = [
        ["image" if "image/png" in output.get("data", {}) else "text" for output in cell.outputs]
        for cell in cells
        if cell.cell_type == "code"
    ]
    return [sorted(set(found)) for found in kinds]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tour.ipynb").read_text()
    assert text.count("max_epochs=10") >= 2
    copy = tmp_path / "tour.ipynb"
    copy.write_text(text.replace("max_epochs=10", "max_epochs=1"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(copy)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert outputs(copy) == outputs(ROOT / "docs" / "tour.ipynb")
    assert outputs(copy).count(["image"]) == 3


def test_the_committed_notebook_names_no_machine() -> None:
    text = (ROOT / "docs" / "tour.ipynb").read_text()
    assert "/tmp" not in text
    assert str(Path.home()) not in text
