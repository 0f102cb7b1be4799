"""docs/tour.ipynb runs from top to bottom, with shorter trainings than in the committed one."""

from pathlib import Path

import pytest
from conftest import ROOT
from notebooks import execute, kinds

TOUR = ROOT / "docs" / "tour.ipynb"
SHORTER = {
    "max_epochs=10": "max_epochs=1",
    '\\"evaluate=none\\"': '\\"evaluate=none\\", \\"trainer.limit_train_batches=10\\"',
}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    text = TOUR.read_text()
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    copy = tmp_path / "tour.ipynb"
    copy.write_text(text)
    execute(copy)
    assert kinds(copy) == kinds(TOUR)
    assert kinds(copy).count(["image"]) == 3


def test_the_committed_notebook_names_no_machine() -> None:
    text = TOUR.read_text()
    assert "/tmp" not in text
    assert str(Path.home()) not in text
