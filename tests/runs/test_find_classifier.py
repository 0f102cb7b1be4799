"""Where the classifier of a data set is kept, if it does not come with the package."""

from pathlib import Path

import pytest
import torch
from test_cli import call

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.classifier import (
    WEIGHTS,
    Classifier,
    cached_path,
    classifier_path,
    load_classifier,
)
from gen_models.runs import classifier
from gen_models.runs.classifier import find_classifier, make_classifier


@pytest.fixture(autouse=True)
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings of a classifier, for none comes with the package; none takes time."""
    monkeypatch.setattr("gen_models.metrics.classifier.WEIGHTS", tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "_in_memory", {})
    shipped, names = load_classifier(WEIGHTS / "digits"), list[str]()

    def train(splits: object, *, name: str, classes: int, seed: int, on_step: object) -> Classifier:
        names.append(name)
        return Classifier(shipped.network, shipped.record | {"seed": seed})

    monkeypatch.setattr(classifier, "train_classifier", train)
    return names


@pytest.fixture
def data(tmp_path: Path) -> MNISTDataModule:
    """In a folder that can be written."""
    datamodule = MNISTDataModule(name="digits", root=tmp_path / "data", batch_size=32)
    datamodule.setup()
    return datamodule


@pytest.fixture
def closed(data: MNISTDataModule) -> MNISTDataModule:
    """In a folder that cannot: where the classifiers belong there is a file."""
    data.root.mkdir()
    (data.root / "classifiers").write_bytes(b"")
    return data


def test_it_is_kept_with_the_data(data: MNISTDataModule, trainings: list[str]) -> None:
    for _ in range(2):
        find_classifier(data, print)
    assert trainings == ["digits"]
    assert classifier_path("digits", data.root) == data.root / "classifiers" / "digits"


def test_where_the_folder_of_the_data_cannot_be_written_it_is_kept_in_the_cache(
    closed: MNISTDataModule, trainings: list[str], tmp_path: Path
) -> None:
    said: list[str] = []
    find_classifier(closed, said.append)
    assert said[0] == f"{closed.root / 'classifiers'}: cannot be written"
    cached = cached_path("digits", closed.root)
    assert cached is not None
    assert cached.is_relative_to(tmp_path / "cache")
    assert f"training a classifier for digits: {cached}.safetensors" in said[1]
    assert classifier_path("digits", closed.root) == cached
    assert find_classifier(closed, said.append).record["data"] == "digits"
    assert trainings == ["digits"]
    assert cached_path("digits", tmp_path / "elsewhere") != cached
    assert [path.name for path in closed.root.iterdir()] == ["classifiers"]


def test_a_damaged_one_in_the_cache_is_trained_anew_and_said(
    closed: MNISTDataModule, trainings: list[str]
) -> None:
    find_classifier(closed, print)
    file = classifier_path("digits", closed.root).with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    said: list[str] = []
    find_classifier(closed, said.append)
    assert said[0].startswith(str(file))
    assert said[0].endswith("trained anew")
    assert trainings == ["digits"] * 2
    find_classifier(closed, print)
    assert trainings == ["digits"] * 2


@pytest.mark.parametrize("cache", ["a file", "none", "full"])
def test_what_can_be_kept_nowhere_is_used_and_not_lost(
    cache: str,
    closed: MNISTDataModule,
    trainings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cache == "a file":
        (tmp_path / "cache").write_bytes(b"")
    elif cache == "none":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("os.path.expanduser", lambda path: str(path))  # an id without a name
    else:

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(classifier, "save_classifier", fail)
    said: list[str] = []
    first = find_classifier(closed, said.append)
    again = find_classifier(closed, said.append)
    assert trainings == ["digits"]
    assert again.network is not first.network  # each is moved to its user's device
    images = closed.splits["test"].images
    assert torch.equal(again.read(images).features, first.read(images).features)
    expected = "No space left on device" if cache == "full" else "it can be kept nowhere"
    assert any(expected in line for line in said)


def test_a_command_that_could_keep_nothing_says_so_before_it_trains(
    closed: MNISTDataModule, trainings: list[str], tmp_path: Path
) -> None:
    arguments = ["train-classifier", "--data", "digits", "--data-root", closed.root]
    for options in ([], ["--output", closed.root / "classifiers" / "mine"]):
        (tmp_path / "cache").touch()
        code, text = call(*arguments, *options)
        assert code == 1
        assert text.splitlines()[-1].startswith("--output: ")
    assert trainings == []


def test_one_that_knows_little_is_said(
    data: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_classifier(WEIGHTS / "digits")
    record = shipped.record | {"test_accuracy": 0.31}
    poor = Classifier(shipped.network, record)
    monkeypatch.setattr(classifier, "train_classifier", lambda *_, **__: poor)
    for _ in range(2):  # trained, and read
        said: list[str] = []
        assert find_classifier(data, said.append).classes == 0  # it is not used
        assert "its classifier knows only 31 % of the test images" in said[-1]


def test_the_classifier_of_a_run_sees_no_validation_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    shipped = load_classifier(WEIGHTS / "digits")

    def train(splits: dict[str, object], **_: object) -> Classifier:
        sizes.append(len(splits["train"].images))  # type: ignore[attr-defined]
        return shipped

    monkeypatch.setattr(classifier, "train_classifier", train)
    both = MNISTDataModule(name="digits", root=tmp_path, train_on_validation=True)
    both.setup()
    find_classifier(both, print)
    make_classifier("digits", root=tmp_path, seed=1, say=print)
    assert sizes == [1297, 1297]
