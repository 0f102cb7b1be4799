"""Pictures are drawn in our own style, and one that fails fails nothing else."""

import logging
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from conftest import Trained, read_metrics
from matplotlib.figure import Figure

from gen_models import figures
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.measure import Effort

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
    grid = figures.tile(rng.integers(0, 255, (4, 28, 28), dtype=np.uint8), 2)
    series = {"train/loss": ([1, 2, 3], [3.0, 2.0, 1.0]), "val/loss": ([2], [2.5])}
    points, labels = rng.normal(size=(20, 2)), np.arange(20) % 10
    made = {
        "picture": figures.picture(grid, title="a_title", row_labels=["unit 1", "unit 2"]),
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
