"""Fashion-MNIST and KMNIST, as files in their format: the same commands train and measure."""

from pathlib import Path

import pytest
from conftest import directory_of, read_metrics, train
from test_data import FILES, idx

from gen_models.data import datasets
from gen_models.data.facts import FACTS
from gen_models.data.module import MNISTDataModule


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name"), [("gan", "fashion_mnist"), ("vae", "kmnist")])
def test_the_best_models_train_on_it(
    model: str,
    name: str,
    digits: MNISTDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = datasets.SOURCES[name]._replace(train_size=1000, test_size=250, validation_size=250)
    monkeypatch.setattr(
        "gen_models.metrics.fit_classifier.LEAST_STEPS", 50
    )  # of the set's classifier
    monkeypatch.setitem(datasets.SOURCES, name, source)
    raw = tmp_path / source.folder / "raw"
    raw.mkdir(parents=True)
    train_images, test_images = digits.splits["train"], digits.splits["test"]
    for file in FILES:
        split, n = (train_images, 1000) if file.startswith("train") else (test_images, 250)
        values = split.images[:n, 0] if "images" in file else split.labels[:n]
        raw.joinpath(file).write_bytes(idx(list(values.shape), values.numpy()))
    words = [f"model={model}", f"data={name}", "phase=best", "max_epochs=2",
             "trainer.limit_train_batches=4", "trainer.accelerator=cpu", "evaluate=quick",
             f"data.root={tmp_path}", f"output_dir={tmp_path / 'runs'}"]  # fmt: skip
    train(*words)
    run = directory_of(words)
    assert run.path.parent == tmp_path / "runs" / name / f"{model}_best"
    metrics = read_metrics(run)
    assert metrics["quick/samples"] == 250
    assert {"quick/missing_classes", "val/missing_classes"} <= metrics.keys()  # not "digits"


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_classes_are_called_as_in_torchvision(name: str) -> None:
    assert list(FACTS[name].class_names) == datasets.SOURCES[name].dataset.classes
