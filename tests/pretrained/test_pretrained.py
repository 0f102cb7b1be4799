"""Trained models that come with the package: their names, their images, their cards."""

import html
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Trained
from synthetic import make_run
from test_cli import call
from torch import Tensor

import gen_models
from gen_models.data.module import load_data
from gen_models.errors import UserError
from gen_models.evaluation.cost import trained_parameters
from gen_models.evaluation.measure import draw_evaluated
from gen_models.export.export import export_run
from gen_models.files import read_json
from gen_models.metrics.classifier import WEIGHTS, Classifier, load_classifier
from gen_models.metrics.distribution import frechet_distance
from gen_models.models.interface import draw, draw_fixed
from gen_models.models.vae import VAE
from gen_models.places import PRETRAINED
from gen_models.pretrained import make
from gen_models.pretrained.catalogue import find_run, list_models, names, page_models
from gen_models.runs.weights import load_model, save_model
from gen_models.seeding import generator

NAMES = names()
MOST = 4_000_000  # bytes, all files together
SAME = 0.02  # of a distance: processors round differently


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(WEIGHTS / "mnist")


def test_they_are_listed_and_small() -> None:
    assert {"mnist/gan_best", "mnist/vae_best"} <= set(NAMES)
    code, text = call("models")
    assert code == 0
    assert all(name in text for name in NAMES)
    for model in list_models():
        assert f"{model.parameters:,}" in text
        assert f"{model.distance:.2f}" in text
        assert model.real < model.distance < 2  # the best of their family
    assert sum(file.stat().st_size for file in PRETRAINED.rglob("*/*/*")) <= MOST


@pytest.mark.parametrize("name", NAMES)
def test_each_is_loaded_in_float32_and_ready_to_draw(name: str) -> None:
    model = gen_models.load_pretrained(name)
    assert not model.training
    tensors = [*model.parameters(), *model.buffers()]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}
    assert not any(weight.requires_grad for weight in model.parameters())
    images = model.sample(3)
    assert images.shape == (3, 1, 28, 28)
    assert 0 <= images.min() < images.max() <= 1


@pytest.fixture(scope="module")
def real(classifier: Classifier) -> list[Tensor]:
    """Features of twice 1,000 real images, a hundred of each digit, that need no download."""
    images = load_data({"name": "mnist5k"}).splits["train"].images[:2000]
    return [classifier.read(some).features for some in images.split(1000)]


@pytest.mark.parametrize("name", NAMES)
def test_each_draws_good_images_of_the_digit_that_is_asked_for(
    name: str, classifier: Classifier, real: list[Tensor]
) -> None:
    """The distance of so few images is larger than the card's: that of real ones is too."""
    labels = torch.arange(1000) % 10
    model = gen_models.load_pretrained(name)
    images = draw(model, 1000, lambda start: generator("shipped", start), labels)
    features, logits = classifier.read(images)
    assert logits is not None
    assert (logits.argmax(1) == labels).double().mean() > 0.95
    assert frechet_distance(real[0], features) < frechet_distance(*real) + 1.2


@pytest.mark.mnist
@pytest.mark.parametrize("name", NAMES)
def test_the_distance_is_that_of_the_card(
    name: str, classifier: Classifier, mnist_root: str
) -> None:
    real = load_data({"name": "mnist"}, mnist_root).splits["test"].images
    images = draw_evaluated(gen_models.load_pretrained(name), len(real))
    distance = frechet_distance(*(classifier.read(some).features for some in (real, images)))
    folder = PRETRAINED / name
    assert distance == pytest.approx(read_json(folder / "metrics.json")["fid_lenet"], abs=SAME)
    (row,) = (
        line for line in (folder / "README.md").read_text().splitlines() if "| `fid_l" in line
    )
    assert distance == pytest.approx(float(row.split("|")[3]), abs=SAME + 0.005)


