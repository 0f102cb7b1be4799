"""What an evaluation left undone is done by the command that began it, and nothing twice."""

from pathlib import Path

import pytest
from conftest import Trained

from gen_models.evaluation import evaluate
from gen_models.evaluation.measure import Effort
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import read_record


def stopped(*arguments: object, **options: object) -> None:
    """In the place of what takes long, when Ctrl-C comes."""
    raise SystemExit(130)


def test_training_fits_it_once_and_has_the_run_measured_again(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def evaluate_run(path: Path, **_: object) -> evaluate.Evaluation:
        measured.append(path)
        RunDirectory(path).write_status(evaluation={"sampler": read_record(run)["name"]})
        return evaluate.Evaluation({}, {})

    monkeypatch.setattr(evaluate, "evaluate_run", evaluate_run)
    run = trained("model=vae")
    run.write_status(evaluation={})  # by the prior
    assert trained("model=vae", "evaluate=full").path == run.path
    assert (measured, run.sampler.exists()) == ([], False)
    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "evaluate_run", stopped)
        with pytest.raises(SystemExit):  # after the fit
            trained("model=vae", "evaluate=full", "sampler=normal")
    for _ in range(2):
        trained("model=vae", "evaluate=full", "sampler=normal")
    assert read_record(run)["kind"] == "normal"
    assert measured == [run.path]


@pytest.mark.parametrize(
    ("how", "place"), [("full", "pictures.write_pictures"), ("quick", "add_metrics")]
)
def test_an_evaluation_that_was_stopped_is_done_again(
    how: str, place: str, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gen_models.evaluation.measure.Effort", lambda: Effort(restarts=1, iterations=10)
    )
    run = trained("model=vae")
    with monkeypatch.context() as patched:
        patched.setattr(f"gen_models.evaluation.evaluate.{place}", stopped)
        with pytest.raises(SystemExit):
            trained("model=vae", f"evaluate={how}")
    trained("model=vae", f"evaluate={how}")
    record = {"full": "evaluation", "quick": "quick"}[how]
    assert record in run.read_status()
    assert (run.figures / "recreated.png").exists() == (how == "full")
    before = run.metrics.stat().st_mtime_ns
    trained("model=vae", f"evaluate={how}")
    assert run.metrics.stat().st_mtime_ns == before
