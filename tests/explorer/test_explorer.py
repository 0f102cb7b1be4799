"""What the page is made of, and what it refuses."""

import base64
import html
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import a_run, make_runs, small_flow, written
from PIL import Image
from synthetic import make_run
from torch import Tensor, nn

from gen_models.data.datasets import load
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.explorer.content import (
    _networks,
    image_box,
    is_light,
    rounding_difference,
    shown_images,
)
from gen_models.explorer.directions import principal_directions
from gen_models.explorer.explore import explore, set_page_steps
from gen_models.explorer.graph import Weights, lower
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.runs.weights import save_model


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("runs"))


def test_what_cannot_be_shown_is_refused_in_one_line(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "page.html"
    mnist = make_run(tmp_path / "mnist", "model=vae", "data=mnist")
    save_model(mnist, VAE())
    other = make_run(tmp_path / "other", "model=gan", "data=digits")
    save_model(other, Unknown())
    odd = make_run(tmp_path / "odd", "model=gan", "data=digits", "seed=1")
    save_model(odd, OddPrior())
    own = load("digits", tmp_path).record() | {"digest": "of other images"}
    changed = make_run(tmp_path / "changed", "model=vae", "data=digits", data=own)
    save_model(changed, VAE())
    gan, vae = runs["gan"], runs["vae"]
    for paths, names in {
        (gan, vae, gan): "different runs",
        (gan, gan): "different runs",
        (vae, mnist.path): "on digits and .* on mnist",
        (gan, changed.path): "trained on other images",
        (tmp_path,): "not a finished run",
        (other.path,): r"Unknown: aten\.cumsum",
        (odd.path,): "prior",
    }.items():
        with pytest.raises(UserError, match=names) as error:
            explore(paths, output, say=lambda line: None)
        assert "\n" not in str(error.value)
        assert not output.exists()
    output.write_text("mine")
    with pytest.raises(UserError, match=r"page.html: .* --overwrite"):
        explore([vae], output, say=lambda line: None)
    assert output.read_text() == "mine"
    explore([vae], output, overwrite=True, say=lambda line: None)
    assert output.read_text().startswith("<!doctype html>")
    for bad in ("page.txt", "nowhere/page.html"):
        with pytest.raises(UserError, match=bad):
            explore([vae], tmp_path / bad, say=lambda line: None)


def test_runs_of_one_name_are_told_apart(runs: dict[str, Path], tmp_path: Path) -> None:
    """As the same command before and after a change of the code."""
    twins = [tmp_path / folder / runs["vae"].name for folder in ("before", "after")]
    for twin in twins:
        shutil.copytree(runs["vae"], twin)
    output = tmp_path / "page.html"
    explore(twins, output, say=lambda line: None)
    (heading,) = re.findall("<h1>(.*?)</h1>", output.read_text(), re.DOTALL)
    assert all(str(twin) in heading for twin in twins)


class Unknown(GAN):
    """A generator with an operation that no page knows."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z.cumsum(1))


class OddPrior(GAN):
    """A prior that the page cannot draw from."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prior_kind = "mixture"

    def prior(self, *arguments: Any) -> Tensor:
        return super().prior(*arguments).pow(3)


class Rows(nn.Module):
    """Not a function of each row alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1)


class Shifted(nn.Module):
    """A weight where the page expects a value that it has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Product(nn.Module):
    """The reverse: a computed value where the page expects a weight."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, x[0])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Rows(), "mixes the images of a batch"),
        (nn.GELU(approximate="tanh"), "approximate=tanh"),
        (nn.Conv1d(4, 4, 1), "aten.conv1d.default"),
        (nn.Bilinear(4, 4, 4), "torch.export"),  # takes two inputs
        (Shifted(), "whose other is a weight"),
        (Product(), "whose weight is computed"),
    ],
)
def test_what_the_page_would_do_differently_is_not_carried(model: nn.Module, why: str) -> None:
    with pytest.raises(UserError, match=why):
        lower(model, model, (torch.zeros(1, 4, 4),), Weights())


def test_a_weight_beyond_16_bits_is_refused() -> None:
    with pytest.raises(UserError, match="above 65,504"):
        Weights().add(torch.tensor([1e6]))


CONV: dict[str, Any] = {"network": "conv", "width": 8, "encoder_dims": None}


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (CONV, None),
        ({"conditional": True, "likelihood": "gaussian"}, None),
        (CONV | {"conditional": True}, None),
        ({"likelihood": "continuous_bernoulli"}, "aten.where.self"),
    ],
)
def test_a_vae_is_carried_whole_or_refused(options: dict[str, Any], refused: str | None) -> None:
    model = VAE(**options).eval()
    if refused is None:
        assert _networks(model, Weights(), []) == {"decode": 0, "encode": 1, "flow": None}
        return
    with pytest.raises(UserError, match=refused):
        _networks(model, Weights(), [])


def test_a_gans_directions_are_the_singular_vectors_of_its_first_layer() -> None:
    """Of a linear layer and an isotropic prior they are known: W = U S V', steps along V."""
    torch.manual_seed(0)
    model = GAN(latent_dim=6, generator_dims=[32]).eval()
    layer = model.generator[0]
    assert isinstance(layer, nn.Linear)
    _, values, vectors = torch.linalg.svd(torch.randn(32, 6), full_matrices=False)
    values = torch.tensor([6.0, 5, 4, 3, 2, 1])
    layer.weight.data = torch.linalg.qr(torch.randn(32, 6)).Q @ values.diag() @ vectors
    nothing = torch.zeros(0, 1, 28, 28)
    found = principal_directions(model, nothing, torch.zeros(0))
    steps = found.steps / found.steps.norm(dim=1, keepdim=True)
    assert ((steps * vectors).sum(1).abs() > 0.98).all()
    assert torch.allclose(found.shares, values**2 / (values**2).sum(), atol=0.03)
    assert torch.allclose(found.steps.norm(dim=1), torch.tensor(1 / math.sqrt(3)), atol=0.03)


def test_an_encoders_directions_are_those_of_its_means() -> None:
    torch.manual_seed(0)
    model, images = VAE(latent_dim=5).eval(), torch.rand(400, 1, 28, 28)
    found = principal_directions(model, images, torch.zeros(400))
    means = model.encode(images)[0].detach().numpy()
    values = np.linalg.eigvalsh(np.cov(means.T, bias=True))[::-1]
    assert np.allclose(found.steps.square().sum(1), values, rtol=1e-3)
    along = (means - means.mean(0)) @ found.steps.numpy().T / values
    assert np.allclose(along.std(0), 1, atol=1e-2)


def test_rounding_is_measured() -> None:
    torch.manual_seed(0)
    model, images = VAE().eval(), torch.rand(20, 1, 28, 28)
    assert rounding_difference(model, images, torch.zeros(20)) > 0
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
    assert rounding_difference(model, images, torch.zeros(20)) == 0


def test_a_model_that_is_too_slow_for_the_page_is_left_out(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = a_run(tmp_path, "flow", small_flow(solver="dopri5", steps=None))
    monkeypatch.setattr("gen_models.explorer.explore.MOST_FLOPS", 1.0)
    assert "is not on the page" in written([runs["vae"], flow], tmp_path / "vae.html")[0]
    with pytest.raises(UserError, match="smaller model") as error:
        explore([flow], tmp_path / "page.html", say=lambda line: None)
    assert "\n" not in str(error.value)


def test_the_page_takes_no_more_steps_than_it_has_time_for() -> None:
    """Eight if it can, else four; never more than the model's own."""
    for options, taken in (
        ({"solver": "dopri5", "steps": None}, ("midpoint", 8)),
        ({"solver": "heun", "steps": 50}, ("heun", 8)),
        ({"solver": "euler", "steps": 3}, ("euler", 3)),
    ):
        model = small_flow(**options).eval()
        assert set_page_steps(model)
        assert (model.solver, model.steps) == taken
    guided = Flow(conditional=True, guidance=1.0).eval()
    assert set_page_steps(guided)
    assert guided.steps == 4


def test_the_page_says_what_is_left_out(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gan.html"
    said = written([runs["gan"]], file)
    assert "no encoder" in said[0]
    assert "the map shows the classifier's features" in said[1]
    assert len(said) == 2
    text = html.unescape(file.read_text())
    assert all(sentence in text for sentence in said)
    monkeypatch.setattr(
        "gen_models.runs.classifier.classifier_path", lambda name, root: tmp_path / "none"
    )
    said = written([runs["gan"]], tmp_path / "bare.html")
    assert said[1].startswith("There is no map")
    assert "gen-models evaluate" in said[2]
    others = [line.replace("gan_final", "vae_final") for line in said[2:]]
    assert written([runs["vae"]], tmp_path / "vae.html") == others
    (*_, last) = written([runs["toy"]], tmp_path / "toy.html")
    assert last.endswith("takes every drawing for a 0.")
    monkeypatch.undo()
    monkeypatch.setattr("gen_models.runs.classifier.POOR", 1.01)
    (poor,) = written([runs["vae"]], tmp_path / "poor.html")
    assert "% of the test images" in poor


def test_the_box_of_a_drawing_is_that_of_the_training_images(digits: MNISTDataModule) -> None:
    """The 8x8 digits, enlarged, fill the frame; a small image among large ones changes nothing."""
    assert image_box(digits.splits["train"].images) == (28, 28)
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 4:24, 10:14] = 255  # 20 x 4
    images[1, 0, 8:9, 3:23] = 200  # 1 x 20
    images[2, 0, 0, 0] = 255
    images[2, 0, 27, 27] = 10  # paler than ink
    assert image_box(images) == (20, 20)
    colour = images.repeat(1, 3, 1, 1)
    colour[:, 1:] = 0  # ink in one channel is ink
    assert image_box(colour) == (20, 20)
    tall = torch.zeros(3, 1, 40, 24, dtype=torch.uint8)
    tall[:, 0, 10:12, 3:21] = 255  # 2 of 40 x 18 of 24
    assert image_box(tall) == (30, 18)
    assert not is_light(tall)
    assert is_light(255 - tall)
    assert image_box(255 - tall) == (30, 18)


def test_a_page_holds_fewer_of_large_images() -> None:
    assert shown_images((1, 28, 28)) == 500
    assert shown_images((3, 64, 64)) * 3 * 64 * 64 <= 1_200_000


@pytest.mark.mnist
def test_the_box_of_mnist_is_the_published_one(mnist_root: str) -> None:
    """LeCun et al. 1998: the digits fit in 20 x 20 pixels."""
    data = MNISTDataModule(name="mnist", root=mnist_root)
    data.setup()
    assert image_box(data.splits["train"].images) == (20, 20)


def test_its_test_images_are_the_data_sets(runs: dict[str, Path], tmp_path: Path) -> None:
    written([runs["vae"]], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    content = json.loads(text.split('id="content">')[1].split("</script>")[0])
    png = content["sprite"].partition(",")[2]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    data = MNISTDataModule(name="digits")
    data.setup()
    known = {image.numpy().tobytes() for image in data.splits["test"].images[:, 0]}
    for index in range(len(content["labels"])):
        row, column = divmod(index, content["columns"])
        tile = sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
        assert tile.tobytes() in known
    assert len(content["labels"]) == len(content["points"]) == 300
    assert "CC BY 4.0" in text
