"""Errors of images, latent inversion and the baselines, against independent references."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import chi
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.pixels import nearest, principal_components
from gen_models.metrics.reconstruction import (
    image_errors,
    inversion_control,
    invert,
    prior_reach,
)
from gen_models.models.gan import GAN
from gen_models.models.interface import GenerativeModel, reconstruct
from gen_models.models.vae import VAE
from gen_models.seeding import generator


class LinearModel(GenerativeModel):
    """Images 0.5 + W z with orthogonal columns in W: every z has an image of its own."""

    def __init__(self, prior: str) -> None:
        super().__init__(noise_dim=5, conditional=False, prior_kind=prior)
        columns = torch.randn(784, self.latent_dim, generator=generator("W"))
        self.weight = nn.Parameter(torch.linalg.qr(columns).Q)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.weight.T).view(-1, 1, 28, 28)

    def decoding_weights(self) -> list[nn.Parameter]:
        return [self.weight]


class ConditionalModel(LinearModel):
    """The first coordinate of z is the label, in tenths, and is drawn where it is not given."""

    def prior(
        self, n: int, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Tensor:
        z = super().prior(n, generator)
        z[:, 0] = (torch.zeros(n) if labels is None else labels) / 10
        return z


def test_errors_against_numpy_and_scipy(digits: MNISTDataModule) -> None:
    images = digits.splits["test"].images[:30].float() / 255
    made = (images + 0.1 * torch.randn(images.shape, generator=generator("noise"))).clamp(0, 1)
    found = image_errors(images, made)
    for i in range(30):
        x, y = images[i, 0].double().numpy(), made[i, 0].double().numpy()
        mse = ((x - y) ** 2).mean()
        assert found["mse"][i].item() == pytest.approx(mse, rel=1e-4)
        assert found["psnr"][i].item() == pytest.approx(-10 * np.log10(mse), rel=1e-4)
        assert found["ssim"][i].item() == pytest.approx(ssim(x, y), abs=1e-4)


def ssim(x: Any, y: Any) -> float:
    """Wang et al. 2004, equation 13, with an 11 x 11 window and mirrored borders."""

    def blur(image: Any) -> Any:
        return gaussian_filter(image, 1.5, truncate=3.5, mode="mirror")

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(index.mean())


def test_perfect_images_have_finite_errors(
    digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen_models.metrics.reconstruction.CHUNK", 7)  # chunks
    images = digits.splits["test"].images[:20].float() / 255
    means = {name: values.mean() for name, values in image_errors(images, images).items()}
    assert means == {"mse": 0.0, "psnr": 100.0, "ssim": pytest.approx(1.0)}
    one_off = images.clone()
    one_off[13] = 1 - one_off[13]
    assert (image_errors(images, one_off)["mse"] > 0).nonzero().tolist() == [[13]]


def test_a_reconstruction_is_the_decoders_image_of_the_mean(digits: MNISTDataModule) -> None:
    vae = VAE(latent_dim=8, encoder_dims=[16])
    images = digits.splits["test"].images[:5].float() / 255
    with torch.no_grad():
        expected = vae.decode(vae.encode(images)[0])
    torch.testing.assert_close(reconstruct(vae, images), expected)


@pytest.mark.parametrize("prior", ["uniform", "normal"])
def test_inversion_finds_back_the_z_of_a_linear_model(prior: str) -> None:
    model = LinearModel(prior)
    found = inversion_control(model, 40, steps=400)
    z = prior_reach(model).hold(model.prior(40, generator("control", 0)))
    torch.testing.assert_close(found.z, z, atol=0.01, rtol=0)
    assert found.mse.max() < 1e-6
    torch.testing.assert_close(found.images, model.decode(found.z).detach())


def test_inversion_keeps_z_in_the_priors_ball() -> None:
    """The columns of W are orthonormal, so the optimum is the nearest point of the ball."""
    model = LinearModel("normal")
    radius = chi(model.latent_dim).ppf(0.99)
    z = torch.randn(6, 5, generator=generator("far"))
    z = 1.5 * radius * z / z.norm(dim=1, keepdim=True)  # the prior hardly ever draws it
    held = invert(model, model.decode(z).detach(), steps=400)
    torch.testing.assert_close(held.z, z / 1.5, atol=0.1, rtol=0)  # the radius is an estimate
    assert held.z.norm(dim=1).max() <= prior_reach(model).radius * (1 + 1e-6)


def test_inversion_keeps_z_in_the_priors_box() -> None:
    model = LinearModel("uniform")
    z = torch.full((1, 5), 0.3)
    z[0, 0] = 1.7  # the prior never draws it
    held = invert(model, model.decode(z).detach(), steps=400)
    torch.testing.assert_close(held.z, z.clamp(max=1), atol=1e-3, rtol=0)
    assert held.z.max() <= 1


def test_the_reach_is_that_of_the_priors_distribution() -> None:
    normal, uniform = prior_reach(LinearModel("normal")), prior_reach(LinearModel("uniform"))
    assert normal.radius == pytest.approx(chi(5).ppf(0.99), rel=0.02)
    assert normal.typical == pytest.approx(5**0.5, rel=0.02)
    assert 3.5 < normal.coordinate < 6
    draws = np.random.default_rng(0).uniform(-1, 1, (100_000, 5))
    radius = np.quantile(np.linalg.norm(draws, axis=1), 0.99)
    assert uniform.radius == pytest.approx(radius, rel=0.01)
    assert 0.999 < uniform.coordinate <= 1


def test_the_starts_are_the_nearest_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps too short to move, each image's error is that of its nearest candidate."""
    monkeypatch.setattr("gen_models.metrics.reconstruction.LR", 1e-12)
    model = LinearModel("normal")
    images = torch.rand(7, 1, 28, 28, generator=generator("images"))
    found = invert(model, images, restarts=2, steps=1)
    drawn = prior_reach(model).hold(model.prior(10_000, generator("inversion", 0)))
    search = NearestNeighbors(n_neighbors=1).fit(model.decode(drawn).flatten(1).detach().numpy())
    distances = search.kneighbors(images.flatten(1).numpy())[0][:, 0]
    np.testing.assert_allclose(found.mse.numpy(), distances**2 / 784, rtol=1e-4)


