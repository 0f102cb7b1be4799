"""Networks in the browser against torch; left out where there is no Chromium."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from browser import PAGE, Networks, rounded
from chromium import chromium, needs_chromium
from scipy.stats import kstest
from torch import Tensor, nn
from toy import Toy

from gen_models.explorer.content import _sampler
from gen_models.explorer.graph import OPERATIONS
from gen_models.metrics.classifier import classifier_path, load_classifier
from gen_models.metrics.latent import spherical, straight
from gen_models.metrics.reconstruction import Reach, _descend
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.layers import ACTIVATIONS
from gen_models.models.vae import VAE

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    with chromium() as browser:
        yield Networks(browser)


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def cut(x: Tensor) -> Tensor:
    """Every way to take a part of (n, 3, 6, 5), joined to (n, 3, 6, 4)."""
    parts = [x.split([2, 4], -2)[1], x.chunk(3, 2)[1]]
    return torch.cat(parts, 2)[..., 1:] * x[:, :, :, -4:]


def normalised(norm: nn.Module) -> nn.Module:
    """A normalisation whose weights and statistics are not those of a fresh one."""
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + (0.5 if "var" in name else 0)
    return norm


IMAGE = (3, 6, 5)
CASES: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    **{name: ((7,), make) for name, make in ACTIVATIONS.items()},
    "sigmoid": ((7,), nn.Sigmoid),
    "sin": ((7,), lambda: Function(torch.sin)),
    "cos": ((7,), lambda: Function(torch.cos)),
    "constant": ((7,), lambda: Function(lambda x: x * 2 ** torch.linspace(0, 1, 7))),
    "expand": (
        IMAGE, lambda: Function(lambda x: x[:, :, :1] * 2 + x[:, :1].expand(-1, 3, -1, -1))
    ),
    "pixel_unshuffle": ((2, 4, 6), lambda: nn.PixelUnshuffle(2)),
    "pixel_shuffle": ((8, 2, 3), lambda: nn.PixelShuffle(2)),
    "linear": ((7,), lambda: nn.Linear(7, 5)),
    "linear without bias": ((7,), lambda: nn.Linear(7, 5, bias=False)),
    "linear on the last of two": ((2, 7), lambda: nn.Linear(7, 5)),
    "conv2d": (IMAGE, lambda: nn.Conv2d(3, 4, 3, padding=1)),
    "conv2d with stride": (IMAGE, lambda: nn.Conv2d(3, 4, (4, 3), stride=2, padding=(1, 2))),
    "conv_transpose2d": (IMAGE, lambda: nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1)),
    "conv_transpose2d, output_padding": (
        IMAGE, lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)
    ),
    "max_pool2d": (IMAGE, lambda: nn.MaxPool2d(2)),
    "upsample_nearest2d": (IMAGE, lambda: nn.Upsample(scale_factor=2)),
    "batch_norm": (IMAGE, lambda: normalised(nn.BatchNorm2d(3))),
    "group_norm": ((6, 4, 3), lambda: normalised(nn.GroupNorm(2, 6))),
    "add": ((7,), lambda: Function(lambda x: (x + 2) + x)),
    "sub": ((7,), lambda: Function(lambda x: (x - 2) - x.tanh())),
    "mul": ((7,), lambda: Function(lambda x: (x * 3) * x)),
    "div": ((7,), lambda: Function(lambda x: (x / 3) / (x.sigmoid() + 1))),
    "slice": (IMAGE, lambda: Function(cut)),
    "cat": (IMAGE, lambda: Function(lambda x: torch.cat([x, x.tanh(), x[:, :] * 2], -1))),
    "shapes": (IMAGE, lambda: Function(lambda x: x.flatten(1).unflatten(1, (3, 30)).view(-1, 90))),
}  # fmt: skip


def test_every_operation_is_known_to_both_and_tested() -> None:
    text = "".join((PAGE / name).read_text() for name in ("ops.js", "ops_images.js"))
    tables = re.findall(r"(?:const OPS = |Object.assign\(OPS, )\{\n(.*?)\n\}", text, re.DOTALL)
    known = {name for table in tables for name in re.findall(r"^  (\w+):", table, re.MULTILINE)}
    ours = {known._schema.name.removeprefix("aten::") for known in OPERATIONS}
    ours |= {"slice", "constant"}
    assert known == ours
    assert ours - set(CASES) == {"argmax", "one_hot"}  # of labels: by the conditional models below


@pytest.mark.parametrize("name", CASES)
def test_an_operation_and_its_gradient(networks: Networks, name: str) -> None:
    shape, build = CASES[name]
    torch.manual_seed(0)
    model = rounded(build())
    x = torch.randn(6, *shape, requires_grad=True)  # four rows are done at once: not a multiple
    expected = model(x)
    slopes = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, x, slopes)
    networks.load(model, model.forward, x)
    assert torch.allclose(networks.forward(x), expected.detach().flatten(1), atol=1e-5)
    assert torch.allclose(networks.backward(slopes, x), gradient, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"conditional": True}, {"network": "conv", "generator_dims": None, "width": 8}]
)
def test_other_generators_and_their_gradients(networks: Networks, options: dict[str, Any]) -> None:
    torch.manual_seed(7)
    model = GAN(**options).eval()
    rounded(model)
    z = model.prior(5).requires_grad_()
    expected = model.decode(z)
    slopes = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, z, slopes)
    networks.load(model, model.decode, z)
    assert torch.allclose(networks.forward(z), expected.detach().flatten(1), atol=1e-5)
    assert torch.allclose(networks.backward(slopes, z), gradient, atol=1e-4)


@pytest.mark.parametrize("build", [GAN, VAE])
def test_new_images_are_torchs(networks: Networks, build: Any) -> None:
    """With the weights as they were trained: rounding them to 16 bits is part of the difference."""
    torch.manual_seed(1)
    model = build().eval()
    z = model.prior(20)
    networks.load(model, model.decode, z)
    with torch.no_grad():
        expected = model.decode(z)
    assert expected.std() > 0.01
    assert (networks.forward(z) - expected.flatten(1)).abs().max() < 1 / 255


def test_the_gradient_of_a_gans_z_is_autograds(networks: Networks) -> None:
    torch.manual_seed(2)
    model = GAN().eval()
    rounded(model)
    z, target = model.prior(4).requires_grad_(), torch.rand(784)
    errors = (model.decode(z).flatten(1) - target).square().mean(1)
    (expected,) = torch.autograd.grad(errors.sum(), z)
    networks.load(model, model.decode, z)
    script = """([z, target]) => {
        const found = gradient(program, Float32Array.from(z), Float32Array.from(target), 4);
        return [Array.from(found.dz), Array.from(found.errors)]; }"""
    given = [z.flatten().tolist(), target.tolist()]
    found, mse = (torch.tensor(part) for part in networks.page.evaluate(script, given))
    assert torch.allclose(found.view_as(z), expected, rtol=1e-3, atol=1e-4 * expected.abs().max())
    assert torch.allclose(mse, errors.detach(), rtol=1e-4)


@pytest.mark.parametrize(("radius", "coordinate"), [(9.0, 0.3), (1.5, 1.0)])
def test_the_search_is_that_of_evaluation(
    networks: Networks, radius: float, coordinate: float
) -> None:
    """Adam with a cosine, z held in the prior's reach: in the box, and on the ball's surface."""
    torch.manual_seed(3)
    model = GAN(latent_dim=20, generator_dims=[32]).eval()
    rounded(model)
    reach = Reach(radius=radius, coordinate=coordinate, typical=0.0, width=20)
    with torch.no_grad():
        starts, target = reach.hold(model.prior(2)), model.decode(model.prior(1)).flatten(1)
    z, errors = _descend(model, target, starts.unsqueeze(0), reach, 30)
    networks.load(model, model.decode, starts)
    script = """async ([starts, target, reach]) => {
        const steps = [];
        const found = await invert({ program, target: Float32Array.from(target), n: 2, fixed: 0,
            starts, steps: 30, rate: 0.05, reach }, async ({ step }) => steps.push(step));
        return [Array.from(found.z), found.mse, steps]; }"""
    given = [starts.flatten().tolist(), target.flatten().tolist(), reach._asdict()]
    found, mse, steps = networks.page.evaluate(script, given)
    best = z[0, errors[-1, 0].argmin()]
    assert steps == list(range(30))
    assert mse == pytest.approx(errors[-1].min().item(), rel=1e-2)
    assert torch.allclose(torch.tensor(found), best, atol=1e-2)
    limits = torch.tensor([best.norm() / radius, best.abs().max() / coordinate])
    assert limits.max() == pytest.approx(1, abs=1e-3)  # the limit is reached, so it was tested


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_an_equation_is_solved_as_by_torch(networks: Networks, solver: str) -> None:
    """From noise to images and back, with the labels and the guidance of a small flow."""
    torch.manual_seed(6)
    model = Flow(width=4, dense=8, conditional=True, guidance=0.5, solver=solver, steps=3).eval()
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)  # its last layers start at 0
    rounded(model)
    z = model.prior(3).detach()
    x, columns = z.split([784, 10], 1)
    networks.load(model, model.flow, x, torch.zeros(3), columns)
    script = """async ([x, columns, times, solver]) => {
        const seen = [], [start, end] = times;
        const found = await solve({ program, x: Float32Array.from(x), n: 3, start, end, solver,
            columns: Float32Array.from(columns), steps: 3 }, async (on) => seen.push(on));
        return [Array.from(found), seen.length]; }"""

    def solve(x: Tensor, *times: float) -> Tensor:
        given = [x.flatten().tolist(), columns.flatten().tolist(), times, solver]
        result, seen = networks.page.evaluate(script, given)
        assert seen == 4
        return torch.tensor(result).view(3, 784)

    ends = solve(x, 0, 1)
    with torch.no_grad():
        images = model.decode(z)
        noise = model.encode(images, columns.argmax(1))[0][:, :784]
    assert images.std() > 0.1
    shown = ((ends + 1) * 128 - 0.5) / 255
    assert torch.allclose(shown.clamp(0, 1), images.flatten(1), atol=1e-4)
    assert torch.allclose(solve((255 * images.flatten(1) + 0.5) / 128 - 1, 1, 0), noise, atol=1e-3)


def test_a_search_starts_from_the_nearest_draws(networks: Networks) -> None:
    torch.manual_seed(4)
    model = VAE(latent_dim=3).eval()
    target = model.decode(model.prior(1)).detach().flatten()
    networks.load(model, model.decode, model.prior(1))
    script = """async (target) => {
        const known = { prior: "normal", latent: 3, classes: 0 };
        const draws = await candidates(program, known, null, 40);
        return [Array.from(draws.z), nearestDraws(draws, Float32Array.from(target), 4, 3)]; }"""
    draws, starts = networks.page.evaluate(script, target.tolist())
    z = torch.tensor(draws).view(40, 3)
    distances = (model.decode(z).flatten(1) - target).square().sum(1)
    nearest = z[distances.topk(4, largest=False).indices]
    assert torch.allclose(torch.tensor(starts).view(4, 3), nearest)


def test_the_encoder_is_torchs(networks: Networks) -> None:
    torch.manual_seed(4)
    model = VAE().eval()
    images = torch.rand(5, 1, 28, 28)
    networks.load(model, lambda x: model.encode(x)[0], images)
    assert torch.allclose(networks.forward(images), model.encode(images)[0], atol=5e-3)
    rounded(model)
    assert torch.allclose(networks.forward(images), model.encode(images)[0], atol=1e-5)


def test_a_conditional_encoder_is_torchs(networks: Networks) -> None:
    torch.manual_seed(5)
    model = Toy()
    rounded(model)
    images, labels = torch.rand(6, 1, 28, 28), torch.tensor([3, 1, 4, 1, 5, 9])
    networks.load(model, lambda x, label: model.encode(x, label)[0], images, labels)
    expected = model.encode(images, labels)[0]
    assert torch.allclose(networks.forward(images, labels), expected, atol=1e-5)


def test_the_classifier_is_torchs(networks: Networks) -> None:
    """The real one: what it sees is the same, whatever the rounding."""
    from gen_models.data.module import MNISTDataModule

    data = MNISTDataModule(name="digits")
    data.setup()
    classifier = load_classifier(classifier_path("digits", data.root))
    images = data.splits["test"].images[:20].float() / 255
    networks.load(classifier.network, classifier.network, images)
    expected = classifier.network(images).softmax(1)
    assert (networks.forward(images).softmax(1) - expected).abs().max() < 0.005


def test_latents_are_the_priors(networks: Networks) -> None:
    script = """(kind) => Array.from(
        prior({ prior: kind, latent: 12, classes: 10 }, uniforms(3), 5000, 7))"""
    for kind, name, arguments in (("normal", "norm", (0, 1)), ("uniform", "uniform", (-1, 2))):
        z = torch.tensor(networks.page.evaluate(script, kind)).view(5000, 12)
        assert kstest(z[:, :2].flatten().numpy(), name, arguments).pvalue > 0.001
        assert z[:, :2].T.corrcoef()[0, 1].abs() < 0.05
        assert (z[:, 2:] == F.one_hot(torch.tensor(7), 10)).all()


def test_latents_are_the_samplers(networks: Networks) -> None:
    """Of two classes: the second has two Gaussians, one of them correlated."""
    factors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.0], [0.4, 0.3]]])
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    means = torch.tensor([[[0.0, 0.0], [9.0, 9.0]], [[-5.0, 1.0], [3.0, 7.0]]])
    sampler = {"weights": weights, "means": means, "factors": factors.expand(2, 2, 2, 2)}
    script = "(model) => Array.from(prior(model, uniforms(3), 5000, 1))"
    model = {"latent": 4, "classes": 2, "prior": "normal", "sampler": _sampler(sampler)}
    z = torch.tensor(networks.page.evaluate(script, model)).view(5000, 4)
    assert (z[:, 2:] == torch.tensor([0.0, 1.0])).all()
    first = z[:, 0] < -1
    assert first.double().mean().item() == pytest.approx(0.25, abs=0.03)
    for rows, k in ((first, 0), (~first, 1)):
        assert torch.allclose(z[rows, :2].mean(0), means[1, k], atol=0.12)
        assert torch.allclose(z[rows, :2].T.cov(), factors[k] @ factors[k].T, atol=0.12)


def test_paths_are_those_of_evaluation(networks: Networks) -> None:
    start, end = torch.randn(2, 1, 5, generator=torch.manual_seed(6)).unbind()
    script = """([from, to, sphere]) => [0, 0.25, 0.5, 0.75, 1].map(
        (share) => Array.from(pathPoint(from, to, share, sphere)))"""
    for sphere, path in ((False, straight), (True, spherical)):
        given = [start[0].tolist(), end[0].tolist(), sphere]
        found = torch.tensor(networks.page.evaluate(script, given))
        assert torch.allclose(found, path(start, end, 5)[0], atol=1e-5)
