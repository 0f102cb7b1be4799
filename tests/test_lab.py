"""docs/lab: both notebooks run, with one epoch; the students' one follows from the solutions."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from notebooks import execute, kinds, printed

LAB = ROOT / "docs" / "lab"
SOLUTIONS, STUDENTS = LAB / "lab_solutions.ipynb", LAB / "lab.ipynb"
SHORTER = {
    "EPOCHS = 10 ": "EPOCHS = 1 ",
    "THREADS = 2": "THREADS = 1",
    '\\"evaluate=none\\"': '\\"evaluate=none\\", \\"trainer.limit_train_batches=10\\"',
}
VERDICT = re.compile(r"^(\w+): (right|not yet)", re.MULTILINE)
BLANKS = [
    "discriminator_loss", "generator_loss", "clueless", "posterior_sample", "kl_divergence",
    "between", "by_chance",
]  # fmt: skip


@pytest.mark.slow
def test_both_notebooks_run_and_judge_the_blanks(tmp_path: Path) -> None:
    for source in (SOLUTIONS, STUDENTS):  # the second finds the runs of the first, and loads them
        text = source.read_text()
        assert all(text.count(long) == 1 for long in SHORTER)
        copy = tmp_path / source.name
        for long, short in SHORTER.items():
            text = text.replace(long, short)
        copy.write_text(text)
        execute(copy)
    solved, blank = (tmp_path / source.name for source in (SOLUTIONS, STUDENTS))
    assert VERDICT.findall(printed(solved)) == [(name, "right") for name in BLANKS]
    assert VERDICT.findall(printed(blank)) == [(name, "not yet") for name in BLANKS]
    pictures = [each.count("image") for each in kinds(solved)]
    assert pictures == [each.count("image") for each in kinds(blank)]
    assert sum(pictures) >= 8
    assert (tmp_path / "explorer.html").stat().st_size > 1e6


def test_the_students_notebook_follows_from_the_solutions() -> None:
    derive = runpy.run_path(str(LAB / "students.py"))["students"]
    derived = nbformat.writes(derive(nbformat.read(SOLUTIONS, 4)))
    assert nbformat.read(STUDENTS, 4) == nbformat.reads(derived, 4)
    assert "F.softplus(fake_logits)" in SOLUTIONS.read_text()
    assert "F.softplus(fake_logits)" not in derived
    assert derived.count("= ...  # fill in") + derived.count("return ...  # fill in") == len(BLANKS)


@pytest.mark.parametrize("name", ["lab.ipynb", "lab_solutions.ipynb", "teacher.md"])
def test_links_lead_somewhere(name: str) -> None:
    paths = re.findall(r"\]\(([^)#:\s]+)\)", (LAB / name).read_text())
    assert paths
    for path in paths:
        assert (LAB / path).exists(), path


def test_the_committed_lab_is_small_and_names_no_machine() -> None:
    assert sum(file.stat().st_size for file in LAB.iterdir() if file.is_file()) < 400_000
    text = SOLUTIONS.read_text() + STUDENTS.read_text()
    assert "/tmp" not in text
    assert str(Path.home()) not in text
