"""Parameters and FLOPs against counts by hand."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from gen_models.data.dataset import Split
from gen_models.evaluation.cost import (
    measure_cost,
    sample_flops,
    step_flops,
)
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE

B = 6  # images a batch
BATCH = Split(torch.zeros(B, 1, 28, 28, dtype=torch.uint8), torch.zeros(B, dtype=torch.int64))
STATUS = {"steps": 10, "seconds": 2.5, "images_per_second": 24.0, "peak_memory_mib": 300.0}


def weights(widths: list[int]) -> int:
    return sum(a * b for a, b in pairwise(widths))


def parameters(widths: list[int]) -> int:
    return weights(widths) + sum(widths[1:])


GENERATOR, DISCRIMINATOR = [5, 7, 784], [784, 11, 1]
ENCODER, DECODER = [784, 9, 2 * 4], [4, 9, 784]


def small_gan(**options: Any) -> GAN:
    return GAN(latent_dim=5, generator_dims=[7], discriminator_dims=[11], **options)


def small_vae(**options: Any) -> VAE:
    return VAE(latent_dim=4, encoder_dims=[9], **options)


def gan_step() -> tuple[int, int]:
    """FLOPs of D's and of G's part of a step."""
    g, d = weights(GENERATOR), weights(DISCRIMINATOR)
    g_first, d_first = 5 * 7, 784 * 11
    # fakes; D forward, its weights' gradients, its inputs' but for the first layer: on 2 B images
    d_part = 2 * B * g + 2 * (2 * B) * (d + d + (d - d_first))
    # D forward, the gradient of its inputs; G's weights' gradients, its inputs' but for z
    g_part = 2 * B * (d + d) + 2 * B * (g + (g - g_first))
    return d_part, g_part


def test_flops_of_a_gans_step() -> None:
    assert step_flops(small_gan(), BATCH) == sum(gan_step())


def test_flops_of_a_gan_that_updates_g_every_third_batch() -> None:
    d_part, g_part = gan_step()
    assert step_flops(small_gan(d_steps=3), BATCH) == pytest.approx(d_part + g_part / 3)


@pytest.mark.parametrize("options", [{"r1": 0.1}, {"r2": 0.1}, {"loss": "wgan_gp"}])
def test_flops_of_a_penalty_count_as_often_as_it_is_taken(options: dict[str, Any]) -> None:
    plain = step_flops(small_gan(), BATCH)
    each, lazy = (
        step_flops(small_gan(penalty_every=every, **options), BATCH) - plain for every in (1, 4)
    )
    assert lazy == pytest.approx(each / 4)
    # at least D forward, its inputs' gradient, and the same again for the weights' gradients
    assert each >= 4 * 2 * B * weights(DISCRIMINATOR)


def test_flops_of_a_vaes_step() -> None:
    forward = weights(ENCODER) + weights(DECODER)
    expected = 2 * B * (3 * forward - 784 * 9)  # no gradient for the images
    assert step_flops(small_vae(binarize=True, kl_warmup_epochs=2), BATCH) == expected


@pytest.mark.parametrize(("model", "widths"), [(small_gan(), GENERATOR), (small_vae(), DECODER)])
def test_flops_and_parameters_of_a_sample(model: Any, widths: list[int]) -> None:
    assert sample_flops(model) == 2 * weights(widths)
    assert sum(weight.numel() for weight in model.sampling_weights()) == parameters(widths)


def test_an_average_of_the_weights_is_sampled_from_but_not_trained() -> None:
    gan = small_gan(ema_decay=0.9)
    cost = measure_cost(gan, BATCH, STATUS)
    assert cost["cost/parameters"] == parameters(GENERATOR) + parameters(DISCRIMINATOR)
    assert cost["cost/sampling_parameters"] == parameters(GENERATOR)


def test_what_training_recorded_is_taken_over() -> None:
    cost = measure_cost(small_vae(), BATCH, STATUS)
    assert cost["cost/parameters"] == parameters(ENCODER) + parameters(DECODER)
    assert cost["cost/training_flops"] == 10 * cost["cost/flops_per_step"]
    for key in ("seconds", "images_per_second", "peak_memory_mib"):
        assert cost[f"cost/{key}"] == STATUS[key]
    assert 0 < cost["cost/sampling_seconds"] < 10
    # an older run, or one that stopped at once, has no such record
    less = measure_cost(small_vae(), BATCH, {"images_per_second": None})
    assert set(cost) - set(less) == {
        f"cost/{key}" for key in ("training_flops", *STATUS) if key != "steps"
    }


@pytest.mark.parametrize("model", [small_gan(ema_decay=0.9), small_vae()])
def test_measuring_leaves_everything_as_it_was(model: Any) -> None:
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = [weight.requires_grad for weight in model.parameters()]
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():  # as a caller may be
        measure_cost(model, BATCH, STATUS)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [weight.requires_grad for weight in model.parameters()] == trained
    assert all(weight.grad is None for weight in model.parameters())