def test_radius_is_one_on_the_typical_set() -> None:
    for prior in ("uniform", "normal"):
        found = inversion_control(LinearModel(prior), 200, restarts=1)
        assert found.radius.square().mean().item() == pytest.approx(1.0, abs=0.1)


def test_curve_falls_with_steps_and_with_restarts() -> None:
    torch.manual_seed(0)
    model = GAN(latent_dim=10, generator_dims=[32])
    images = GAN(latent_dim=10, generator_dims=[32]).sample(20, generator("z")).detach()
    found = invert(model, images, restarts=3, steps=50)
    assert found.curve.shape == (51, 3)
    assert (found.curve[:, 1:] <= found.curve[:, :-1]).all()
    assert found.curve[-1, 0] < found.curve[10, 0] < found.curve[0, 0]
    assert found.curve[-1, -1].item() == pytest.approx(found.mse.mean().item(), rel=1e-5)
    expected = (found.images - images).square().mean((1, 2, 3))
    torch.testing.assert_close(found.mse, expected)


def test_inversion_leaves_the_model_and_the_global_generator_alone() -> None:
    model = GAN(latent_dim=4, generator_dims=[8])
    model.discriminator.requires_grad_(False)
    model.generator.eval()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    before = torch.random.get_rng_state()
    images = torch.rand(6, 1, 28, 28, generator=generator("images"))
    with torch.no_grad():  # as a caller may be
        first = invert(model, images, steps=5)
    assert torch.equal(first.z, invert(model, images, steps=5).z)
    assert torch.equal(before, torch.random.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.generator.parameters())
    assert not any(weight.requires_grad for weight in model.discriminator.parameters())
    assert all(weight.grad is None for weight in model.parameters())


def test_an_images_inversion_does_not_depend_on_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = LinearModel("uniform")
    images = model.decode(model.prior(9, generator("z"))).detach()
    whole = invert(model, images, steps=20)
    monkeypatch.setattr("gen_models.metrics.reconstruction.ROWS", 8)  # two images at once
    torch.testing.assert_close(invert(model, images, steps=20).z, whole.z)


def test_each_start_has_its_images_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps too short to move, what is found is a start."""
    monkeypatch.setattr("gen_models.metrics.reconstruction.ROWS", 6)  # two images at once
    monkeypatch.setattr("gen_models.metrics.reconstruction.LR", 1e-12)
    model = ConditionalModel("uniform")
    labels = torch.tensor([3, 1, 4, 1, 5])
    images = torch.rand(5, 1, 28, 28, generator=generator("images"))
    found = invert(model, images, labels, restarts=3, steps=1)
    torch.testing.assert_close(found.z[:, 0], labels / 10)
    control = inversion_control(model, 5, labels, restarts=3, steps=1)
    torch.testing.assert_close(control.z[:, 0], labels / 10)


@pytest.mark.parametrize("bad", [{"restarts": 0}, {"steps": 0}, {"restarts": 10_001}])
def test_inversion_refuses_no_search(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="restarts must lie in"):
        invert(LinearModel("normal"), torch.zeros(1, 1, 28, 28), **bad)


def test_a_projection_on_components_is_scikit_learns(digits: MNISTDataModule) -> None:
    train, test = (digits.splits[name].images.float() / 255 for name in ("train", "test"))
    fitted = principal_components(train, 30)
    pca = PCA(16, svd_solver="full").fit(train.flatten(1).double().numpy())
    codes = pca.transform(test.flatten(1).double().numpy())
    expected = torch.from_numpy(pca.inverse_transform(codes)).clamp(0, 1).float()
    found = fitted.leading(16).project(test)
    torch.testing.assert_close(found, expected.view_as(test), atol=1e-4, rtol=0)


@pytest.mark.mnist
@pytest.mark.slow
def test_baselines_on_mnist_are_the_known_ones(mnist_root: str) -> None:
    data = MNISTDataModule(root=mnist_root)
    data.setup()
    train, test = (data.splits[name].images.float() / 255 for name in ("train", "test"))
    fitted = principal_components(train, 128)
    for width, expected in {2: 0.0555, 16: 0.0254, 64: 0.00775, 128: 0.0034}.items():
        made = fitted.leading(width).project(test)
        assert (made - test).square().mean().item() == pytest.approx(expected, rel=0.005)
    assert (train.mean(0) - test).square().mean().item() == pytest.approx(0.0675, rel=0.002)
    neighbours = train[nearest(test[:500], train).indices]
    assert (neighbours - test[:500]).square().mean().item() == pytest.approx(0.0245, rel=0.02)


def test_small_and_colour_images_have_errors() -> None:
    for shape in ((1, 8, 8), (3, 8, 64), (3, 12, 12)):
        images = torch.rand(3, *shape)
        same, other = (image_errors(images, each) for each in (images, images.flip(2)))
        assert same["ssim"].tolist() == pytest.approx([1, 1, 1])
        assert (other["ssim"] < 0.5).all()
        assert other["mse"].shape == other["psnr"].shape == (3,)
