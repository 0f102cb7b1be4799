"""Notebooks as the tests run them: in a process of their own, with one thread."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from conftest import ROOT

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300).execute()
nbformat.write(notebook, sys.argv[1])
"""


def execute(file: Path) -> None:
    """Run a notebook from top to bottom in its folder, and keep its outputs in it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(file)],
        cwd=file.parent, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def code_cells(file: Path) -> list[Any]:
    """The cells of code of a notebook."""
    return [cell for cell in nbformat.read(file, 4).cells if cell.cell_type == "code"]


def printed(file: Path) -> str:
    """All that the cells of a notebook have printed."""
    outputs = [output for cell in code_cells(file) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def kinds(file: Path) -> list[list[str]]:
    """For each cell of code, the kinds of its outputs."""
    found = [
        ["image" if "image/png" in output.get("data", {}) else "text" for output in cell.outputs]
        for cell in code_cells(file)
    ]
    return [sorted(set(each)) for each in found]
