"""Pictures are drawn in our own style, and one that fails fails nothing else."""

import logging
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from conftest import Trained, read_metrics
from matplotlib.figure import Figure
from PIL import Image
from synthetic import make_run

from gen_models import figures
from gen_models.evaluation import pictures
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.measure import Effort
from gen_models.evaluation.reference import Reference
from gen_models.figures import as_bytes
from gen_models.metrics.fit_classifier import untrained_classifier
from gen_models.models.vae import VAE

pytestmark = pytest.mark.usefixtures("_real_pictures")
OF_THE_USER = {  # in a matplotlibrc
    "text.usetex": True,
    "font.size": 40.0,
    "axes.facecolor": "black",
    "savefig.bbox": "tight",
    "savefig.transparent": True,
}


def drawn(folder: Path) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 28, 28), dtype=np.uint8)
    series = {"train/loss": ([1, 2, 3], [3.0, 2.0, 1.0]), "val/loss": ([2], [2.5])}
    points, labels = rng.normal(size=(20, 2)), np.arange(20) % 10
    made = {
        "picture": figures.picture(images, 2, title="a_title", row_labels=["unit 1", "unit 2"]),
        "curves": figures.curves(series, title="100 %"),
        "scatter": figures.scatter(points, labels, axis_labels=("a", "b"), title="points"),
    }
    for name, figure in made.items():
        figures.save(figure, folder / f"{name}.png")
    return {name: (folder / f"{name}.png").read_bytes() for name in made}


def test_each_image_stands_above_its_partner_and_the_rest_is_grey() -> None:
    above = np.arange(1, 6, dtype=np.uint8).reshape(5, 1, 1)
    pairs = figures.tile_pairs(above, above + 10, columns=3)
    assert pairs[1::2, 1::2].tolist() == [[1, 2, 3], [11, 12, 13], [4, 5, 128], [14, 15, 128]]
    assert (pairs[::2] == 128).all()
    assert (pairs[:, ::2] == 128).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 40, 24), (3, 8, 8), (3, 32, 64)])
def test_a_grid_of_any_shape_holds_its_images(shape: tuple[int, int, int]) -> None:
    """Grey is one channel without an axis of its own, in every grid."""
    channels, height, width = shape
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    pixels = as_bytes(images).numpy()
    assert pixels.shape == (5, height, width, *[3] * (channels == 3))
    assert np.allclose(pixels[1, 2, 3] / 255, images[1, :, 2, 3].numpy(), atol=0.002)
    grid = figures.tile(pixels, 2)
    assert grid.shape[:2] == (3 * (height + 1) + 1, 2 * (width + 1) + 1)
    assert np.array_equal(grid[height + 2 : 2 * height + 2, width + 2 : -1], pixels[3])
    pairs = figures.tile_pairs(pixels, 255 - pixels, 3)
    assert np.array_equal(pairs[1 : height + 1, 1 : width + 1], pixels[0])
    assert np.array_equal(pairs[height + 2 : 2 * height + 2, 1 : width + 1], 255 - pixels[0])
    for each in (grid, pairs):
        assert (each[[0, -1]] == figures.GREY).all()
        assert (each[-height - 1 :, -width - 1 :] == figures.GREY).all()  # no image there


@pytest.mark.parametrize("side", [(28, 28), (8, 8), (64, 64), (40, 24), (64, 8), (8, 64)])
def test_no_grid_is_much_wider_or_narrower_than_mnists(side: tuple[int, int]) -> None:
    images = np.zeros((100, *side), np.uint8)
    columns, times = figures.columns_for(images, 10), figures.zoom_for(images, 4)
    grid = figures.tile(images, columns)
    assert 950 < times * grid.shape[1] < 2650
    assert 950 < times * grid.shape[0] < 2650
    if side == (28, 28):
        assert (columns, times) == (10, 4)


