"""What a model costs: parameters, arithmetic, seconds, memory.

torch counts the FLOPs of matrix products and convolutions, with two for a multiplication and an
addition. Activations, losses and the optimizer, which are small next to them, are not counted.
FLOPs are the same on every machine; seconds are not.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from gen_models.data.dataset import Split
from gen_models.data.loader import InMemoryLoader
from gen_models.models.interface import GenerativeModel
from gen_models.models.sampler import without_sampler
from gen_models.seeding import generator
from gen_models.training.trainer import OneProcess

TIMED = 1000  # images a timing
TIMINGS = 5
LONG = 3.0  # seconds of timings after which none is added


def measure_cost(model: GenerativeModel, batch: Split, status: dict[str, Any]) -> dict[str, float]:
    """All metrics "cost/...", as far as the run has recorded what they need.

    Args:
        model: The model on the CPU, which is not changed; nor is the global generator.
        batch: A training batch of the run's size.
        status: Record of the training: steps, seconds, images_per_second and peak_memory_mib.

    Returns:
        parameters, which are trained; sampling_parameters, on which a sample depends;
        flops_per_step, forward and backward of one training batch; flops_per_sample;
        training_flops; seconds, images_per_second and peak_memory_mib of the training process;
        sampling_seconds, wall time of 1,000 samples on the CPU and the threads of the evaluation,
        wherever the model was trained and measured.
    """
    trained = without_sampler(model)
    per_step = step_flops(trained, batch)
    costs = {
        "parameters": trained_parameters(trained),
        "sampling_parameters": sum(weight.numel() for weight in model.sampling_weights()),
        "flops_per_step": per_step,
        "flops_per_sample": sample_flops(model),
        "training_flops": per_step * status["steps"] if status.get("steps") else None,
        **{key: status.get(key) for key in ("seconds", "images_per_second", "peak_memory_mib")},
        "sampling_seconds": sampling_seconds(model),
    }
    return {f"cost/{key}": float(value) for key, value in costs.items() if value is not None}


def trained_parameters(model: GenerativeModel) -> int:
    """Number of the parameters that training changes."""
    return sum(p.numel() for p in as_built(model).parameters() if p.requires_grad)


@torch.random.fork_rng(devices=[])
def as_built(model: GenerativeModel) -> GenerativeModel:
    """A copy that can be trained: a model of `load_model` has no gradients.

    Parts that the model was loaded without have new weights.
    """
    built = type(model)(**model.hparams)
    built.load_state_dict(model.state_dict(), strict=not model.left_out)
    return built


@torch.no_grad()
def sample_flops(model: GenerativeModel) -> float:
    """FLOPs of one new image."""
    z = model.prior(TIMED, generator("cost"))
    return count_flops(lambda: model.decode(z)) / TIMED


@torch.enable_grad()
@torch.random.fork_rng(devices=[])
def step_flops(model: GenerativeModel, batch: Split) -> float:
    """FLOPs of one training batch: a real step of the trainer, on a copy of the model.

    If its steps are not all alike, this is their mean.
    """
    twin = as_built(model)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        plugins=OneProcess(),
        max_epochs=1,
        limit_val_batches=0,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    size = len(batch.images)
    rows = torch.arange(size).repeat(model.period)
    batches = InMemoryLoader(*batch.take(rows), batch_size=size)
    return count_flops(lambda: trainer.fit(twin, batches, batches)) / model.period


@torch.no_grad()
def sampling_seconds(model: GenerativeModel) -> float:
    """Wall seconds of 1,000 new images: the median of several, after a warm-up.

    Of a slow model it is of fewer, one at least.
    """
    seconds: list[float] = []
    while len(seconds) <= TIMINGS and sum(seconds[1:]) <= LONG:
        own = generator("cost", len(seconds))
        begin = perf_counter()
        model.sample(TIMED, own)
        seconds.append(perf_counter() - begin)
    return median(seconds[1:])


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of what a function does."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
