"""Learning rates that fall: against torch's schedulers, Burda's own loop, and on resumption."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import directory_of, small, train
from safetensors.torch import load_file

from gen_models.training.schedule import rate_factor


def test_cosine_and_exponential_are_torchs() -> None:
    steps = 50
    for name, make in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps)),
        ("exponential", lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.01 ** (1 / steps))),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = make(optimizer)
        for step in range(steps):
            assert rate_factor(name, step / steps) == pytest.approx(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()


def test_burda_is_the_loop_of_the_paper() -> None:
    """3^i passes at the rate 10^(-i/7), for i = 0..7."""
    expected = [10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    assert len(expected) == 3280
    found = [rate_factor("burda", epoch / 3280) for epoch in range(3280)]
    assert found == pytest.approx(expected)


def test_unknown_schedule() -> None:
    with pytest.raises(ValueError, match="lr_schedule must be one of constant, cosine"):
        rate_factor("linear", 0.0)


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_the_optimizers_rates_fall(model: str, tmp_path: Path) -> None:
    overrides = small(tmp_path, f"model={model}", "lr=1e-3", "lr_schedule=cosine")
    train(*overrides)
    run = directory_of(overrides)
    content: Any = torch.load(run.checkpoints / "latest.ckpt", weights_only=True)
    for state in content["optimizer_states"]:  # 8 batches: the last at 7 / 8 of training
        rate = state["param_groups"][0]["lr"]
        assert rate == pytest.approx(1e-3 * rate_factor("cosine", 7 / 8))
    assert "lr_schedule_cosine" in run.path.name


def test_a_run_goes_on_with_its_schedule(tmp_path: Path) -> None:
    options = ["model=vae", "lr_schedule=burda", "max_steps=7"]
    whole, stopped = (small(tmp_path / part, *options, epochs=9) for part in ("whole", "stopped"))
    train(*whole)
    stop = ["+callbacks.stop._target_=test_resume.StopAt", "+callbacks.stop.place='batch end'"]
    with pytest.raises(SystemExit):
        train(*stopped, *stop, "+callbacks.stop.step=5", "+callbacks.stop.how=SIGTERM")
    train(*stopped)
    found, expected = (load_file(directory_of(run).weights) for run in (stopped, whole))
    assert all(found[name].equal(expected[name]) for name in expected)