def test_points_with_and_without_classes(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    files = {}
    for name, labels, class_names in (
        ("none", None, ()),
        ("numbers", np.arange(40) % 4, ()),
        ("short", np.arange(40) % 4, ["0", "1", "2", "3"]),
        ("names", np.arange(40) % 4, ["cat", "$x_{", "_hidden", "a" * 300]),
        ("many", np.arange(40) * 25, [f"c{i}" for i in range(1000)]),
    ):
        figure = figures.scatter(
            points, labels, axis_labels=("x", "y"), title=name[:1], class_names=class_names
        )
        figures.save(figure, tmp_path / f"{name}.png")
        files[name] = [len(figure.axes), len(figure.axes[0].collections), len(figure.legends)]
    assert files == {
        "none": [1, 1, 0],
        "numbers": [1, 4, 0],
        "short": [1, 4, 0],
        "names": [1, 4, 1],
        "many": [2, 1, 0],  # with a bar of colors
    }


@pytest.mark.parametrize("shape", [(1, 40, 24), (3, 8, 8)])
def test_the_pictures_of_an_evaluation_without_labels(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    run, (height, width) = make_run(tmp_path, "model=vae"), shape[1:]
    size = (height, width, 3) if shape[0] == 3 else (height, width)
    rng = np.random.default_rng(0)
    arrays = {
        "pictures_test": rng.integers(0, 255, (6, *size), dtype=np.uint8),
        "pictures_recreated": rng.integers(0, 255, (6, *size), dtype=np.uint8),
        "pictures_interpolation": rng.integers(0, 255, (2, 3, *size), dtype=np.uint8),
        "pictures_traversal": rng.integers(0, 255, (2, 4, *size), dtype=np.uint8),
        "traversal_values": np.arange(4.0),
        "traversal_units": np.arange(2),
        "latent_map": rng.normal(size=(6, 2)),
        "latent_map_shares": np.array([0.5, 0.2]),
    }
    pictures.write_figures(run, arrays, class_names=())
    made = {path.stem for path in run.figures.iterdir()}
    assert made == {"recreated", "interpolation", "traversal", "latent_map"}
    model = VAE(latent_dim=3, encoder_dims=[8], image_shape=shape, classes=0)
    images = torch.rand(7, *shape)
    real = Reference(
        train=images,
        validation=images,
        test=images,
        labels=None,
        train_labels=None,
        class_names=(),
        classifier=untrained_classifier(images),
    )
    pictures.write_projector(run, model, real)
    (sprite,) = (run.path / "projector").rglob("sprite.png")
    with Image.open(sprite) as image:
        assert image.size == (3 * max(height, width), 3 * max(height, width))
    assert not [*(run.path / "projector").rglob("metadata.tsv")]


def test_the_users_matplotlibrc_changes_no_picture(tmp_path: Path) -> None:
    expected = drawn(tmp_path)
    with matplotlib.rc_context(OF_THE_USER):
        assert drawn(tmp_path) == expected
        assert matplotlib.rcParams["font.size"] == 40  # and it is left as it was


def test_a_picture_that_fails_is_a_warning(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is trained, measured and done."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to process string with tex\nbecause latex could not be found")

    monkeypatch.setattr(Figure, "savefig", fail)
    monkeypatch.setattr("gen_models.training.reporting.write_film", fail)
    monkeypatch.setattr("gen_models.evaluation.pictures.SummaryWriter", fail)
    with caplog.at_level(logging.WARNING):
        run = trained("model=vae", epochs=1)
        assert run.read_status()["status"] == "done"
        evaluate_run(run.path, effort=Effort(1, 2, 2, 2), say=print)
    assert "evaluation" in run.read_status()
    assert "fid_lenet" in read_metrics(run)
    warned = [record.getMessage() for record in caplog.records]
    names = ["data.png", "samples.png", "reconstructions.png", "curves.png", "training.webp",
             "recreated.png", "interpolation.png", "traversal.png", "latent_map.png",
             "projector"]  # fmt: skip
    assert len(warned) == len(names)
    for line, name in zip(warned, names, strict=True):
        assert f"{name}: could not be drawn (Failed to process string with tex)" in line
    assert "samples.png: could not be drawn" in run.log.read_text(encoding="utf-8")
