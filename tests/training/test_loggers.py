"""What each logger writes, also of a run that is resumed; the weights do not depend on it."""

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import directory_of, read_curves, small, train

from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.training.callbacks import SampleGrid


def train_with_a_stop(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """Stop before the second epoch's checkpoint, then train to the end."""
    epochs = []

    def stop(self: SampleGrid, trainer: Any, module: Any) -> None:
        epochs.append(trainer.current_epoch)
        if len(epochs) == 2:
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(SampleGrid, "on_train_epoch_end", stop)
        with pytest.raises(SystemExit):
            train(*overrides)
    train(*overrides)
    return directory_of(overrides)


def test_a_table_has_each_value_of_tensorboard_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small(tmp_path / "logged", "model=vae", "logger=[tensorboard,csv]", "tags=[a]")
    run = train_with_a_stop(options, monkeypatch)
    with (run.path / "csv" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    curves = read_curves(run.path)
    assert {"train/loss", "val/loss", "val/fid_lenet"} <= curves.keys()
    for key, (steps, values) in curves.items():
        points = [(int(row["step"]), float(row[key])) for row in rows if row[key]]
        assert [step for step, _ in points] == steps
        np.testing.assert_allclose([value for _, value in points], values, rtol=1e-6)
    assert run.read_status()["tags"] == ["a"]

    train(*small(tmp_path / "bare", "model=vae", "logger=none"))
    bare = directory_of(small(tmp_path / "bare", "model=vae"))
    assert bare.weights.read_bytes() == run.weights.read_bytes()
    assert not [path for path in bare.path.iterdir() if path.name.startswith(("events", "csv"))]
    pictures = {path.name for path in bare.figures.iterdir()}
    assert pictures == {"data.png", "samples.png", "reconstructions.png"}


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_that_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name)
    )
    with pytest.raises(UserError, match=rf"logger={package}: .*\[{package}\]") as caught:
        train(*small(tmp_path, "model=vae", f"logger={package}"))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the package
def test_wandb_resumes_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    options = small(tmp_path, "model=vae", "logger=wandb", "logger.wandb.offline=true", "tags=[a]")
    run = train_with_a_stop(options, monkeypatch)
    remote = run.read_status()["remote"]["WandB"]
    written = sorted((run.path / "wandb").glob(f"offline-run-*-{remote}"))
    assert len(written) == 2
    pictures = [path.name for path in written[1].rglob("*.png")]
    assert any(name.startswith("samples") for name in pictures)
    assert any(name.startswith("reconstructions") for name in pictures)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the package
def test_mlflow_resumes_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options = small(tmp_path, "model=vae", "logger=[tensorboard,mlflow]", "tags=[a]")
    run = train_with_a_stop(options, monkeypatch)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'gen-models'")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.run_id == run.read_status()["remote"]["MLflow"]
    assert logged.info.status == "FINISHED"
    assert (logged.data.params["max_epochs"], logged.data.tags["a"]) == ("2", "")
    metrics = json.loads(run.metrics.read_text())
    assert logged.data.metrics["test/loss"] == pytest.approx(metrics["test/loss"])
    steps = {point.step for point in client.get_metric_history(logged.info.run_id, "train/loss")}
    assert steps == set(read_curves(run.path)["train/loss"][0])
    pictures = [file.path for file in client.list_artifacts(logged.info.run_id, "images")]
    assert any("samples" in path for path in pictures)
