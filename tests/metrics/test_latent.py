"""Paths, single units and the map of the latent space, against hand-made references."""

from math import cos, pi, sin
from typing import Any

import pytest
import torch
from sklearn.decomposition import PCA
from test_reconstruction import LinearModel
from torch import Tensor

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.latent import (
    latent_map,
    measure_latent_space,
    spherical,
    straight,
    traverse,
    unit_activity,
)
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.seeding import generator


def test_a_spherical_path_goes_by_equal_angles_on_the_circle() -> None:
    start, end = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    path = spherical(start, end, 7)
    by_hand = [[2 * cos(i * pi / 12), 0.0, 2 * sin(i * pi / 12)] for i in range(7)]
    torch.testing.assert_close(path, torch.tensor([by_hand]))


@pytest.mark.parametrize("path", [straight, spherical])
def test_a_path_has_its_ends(path: Any) -> None:
    start, end = torch.randn(2, 5, 10, generator=generator("ends"))
    found = path(start, end, 11)
    assert found.shape == (5, 11, 10)
    assert torch.equal(found[:, 0], start)
    torch.testing.assert_close(found[:, -1], end, atol=1e-6, rtol=1e-6)


def test_a_straight_path_has_equal_steps() -> None:
    start, end = torch.randn(2, 5, 10, generator=generator("ends"))
    steps = straight(start, end, 5).diff(dim=1)
    torch.testing.assert_close(steps, ((end - start) / 4).unsqueeze(1).expand_as(steps))


def test_ends_without_an_arc_between_them_are_joined_straight() -> None:
    start = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    end = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [3.0, 1.0]])
    torch.testing.assert_close(spherical(start, end, 5)[:2], straight(start, end, 5)[:2])
    assert spherical(start, end, 5).isfinite().all()


def test_a_traversal_touches_one_unit() -> None:
    z = torch.randn(6, generator=generator("z"))
    units, values = torch.tensor([4, 0]), torch.tensor([-1.0, 0.5, 2.0])
    found = traverse(z, units, values)
    assert found.shape == (2, 3, 6)
    for row, unit in enumerate(units.tolist()):
        assert torch.equal(found[row, :, unit], values)
        others = [index for index in range(6) if index != unit]
        assert torch.equal(found[row][:, others], z[others].expand(3, 5))


def test_without_an_encoder_a_unit_counts_as_it_moves_the_image() -> None:
    model = LinearModel("uniform")
    lengths = torch.tensor([1.0, 3.0, 0.0, 5.0, 2.0])
    with torch.no_grad():
        model.weight *= lengths
    found = unit_activity(model, torch.zeros(0))
    torch.testing.assert_close(found, (2 * lengths) ** 2 / 784)


def test_with_an_encoder_a_unit_counts_as_its_mean_varies(digits: MNISTDataModule) -> None:
    vae = VAE(latent_dim=4, encoder_dims=[8])
    images = digits.splits["test"].images.float() / 255
    with torch.no_grad():
        expected = vae.encode(images)[0].numpy().var(0, ddof=1)
    torch.testing.assert_close(unit_activity(vae, images), torch.from_numpy(expected))


def test_the_map_is_scikit_learns_pca() -> None:
    means = torch.randn(200, 5, generator=generator("means")) * torch.tensor([1, 5, 2, 3, 0.1])
    found = latent_map(means)
    pca = PCA(2).fit(means.double().numpy())
    expected = torch.from_numpy(pca.transform(means.double().numpy())).float()
    torch.testing.assert_close(found.points.abs(), expected.abs(), atol=1e-4, rtol=1e-4)
    shares = torch.from_numpy(pca.explained_variance_ratio_).float()
    torch.testing.assert_close(found.shares, shares)
    assert found.points[means[:, 1].argmax(), 0] > 0  # its sign is that of its largest weight


def test_an_encoder_is_told_the_labels(digits: MNISTDataModule) -> None:
    class ByLabel(VAE):
        def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
            assert labels is not None
            mean = labels.unsqueeze(1).float().expand(-1, 2)
            return mean, torch.zeros_like(mean)

    split = digits.splits["test"]
    images, model = split.images.float() / 255, ByLabel(latent_dim=2, encoder_dims=[8])
    spread = split.labels.float().var()
    torch.testing.assert_close(unit_activity(model, images, split.labels), spread.expand(2))
    z = model.prior(16, generator("z"))
    found = measure_latent_space(model, images, z, split.labels)["latent_map"]
    centred = split.labels - split.labels.float().mean()
    torch.testing.assert_close(found[:, 0], 2**0.5 * centred, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        (GAN(latent_dim=3, generator_dims=[8]), 1.0),
        (VAE(latent_dim=1, encoder_dims=[8]), 3.0),
        (VAE(latent_dim=2, encoder_dims=[8]), 3.0),
    ],
)
def test_a_model_of_few_units_is_looked_into(
    model: Any, limit: float, digits: MNISTDataModule
) -> None:
    images = digits.splits["test"].images[:50].float() / 255
    before = torch.random.get_rng_state()
    found = measure_latent_space(model, images, model.prior(20, generator("z")))
    assert torch.equal(before, torch.random.get_rng_state())
    assert found["traversal_values"].tolist()[::10] == [-limit, limit]
    assert found["pictures_traversal"].shape == (model.latent_dim, 11, 28, 28)
    assert ("latent_map" in found) == (model.latent_dim == 2)
