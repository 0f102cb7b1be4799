"""Sweeps by other launchers than Hydra's own: several jobs at once, or each as a cluster's job."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, directory_of, small, train
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from safetensors.torch import load_file
from test_command import FREE, call, start, wait_for
from test_front_door import call_train


@pytest.mark.slow
def test_jobs_side_by_side_train_the_same_with_a_thread_each_and_end_alike(tmp_path: Path) -> None:
    arguments = small(tmp_path / "out", "model=vae", epochs=1)
    result = call("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *arguments,
                  "lr=5e-4,-1,1e-4", cwd=tmp_path, env=FREE)  # fmt: skip
    assert result.returncode == 1
    said = "lr must be a number in (0, 1], got -1"
    assert said in result.stderr
    assert "\r" not in result.stdout
    assert result.stdout.count("  1 thread: one for each job side by side\n") == 2
    failed, following, *measure, compare = result.stdout.splitlines()[-5:]
    assert "Failed: 1 of 3 jobs\n" in result.stdout
    assert "lr=-1" in failed
    assert failed.endswith(f": model: {said}")
    assert following == "Next:"
    assert [line.split()[:2] for line in measure] == 2 * [["gen-models", "evaluate"]]
    assert compare == f"  gen-models compare {tmp_path}/out/digits/vae_baseline --by lr"
    torch.set_num_threads(1)
    for lr in ("lr=0.0005", "lr=0.0001"):  # the weights are, to the bit, those of a run alone
        weights = load_file(directory_of([*arguments, lr]).weights)
        train(*arguments, lr, "overwrite=true")
        alone = load_file(directory_of([*arguments, lr]).weights)
        assert weights.keys() == alone.keys()
        assert all(torch.equal(weights[name], alone[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="SIGINT is ignored here"
)
def test_ctrl_c_ends_jobs_side_by_side_in_a_line_and_they_go_on(tmp_path: Path) -> None:
    arguments = small(tmp_path / "out", "model=vae", epochs=8, batches=20)
    sweep = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *arguments, "seed=0,1"]
    process = start(*sweep, cwd=tmp_path)
    runs = [directory_of([*arguments, f"seed={seed}"]) for seed in (0, 1)]
    wait_for(lambda: all((run.checkpoints / "latest.ckpt").exists() for run in runs), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.endswith("stopped; the same command resumes from here\n")
    assert "Traceback" not in errors
    again = call(*sweep, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [run.read_status()["status"] for run in runs] == ["done", "done"]


@pytest.mark.parametrize("by_user", ["", "always"])
def test_semaphores_that_stopped_jobs_leave_are_removed_without_a_word(by_user: str) -> None:
    code = """
from gen_models.composition import take_over
take_over()
from joblib.externals.loky.backend import resource_tracker
resource_tracker.register("/loky-left-by-a-job", "semlock")
"""
    environment = {**os.environ, "PYTHONWARNINGS": by_user}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ("/loky-left-by-a-job" in said.stderr) == bool(by_user)


@pytest.mark.slow
def test_a_job_of_a_cluster_goes_on_when_it_is_queued_again_or_repeated(tmp_path: Path) -> None:
    """By submitit's executor of this machine, whose jobs are told to end as SLURM's are."""
    arguments = small(tmp_path / "out", "model=vae", epochs=12, batches=20)
    sweep = ["-m", "hydra/launcher=submitit_local", *arguments, "seed=0,1"]
    process = start(*sweep, cwd=tmp_path)
    runs = [directory_of([*arguments, f"seed={seed}"]) for seed in (0, 1)]
    for run, number in zip(runs, (signal.SIGUSR2, signal.SIGKILL), strict=True):
        checkpoint = run.checkpoints / "latest.ckpt"
        wait_for(checkpoint.exists, process)
        (log,) = (
            file
            for file in (tmp_path / "out").glob(".multirun/.submitit/*/*_log.out")
            if str(run.path) in file.read_text()
        )
        controller = log.name.partition("_")[0]
        (job,) = subprocess.check_output(["pgrep", "-P", controller], text=True).split()
        os.kill(int(job), number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "a job of the sweep was killed: the same command resumes from there" in errors
    assert [run.read_status()["status"] for run in runs] == ["done", "running"]

    again = call(*sweep, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    logs = [file.read_text() for file in tmp_path.glob("out/.multirun/.submitit/*/*_log.out")]
    for run in runs:
        assert any("Resuming VAE" in log and str(run.path) in log for log in logs)
    assert again.stdout.endswith(f"gen-models compare {tmp_path}/out/digits/vae_baseline\n")
    assert [run.read_status()["status"] for run in runs] == ["done", "done"]


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_the_config_for_slurm_is_complete() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = ["hydra/launcher=slurm", "hydra.launcher.partition=short"]
        config = compose("config", overrides, return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.partition == "short"
    assert launcher.max_num_timeout > 0
    assert launcher.tasks_per_node == launcher.nodes == 1


@pytest.mark.parametrize(
    ("launcher", "extra"), [("joblib", "parallel"), ("submitit_slurm", "slurm"), ("slurm", "slurm")]
)
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_launcher_whose_extra_is_not_installed_is_named(
    launcher: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "hydra_plugins", None)
    for name in ("joblib", "submitit_slurm"):
        known = ConfigStore.instance().repo["hydra"]["launcher"]
        monkeypatch.delitem(known, f"{name}.yaml", raising=False)
    code, said = call_train(monkeypatch, capfd, "-m", f"hydra/launcher={launcher}", "seed=0,1")
    assert code == 1
    assert re.fullmatch(
        rf"hydra/launcher/\w+ is not installed: pip install -e '.\[{extra}\]'\n", said
    )
    assert list(tmp_path.iterdir()) == []
