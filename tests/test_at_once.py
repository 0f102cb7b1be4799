"""The same command started twice at once, and one training by several processes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import directory_of, read_metrics, small
from optuna.trial import TrialState
from test_command import ENVIRONMENT, start
from test_command import command as train_command

from gen_models.search.storage import NAME

pytestmark = pytest.mark.slow


def test_a_sweep_started_twice_at_once_trains_each_run_once(tmp_path: Path) -> None:
    arguments = small(Path("out"), "model=vae", epochs=1)
    sweeps = [start("-m", *arguments, "seed=0,1", cwd=tmp_path) for _ in range(2)]
    for sweep in sweeps:
        output, errors = sweep.communicate(timeout=600)
        assert "Traceback" not in output + errors
        refused = "another process is at work on this run" in output
        assert sweep.returncode == int(refused), output + errors
        assert ("Failed: " in output) == refused
    runs = [directory_of([*arguments, f"output_dir={tmp_path}/out", f"seed={n}"]) for n in (0, 1)]
    assert [run.read_status()["status"] for run in runs] == ["done", "done"]
    assert [len(list(run.path.glob("events*"))) for run in runs] == [1, 1]
    assert not list(tmp_path.glob("out/.multirun/jobs-*"))


def test_workers_started_at_once_share_the_trials_of_a_search(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("lr: {low: 1e-4, high: 1e-2, log: true}\n")
    options = [text for text in small(Path("out"), "model=vae", epochs=1)
               if not text.startswith("evaluate")]  # fmt: skip
    command = [sys.executable, "-m", "gen_models", "search", "--space", str(space), "--trials=3"]
    workers = [
        subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for worker in workers:
        output, errors = worker.communicate(timeout=600)
        assert worker.returncode == 0, errors
        assert errors == ""
        assert "trial 1 of 3" in output or "trial 2 of 3" in output  # it was not idle
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{tmp_path}/search.db")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert len(list(tmp_path.glob("out/*/*/*/status.json"))) == 3


def test_a_last_batch_of_fewer_images_than_processes_is_measured(tmp_path: Path) -> None:
    """200 validation images in batches of 66 leave 2, too few for three processes."""
    (tmp_path / "sitecustomize.py").write_text("import os\nos.cpu_count = lambda: 3\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    arguments = small(tmp_path / "out", "model=vae", "data.batch_size=66", epochs=1, batches=2)
    subprocess.run(
        train_command(*arguments, "trainer=ddp", "trainer.devices=3"), cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": path}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    run = directory_of(arguments)
    assert run.read_status()["devices"] == 3
    assert all(map(math.isfinite, read_metrics(run).values()))
