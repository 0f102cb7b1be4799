"""One device is one process, whatever a scheduler or a launcher has put into the environment."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import STORY, composed, directory_of, read_curves, small, train
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from gen_models.composition import compose_job
from gen_models.data.dataset import Split
from gen_models.errors import UserError
from gen_models.evaluation.cost import step_flops
from gen_models.models.vae import VAE
from gen_models.training.trainer import build_trainer

SLURM = {"JOB_ID": "1", "JOB_NAME": "train", "PROCID": "3", "LOCALID": "3", "NODEID": "0"}
RANKS = {
    "slurm": {"SLURM_NTASKS": "4", **{f"SLURM_{name}": value for name, value in SLURM.items()}},
    "one rank": {"RANK": "1"},
    "kubernetes": {"KUBERNETES_PORT": "tcp://10.0.0.1:443", "MASTER_ADDR": "10.0.0.2",
                   "MASTER_PORT": "23456", "WORLD_SIZE": "2", "RANK": "1"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0",
                 "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
    "a node": {"NODE_RANK": "1", "LOCAL_RANK": "1"},
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "nowhere", "JSM_NAMESPACE_RANK": "1",
            "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "2"},
}  # fmt: skip


@pytest.fixture
def started_as(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """As where the process was started with such an environment."""
    for name, value in RANKS[request.param].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # what Lightning's import makes of it


@pytest.mark.parametrize("started_as", RANKS, indirect=True)
@pytest.mark.usefixtures("started_as")
def test_a_run_on_one_device_writes_everything(tmp_path: Path) -> None:
    overrides = small(tmp_path, "model=vae", "hidden_dims=[8]", epochs=1)
    train(*overrides)
    run = directory_of(overrides)
    assert run.read_status()["devices"] == 1
    assert (run.checkpoints / "latest.ckpt").exists()
    assert {"train/loss", "val/loss"} <= read_curves(run.path).keys()
    assert {"curves.png", "training.webp"} <= {file.name for file in run.figures.iterdir()}


@pytest.mark.parametrize("started_as", RANKS, indirect=True)
@pytest.mark.usefixtures("started_as")
def test_the_cost_of_a_step_is_counted_by_one_process() -> None:
    batch = Split(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    assert step_flops(VAE(encoder_dims=[4], latent_dim=2), batch) > 0


def trainer_of(tmp_path: Path, *overrides: str) -> Any:
    return build_trainer(composed(*small(tmp_path, *overrides)), tmp_path, [])


def environment_of(trainer: Any) -> Any:
    return trainer._accelerator_connector.cluster_environment


def test_several_processes_are_those_of_slurm_where_it_runs_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    ddp = ("trainer=ddp", "trainer.devices=2")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UserError, match=r"^trainer: You set `--ntasks=2`"):
        trainer_of(tmp_path, *ddp)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    theirs = environment_of(trainer_of(tmp_path, *ddp))
    assert isinstance(theirs, SLURMEnvironment)
    assert not theirs.auto_requeue  # it would save within a step
    monkeypatch.setenv("SLURM_NTASKS", "1")
    ours = environment_of(trainer_of(tmp_path, *ddp))
    assert type(ours) is LightningEnvironment


def test_one_device_of_several_needs_no_ddp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CPUAccelerator, "parse_devices", lambda devices: len(devices))
    _, _, trainer = STORY.assemble(compose_job(small(tmp_path, "trainer.devices=[1]")))
    assert trainer.world_size == 1


@pytest.mark.parametrize("option", ["devices=2", "devices=auto", "num_nodes=2"])
def test_several_devices_need_ddp(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CPUAccelerator, "auto_device_count", lambda *_: 2)
    with pytest.raises(UserError, match=f"trainer.{option}: needs trainer=ddp"):
        STORY.assemble(compose_job(small(tmp_path, f"trainer.{option}")))
