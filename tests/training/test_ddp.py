"""Two processes that train one model: as one process with the same batches, but for rounding."""

import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import directory_of, small, train
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_command import call, start, wait_for


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "killed"),
    [
        (["model=vae", "network=conv", "model.width=8", "model.conditional=true",
          "model.free_bits=0.02"], False),
        (["model=gan", "network=conv", "model.width=8", "model.spectral_norm=true", "model.r1=1"],
         True),
        (["model=flow", "hidden_dims=[32]", "model.conditional=true"], False),
    ],
)  # fmt: skip
def test_two_processes_train_as_one_and_go_on_after_a_kill(
    options: list[str], killed: bool, tmp_path: Path
) -> None:
    steps = {"epochs": 4, "batches": 5}
    arguments = small(tmp_path / "two", *options, **steps)
    run = directory_of(arguments)
    if killed:
        process = start("trainer=ddp", *arguments, cwd=tmp_path)
        wait_for((run.checkpoints / "latest.ckpt").exists, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert run.read_status()["status"] == "running"

    again = call("trainer=ddp", *arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Resuming") == killed
    assert again.stdout.count("epochs in ") == 1
    assert run.read_status()["devices"] == 2

    torch.set_num_threads(1)
    alone = small(tmp_path / "one", *options, **steps)
    train(*alone)
    expected = load_file(directory_of(alone).weights)
    for name, weights in load_file(run.weights).items():
        torch.testing.assert_close(weights, expected[name], rtol=0, atol=1e-5, msg=name)

    events = EventAccumulator(str(run.path), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("samples")] == [5, 10, 15, 20]
    assert [event.step for event in events.Scalars("quality/fid_lenet")] == [20]
