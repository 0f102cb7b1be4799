"""On a machine with a GPU: steps launched as CUDA graphs train the same weights, to the bit."""

from pathlib import Path

import pytest
import torch
from conftest import directory_of, small, train
from safetensors.torch import load_file

from gen_models.models.cuda_graphs import GraphedSteps
from gen_models.models.gan import GAN

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@needs_gpu
@pytest.mark.parametrize(
    "options",
    [
        ["model.ema_decay=0.9", "lr_schedule=cosine"],
        ["precision=bf16-mixed"],
        ["model.conditional=true", "model.fresh_noise=true", "model.r1=1"],
        ["network=conv", "model.width=8", "model.loss=wgan_gp"],
    ],
)
def test_graphs_change_no_bit(options: list[str], tmp_path: Path) -> None:
    """Over three epochs: Lightning drops all gradients before the validation of each."""
    weights = []
    for graphs in (True, False):
        arguments = small(tmp_path / str(graphs), "model=gan", *options, epochs=3, batches=8)
        train(*arguments, "trainer.accelerator=gpu", f"cuda_graphs={graphs}")
        weights.append(load_file(directory_of(arguments).weights))
    with_graphs, without = weights
    for name, expected in without.items():
        assert torch.equal(with_graphs[name], expected), name


@needs_gpu
@pytest.mark.parametrize("model", ["gan", "vae", "flow"])
def test_a_seed_trains_the_same_weights_each_time(model: str, tmp_path: Path) -> None:
    """With convolutions, whose sums cuDNN would take in another order each time."""
    weights = []
    for repetition in ("first", "second"):
        options = [f"model={model}", "phase=best", "data=mnist5k", "sampler=null"]
        arguments = small(tmp_path / repetition, *options, epochs=4, batches=16)
        train(*arguments, "trainer.accelerator=gpu")
        weights.append(directory_of(arguments).weights.read_bytes())
    assert weights[0] == weights[1]


def test_the_first_steps_run_as_they_are() -> None:
    """In them libraries choose and allocate: a graph that was recorded cold could not be."""
    seen: list[torch.Tensor] = []

    def step(x: torch.Tensor) -> object:
        seen.append(x)
        yield {"loss": 2 * x}

    graphed = GraphedSteps(step, parts=1, parameters=[])  # type: ignore[arg-type]
    given = [torch.full((2,), float(value)) for value in range(3)]
    assert [next(graphed(x))["loss"].tolist() for x in given] == [[0, 0], [2, 2], [4, 4]]
    assert all(a is b for a, b in zip(seen, given, strict=True))


def test_a_model_on_the_cpu_has_none() -> None:
    assert GAN()._graphed_steps is None
