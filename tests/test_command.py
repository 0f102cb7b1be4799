"""`python train.py` as a user types it, in processes of its own."""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Trained, small
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from test_front_door import run_train

from gen_models.errors import UserError
from gen_models.sweep import SweepEnd

NOWHERE = "http://127.0.0.1:9"  # where no proxy listens: these tests are without network
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    **{f"{scheme}_proxy": NOWHERE for scheme in ("http", "https")},
}
ENVIRONMENT.pop("GEN_MODELS_DATA", None)
# Of a process whose threads are left to it:
FREE = {name: value for name, value in ENVIRONMENT.items() if name != "OMP_NUM_THREADS"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def call(
    *arguments: str, cwd: Path, env: dict[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_run_ends_with_what_happened_its_pictures_and_the_next_command(tmp_path: Path) -> None:
    result = call(*small(Path("out"), "model=vae"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    run = "out/digits/vae_baseline/seed0-max_epochs2-limit_train_batches4"
    for shown in ("VAE baseline on digits, seed 0: 2 epochs in", f"{run}/figures\n",
                  f"gen-models explore {run}", "tensorboard --logdir out"):  # fmt: skip
        assert shown in result.stdout
    assert "\r" not in result.stdout  # no progress bar where the output is no terminal
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_help_explains_the_groups_on_a_screen(tmp_path: Path) -> None:
    result = call("--help", cwd=tmp_path)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert len(lines) <= 50
    choices = ("model_phase:", "phase_data:")  # long lists, which a terminal wraps
    assert max(len(line) for line in lines if not line.startswith(choices)) <= 100
    for shown in (
        "model: flow, gan, vae",
        "phase: baseline, best",
        "sweep: activation,",
        "lr=5e-4",
    ):
        assert shown in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_bad_input_ends_with_1_and_no_traceback(tmp_path: Path) -> None:
    """Refused by Hydra; more, and what we refuse, in test_front_door and test_installed."""
    result = call("data=digits", "lrr=1", cwd=tmp_path)
    assert result.returncode == 1
    assert "lrr" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_sweep_goes_on_after_a_run_that_fails_and_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = small(Path("out"), "model=vae", "lr=1e-3,-1,1e-4")
    arguments = [first, "-m", *others]  # argparse alone would refuse it there
    for _ in range(2):
        code, shown, said = run_train(monkeypatch, capfd, *arguments)
        assert code == 1
        assert "lr must be a number in (0, 1], got -1" in said
        runs = sorted(path.parent.name for path in tmp_path.rglob("status.json"))
        small_run = "max_epochs2-limit_train_batches4"
        assert runs == [f"seed0-lr0.0001-{small_run}", f"seed0-{small_run}"]
        assert shown.endswith("  gen-models compare out/digits/vae_baseline --by lr\n")
    assert shown.count("already trained") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_named_sweep_runs_without_m(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [text for text in small(Path("out"), epochs=1) if not text.startswith("phase")]
    code, shown, said = run_train(monkeypatch, capfd, *arguments, "sweep=phases")
    assert code == 0, said
    runs = {str(path.parent.parent.name) for path in tmp_path.rglob("status.json")}
    assert runs == {"gan_baseline", "gan_final", "vae_baseline", "vae_final"}
    assert shown.endswith("  gen-models compare out/digits\n")


def test_the_same_sweep_started_twice_at_once_ends_twice_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gen_models.sweep.in_sweep", lambda: True)
    monkeypatch.setattr("gen_models.sweep.job_of", lambda config: {}["run"])  # none was begun
    hydra = {"sweep": {"dir": str(tmp_path)}, "job": {"num": 0}, "overrides": {"task": ["lr=-1"]}}
    config = OmegaConf.create({"hydra": hydra})
    first, second = SweepEnd(), SweepEnd()
    first.on_multirun_start(config)
    for sweep in (pickle.loads(pickle.dumps(first)), second):  # the first's job: a process
        if sweep is second:
            second.on_multirun_start(config)
        failed = JobReturn(status=JobStatus.FAILED, _return_value=UserError("lr must be"))
        sweep.on_job_end(config, failed)
        assert failed.status == JobStatus.COMPLETED  # the sweep goes on
    for sweep in (first, second):
        with pytest.raises(SystemExit) as end:
            sweep.on_multirun_end(config)
        assert end.value.code == 1
        assert capsys.readouterr().out == "Failed: 1 of 1 jobs\n  lr=-1: lr must be\n"
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_fails_and_cannot_be_noted_fails_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen_models.sweep.in_sweep", lambda: True)
    monkeypatch.setattr("gen_models.sweep.job_of", lambda config: {}["run"])
    (tmp_path / "file").write_text("")
    hydra = {"sweep": {"dir": str(tmp_path / "file")}, "overrides": {"task": []}}
    config, sweep = OmegaConf.create({"hydra": hydra}), SweepEnd()
    sweep.on_multirun_start(config)
    failed = JobReturn(status=JobStatus.FAILED, _return_value=UserError("no space left"))
    sweep.on_job_end(config, failed)
    assert failed.status == JobStatus.FAILED


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_training_goes_on_when_its_output_cannot_be_written(tmp_path: Path) -> None:
    """As where a disk is full; for `| head` see test_terminal."""
    output = os.open("/dev/full", os.O_WRONLY)
    ran = subprocess.run(
        command(*small(tmp_path, "model=vae", epochs=1)), cwd=tmp_path, env=ENVIRONMENT,
        stdout=output, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(output)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == (
        "standard output: No space left on device: what follows is not shown, "
        "but the work continues\n"
    )
    (status,) = tmp_path.rglob("status.json")
    assert json.loads(status.read_text())["status"] == "done"


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    for _ in range(3000):  # five minutes, on a busy machine
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.slow
def test_a_signal_ends_a_whole_sweep(tmp_path: Path) -> None:
    arguments = small(Path("out"), "model=vae", "seed=0,1", epochs=500, batches=20)
    process = start("-m", *arguments, cwd=tmp_path)
    first = tmp_path / "out/digits/vae_baseline/seed0-max_epochs500-limit_train_batches20"
    wait_for(lambda: (first / "train.log").exists() and (first / "train.log").read_text(), process)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads((first / "status.json").read_text())["status"] == "interrupted"
    assert [path.parent for path in tmp_path.rglob("status.json")] == [first]


def test_tensorboard_shows_curves_pictures_text_and_hyperparameters(trained: Trained) -> None:
    run = trained("model=vae")
    accumulator = EventAccumulator(str(run.path), size_guidance={"images": 0}).Reload()
    tags = accumulator.Tags()
    stages = [f"{stage}/{name}" for stage in ("train", "val") for name in ("loss", "recon", "kl")]
    quality = ["quality/coverage", "quality/fid_lenet", "quality/missing_digits"]
    assert sorted(tags["scalars"]) == [*quality, *sorted(stages)]  # the first cards, and no test/
    assert [event.step for event in accumulator.Scalars("train/loss")] == list(range(1, 9))
    assert [event.step for event in accumulator.Scalars("val/loss")] == [4, 8]
    for tag in ("samples", "reconstructions"):
        assert [event.step for event in accumulator.Images(tag)] == [4, 8]
    assert {"architecture/text_summary", "config/text_summary"} <= set(tags["tensors"])
    assert "_hparams_/session_start_info" in accumulator.summary_metadata
    info = accumulator.summary_metadata["_hparams_/experiment"].plugin_data.content
    for shown in (b"quality/fid_lenet", b"quality/coverage", b"model.lr", b"limit_train_batches"):
        assert shown in info
    assert b"model.free_bits" not in info  # neither changed nor important


def test_tensorboard_groups_curves_that_belong_together(trained: Trained) -> None:
    run = trained("model=gan")
    events = EventAccumulator(str(run.path)).Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    groups = {
        group.title: [list(c.multiline.tag) for c in group.chart] for group in layout.category
    }
    assert next(iter(groups)) == "quality"
    assert groups["quality"][0] == ["quality/fid_lenet"]
    assert ["val/d_real", "val/d_fake"] in groups["discriminator"]
    assert groups["losses"] == [["train/g_loss", "val/g_loss"], ["train/d_loss", "val/d_loss"]]
