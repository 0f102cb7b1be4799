"""CIFAR-10 and SVHN as files in their format, and the sets that need no download."""

import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from gen_models.data import datasets
from gen_models.data.dataset import Dataset, changes
from gen_models.data.facts import FACTS
from gen_models.data.module import MNISTDataModule
from gen_models.data.packaged import coloured, hues, load_mnist5k
from gen_models.errors import UserError

TRAIN, TEST, HELD_OUT = 20, 8, 6


def images(count: int, first: int) -> np.ndarray:
    """(n, 3, 32, 32): each says which it is, and its channels differ."""
    numbers = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(numbers, (count, 3, 32, 32)) + np.uint8([[[0]], [[100]], [[200]]])


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(params=["cifar10", "svhn"])
def small_set(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A data set of 20 + 8 images in torchvision's layout, whose MD5s torchvision knows."""
    name: str = request.param
    source = datasets.SOURCES[name]._replace(validation_size=HELD_OUT)
    monkeypatch.setitem(datasets.SOURCES, name, source)
    root = tmp_path / "data"
    root.mkdir()
    (write_cifar if name == "cifar10" else write_svhn)(root, source.dataset, monkeypatch)
    return name, root


def write_cifar(root: Path, cifar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / cifar.base_folder
    folder.mkdir()
    sums = {}
    for i, (file, _) in enumerate([*cifar.train_list, *cifar.test_list]):
        count, first = (4, 4 * i) if i < 5 else (TEST, TRAIN)
        labels = [n % 10 for n in range(first, first + count)]
        content = {"data": images(count, first).reshape(count, -1), "labels": labels}
        (folder / file).write_bytes(pickle.dumps(content))
        sums[file] = md5(folder / file)
    meta = folder / cifar.meta["filename"]
    meta.write_bytes(pickle.dumps({"label_names": list(FACTS["cifar10"].class_names)}))
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(cifar, name, [[file, sums[file]] for file, _ in getattr(cifar, name)])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": md5(meta)})


def write_svhn(root: Path, svhn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = dict(svhn.split_list)
    for split, count, first in (("train", TRAIN, 0), ("test", TEST, TRAIN)):
        url, file, _ = splits[split]
        labels = np.array([n % 10 or 10 for n in range(first, first + count)])  # ten: a zero
        content = {"X": images(count, first).transpose(2, 3, 1, 0), "y": labels[:, None]}
        savemat(root / file, content)
        splits[split] = [url, file, md5(root / file)]
    monkeypatch.setattr(svhn, "split_list", splits)


def check(dataset: Dataset) -> None:
    sizes = {name: len(split.images) for name, split in dataset.splits.items()}
    assert sizes == {"train": TRAIN - HELD_OUT, "validation": HELD_OUT, "test": TEST}
    assert dataset.splits["test"].images[:, 0, 0, 0].tolist() == list(range(TRAIN, TRAIN + TEST))
    seen = []
    for pictures, labels in dataset.splits.values():
        numbers = pictures[:, 0, 0, 0].long()
        assert torch.equal(pictures, torch.from_numpy(images(256, 0))[numbers])
        assert labels is not None
        assert labels.dtype == torch.int64
        assert torch.equal(labels, numbers % 10)
        seen += numbers.tolist()
    assert sorted(seen) == list(range(TRAIN + TEST))
    assert dataset.digest == ""


@pytest.mark.parametrize("below", ["", "{name}"])
def test_files_on_disk_are_used_without_network(
    below: str, small_set: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, root = small_set
    if below:
        inside = root / datasets.SOURCES[name].dataset.__name__
        shutil.copytree(root, root.parent / "copy")
        shutil.rmtree(root)
        root.mkdir()
        (root.parent / "copy").rename(inside)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))
    datasets.download(name, root)
    dataset = datasets.load(name, root)
    check(dataset)
    assert dataset.image_shape == FACTS[name].image_shape == (3, 32, 32)
    assert dataset.class_names == FACTS[name].class_names


@pytest.mark.parametrize("which", [0, -2])
def test_a_file_that_is_not_the_published_one_is_named_and_not_opened(
    which: int, small_set: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, root = small_set
    path = root / datasets.SOURCES[name].files[which]
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(UserError) as caught:
        datasets.load(name, root)
    assert str(caught.value).startswith(f"{root}: ")
    assert "not the published ones" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failed_download_leaves_nothing_and_names_the_ways_out(
    small_set: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    name, root = small_set
    path = root / datasets.SOURCES[name].files[-1]
    path.unlink()
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        datasets.download(name, root)
    line = str(caught.value)
    assert line.startswith(f"{name}: there is no {path}, and it could not be downloaded (")
    assert "GEN_MODELS_DATA" in line
    assert "data=color_mnist" in line
    assert "\n" not in line
    assert sorted(root.parent.rglob("*")) == before
    with pytest.raises(UserError, match=f"^there is no {path}"):
        datasets.load(name, root)


@pytest.mark.parametrize("small_set", ["cifar10"], indirect=True)
def test_an_archive_in_the_folder_is_unpacked_without_network(
    small_set: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, root = small_set
    cifar = datasets.SOURCES[name].dataset
    archive = root / cifar.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / cifar.base_folder, cifar.base_folder)
    monkeypatch.setattr(cifar, "tgz_md5", md5(archive))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))
    shutil.rmtree(root / cifar.base_folder)
    datasets.download(name, root)
    check(datasets.load(name, root))
    assert sorted(path.name for path in root.iterdir()) == [cifar.base_folder, cifar.filename]
    assert archive.is_file()
    assert not archive.is_symlink()


# Without a download.


@pytest.fixture(scope="module")
def mnist5k() -> Dataset:
    return load_mnist5k()


def test_mnist5k_has_as_many_images_of_each_digit(mnist5k: Dataset) -> None:
    assert mnist5k.image_shape == (1, 28, 28)
    assert mnist5k.class_names == tuple("0123456789")
    sizes = {"train": 400, "validation": 50, "test": 50}
    for name, (pictures, labels) in mnist5k.splits.items():
        assert labels is not None
        assert pictures.dtype == torch.uint8
        assert torch.bincount(labels).tolist() == [sizes[name]] * 10
        assert labels[:10].tolist() == list(range(10))
    every = torch.cat([split.images for split in mnist5k.splits.values()])
    assert len({image.numpy().tobytes() for image in every}) == 5000
    assert abs(every.float().mean().item() / 255 - 0.1307) < 0.002  # MNIST's mean


def test_mnist5k_is_what_its_package_says(mnist5k: Dataset) -> None:
    """The split never moves: the held-out images are part of what every metric means."""
    first = mnist5k.splits["validation"].images[:2]
    assert first.sum((1, 2, 3)).tolist() == [34652, 15505]


def test_each_digit_has_a_colour_of_its_own(mnist5k: Dataset) -> None:
    one, other = (coloured(mnist5k, "mnist5k") for _ in "ab")
    assert one.image_shape == FACTS["color_mnist"].image_shape == (3, 28, 28)
    for name, (pictures, labels) in one.splits.items():
        grey = mnist5k.splits[name]
        assert pictures.dtype == torch.uint8
        assert torch.equal(pictures, other.splits[name].images)
        assert labels is grey.labels
        assert torch.equal(pictures.amax(1, keepdim=True) > 0, grey.images > 0)
        assert (pictures.amax(1, keepdim=True).int() - grey.images.int()).abs().max() == 0
        brightest = pictures.flatten(2).amax(2)  # (n, 3): the colour
        assert ((brightest.amax(1) - brightest.amin(1)) > 150).float().mean() > 0.95
    brightest = hues("x", 3000).argmax(1)
    assert (torch.bincount(brightest) > 900).all()  # as many are red as green or blue


def test_colours_are_those_of_the_hue_circle() -> None:
    import colorsys

    for colour_of_one in hues("y", 50).tolist():
        hue, saturation, value = colorsys.rgb_to_hsv(*colour_of_one)
        assert saturation == pytest.approx(0.8, abs=1e-5)
        assert value == pytest.approx(1)
    assert 0 <= hue <= 1


def test_color_mnist_is_made_of_mnist_where_that_is_on_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mnist5k: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(datasets, "load_mnist5k", lambda: mnist5k)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))
    datasets.download("color_mnist", tmp_path)
    without = datasets.load("color_mnist", tmp_path)
    assert "mnist5k" in capsys.readouterr().out
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in datasets.FILES:
        (raw / file).write_bytes(b"")
    ones = lambda source, paths, number, *shape: torch.ones(shape)  # noqa: E731
    monkeypatch.setattr(datasets.Source, "_read_file", ones)
    source = datasets.SOURCES["mnist"]._replace(train_size=20, test_size=6, validation_size=6)
    monkeypatch.setitem(datasets.SOURCES, "mnist", source)
    found = datasets.load("color_mnist", tmp_path)
    assert capsys.readouterr().out == ""
    assert len(found.splits["train"].images) == 14
    assert "5,000 images, now 26" in changes(without.record(), found.record())


def test_which_images_are_coloured_is_part_of_the_name_under_which_things_are_kept(
    monkeypatch: pytest.MonkeyPatch, mnist5k: Dataset
) -> None:
    keys = []
    for base in ("mnist", "mnist5k"):
        data = MNISTDataModule(name="color_mnist")
        monkeypatch.setattr(datasets, "load", lambda *_, base=base: coloured(mnist5k, base))
        keys.append(data.key)
    assert keys[0] != keys[1]
    monkeypatch.undo()
    assert MNISTDataModule(name="mnist5k").key == "mnist5k"


def test_every_data_set_has_facts_that_hold() -> None:
    assert set(FACTS) == {*datasets.SOURCES, "digits", "mnist5k", "color_mnist"}
    for facts in FACTS.values():
        assert facts.title
        assert facts.authors
        assert facts.licence