def test_a_wrong_name_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Did you mean mnist/gan_best\?"):
        gen_models.load_pretrained("mnist/gan_bets")
    with pytest.raises(UserError, match="There are: .*mnist/vae_best"):
        gen_models.load_pretrained("imagenet")
    for command in ("sample", "explore", "export"):
        code, text = call(command, "mnist/gan_bets", "--output", tmp_path / "x.png")
        assert (code, text.count("\n")) == (1, 1)
        assert "Did you mean mnist/gan_best?" in text


def test_what_a_shipped_model_cannot_do_says_how_it_can(tmp_path: Path) -> None:
    code, text = call("export", "mnist/vae_best", "--output", tmp_path / "exported")
    assert (code, text.count("\n")) == (1, 1)
    assert "copy it to COPY and run `gen-models fit-sampler COPY --remove` and" in text
    with pytest.raises(UserError, match=r'load_pretrained\("mnist/gan_best"\) loads the model'):
        load_model("mnist/gan_best")


def test_a_directory_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path("mnist/gan_best")
    assert find_run(name) == PRETRAINED / name
    monkeypatch.chdir(tmp_path)
    name.mkdir(parents=True)
    assert find_run(name) == name


def test_a_name_is_taken_for_a_run(tmp_path: Path) -> None:
    output = tmp_path / "sevens.npy"
    code, text = call("sample", "mnist/vae_best", "--digit", 7, "--count", 5, "--output", output)
    assert code == 0
    assert "gmm" in text
    assert np.load(output).shape == (5, 28, 28)
    output = tmp_path / "pairs.png"
    assert call("reconstruct", "mnist/vae_best", "--count", 4, "--output", output)[0] == 0
    assert output.exists()


@pytest.mark.parametrize("command", [["evaluate"], ["fit-sampler"], ["fit-sampler", "--remove"]])
def test_nothing_changes_them(command: list[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in PRETRAINED.rglob("*/*/*")}
    code, text = call(*command, "mnist/vae_best")
    assert (code, text.count("\n")) == (1, 1)
    assert "copy the folder" in text
    assert {file: file.stat().st_mtime_ns for file in PRETRAINED.rglob("*/*/*")} == before


@pytest.mark.slow
def test_explore_opens_a_page_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second replaces the first
        assert call("explore")[0] == 0
    page = tmp_path / "gen-models.html"
    assert opened == 2 * [page.as_uri()]
    text = html.unescape(page.read_text())
    assert "trained on the same images: MNIST." in text
    assert "VAE best draws new images with its sampler (gmm-" in text
    assert "saw most of them in training, as part of MNIST." in text
    own = make_run(tmp_path / "own", "model=vae", "data=mnist5k")
    save_model(own, VAE())
    code, _ = call("explore", own.path, "mnist/gan_best", "--output", tmp_path / "mixed.html")
    assert code == 0
    assert "GAN best saw most of them" in html.unescape((tmp_path / "mixed.html").read_text())
    assert len(opened) == 2


@pytest.mark.slow
def test_one_is_made_from_a_run(copied: Trained, tmp_path: Path) -> None:
    """The smaller model draws the same images: the generator's moving average takes its place."""
    run = copied("model=gan", "phase=best", "model.conditional=true", "evaluate=quick")
    folder = tmp_path / "models"
    make.make_pretrained(run.path, folder)
    place = folder / "digits" / "gan_best"
    whole, small = load_model(run.path), load_model(place)
    for weight in whole.parameters():
        weight.data = weight.data.half().float()
    assert torch.equal(draw_fixed(whole, 20), draw_fixed(small, 20))
    assert small.left_out == ("discriminator",)
    assert not hasattr(small, "discriminator")
    assert trained_parameters(small) == trained_parameters(whole)
    assert str(tmp_path) not in (place / "config.yaml").read_text()
    assert "fid_lenet" in read_json(place / "metrics.json")
    export_run(place, kind="torch", output=tmp_path / "exported", say=lambda line: None)


def test_the_page_shows_three_at_most() -> None:
    assert 2 <= len(page_models()) <= 3
