"""Write lab.ipynb, the students' notebook, from lab_solutions.ipynb: `python docs/lab/students.py`.

In a line that ends in `# fill in: ...`, what is to be filled in becomes `...`. A cell with the tag
"solution" keeps its first paragraph alone, the question. Nothing keeps its output.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat

LAB = Path(__file__).parent
BLANK = re.compile(r"^(\s*(?:\w+ = |return )).*?(  # fill in: .*)$", re.MULTILINE)
ANSWER = "\n\n*Your answer (double-click here):*"


def students(solutions: Any) -> Any:
    """The notebook for students, from the one with solutions; both of nbformat's version 4."""
    notebook = deepcopy(solutions)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = BLANK.sub(r"\1...\2", cell.source)
            cell.outputs, cell.execution_count = [], None
        elif "solution" in cell.metadata.get("tags", []):
            cell.source = cell.source.partition("\n\n")[0] + ANSWER
        cell.metadata = {}
    return notebook


if __name__ == "__main__":
    solved = nbformat.read(LAB / "lab_solutions.ipynb", 4)
    nbformat.write(students(solved), LAB / "lab.ipynb")
