"""An .npz file of the user's own images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gen_models.data.dataset import Dataset, changes
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError

COUNT = 150


def read_npz(path: Path, **options: Any) -> Dataset:
    return MNISTDataModule(name="own", source="npz", root=path, **options).dataset


def numbered(*shape: int) -> np.ndarray:
    """Images that say which they are."""
    each = np.arange(COUNT, dtype=np.uint8).reshape(-1, *[1] * len(shape))
    return np.broadcast_to(each, (COUNT, *shape)).copy()


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "file.npz"
    np.savez_compressed(path, **arrays)
    return path


def refusal(path: Path, **options: Any) -> str:
    """The line with which a file is refused; it names the option."""
    with pytest.raises(UserError) as caught:
        read_npz(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("data.")
    return line


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((12, 8), (1, 12, 8)), ((8, 12, 1), (1, 8, 12)), ((8, 12, 3), (3, 8, 12))],
)
def test_images_of_any_layout(
    shape: tuple[int, ...], expected: tuple[int, ...], tmp_path: Path
) -> None:
    dataset = read_npz(save(tmp_path, images=numbered(*shape)))
    assert dataset.image_shape == expected
    assert dataset.class_names == ()
    images = torch.cat([split.images for split in dataset.splits.values()])
    assert sorted(images[:, 0, 0, 0].tolist()) == list(range(COUNT))
    assert all(split.labels is None for split in dataset.splits.values())


def test_channels_come_first(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 12, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(COUNT)
    for split in read_npz(save(tmp_path, images=images)).splits.values():
        for image in split.images:
            assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(images[image[0, 0, 0]]))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint64])
def test_labels_are_any_integers(kind: type, tmp_path: Path) -> None:
    few = np.array([7, 100, 3]).astype(kind)
    labels = few[np.arange(COUNT) % 3]
    dataset = read_npz(save(tmp_path, images=numbered(8, 8), labels=labels))
    assert dataset.class_names == ("3", "7", "100")
    for images, known in dataset.splits.values():
        assert known is not None
        assert known.dtype == torch.int64
        names = [int(dataset.class_names[i]) for i in known]
        assert names == [labels[i] for i in images[:, 0, 0, 0]]


def test_an_image_stays_in_its_split_when_more_are_appended(tmp_path: Path) -> None:
    images = numbered(8, 8)
    fewer = read_npz(save(tmp_path, images=images[:140]))
    more = read_npz(save(tmp_path, images=images))
    for name, split in fewer.splits.items():
        numbers = more.splits[name].images[:, 0, 0, 0]
        assert torch.equal(numbers[numbers < 140], split.images[:, 0, 0, 0])
    assert changes(fewer.record(), more.record()) == "140 images, now 150"


def test_the_digest_is_that_of_images_and_labels(tmp_path: Path) -> None:
    images, labels = numbered(8, 8), np.arange(COUNT) % 3
    one = read_npz(save(tmp_path, images=images, labels=labels))
    again = read_npz(save(tmp_path, images=images, labels=labels, more=labels))
    assert again.digest == one.digest
    labels[0] += 1
    relabelled = read_npz(save(tmp_path, images=images, labels=labels))
    assert changes(one.record(), relabelled.record()) == "50 of 0, now 49, 50 of 1, now 51"
    images[0] += 1
    other = read_npz(save(tmp_path, images=images, labels=labels))
    assert "not the same ones" in changes(relabelled.record(), other.record())


def test_size_and_channels_are_converted(tmp_path: Path) -> None:
    path = save(tmp_path, images=numbered(16, 24, 3))
    dataset = read_npz(path, size=[8, 12], channels=1)
    assert dataset.image_shape == (1, 8, 12)
    images = torch.cat([split.images for split in dataset.splits.values()])
    assert sorted(images[:, 0, 4, 4].tolist()) == list(range(COUNT))
    grey = save(tmp_path, images=numbered(8, 8))
    assert read_npz(grey, channels=3).image_shape == (3, 8, 8)


def test_one_label_is_none_and_few_images_of_one_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = save(tmp_path, images=numbered(8, 8), labels=np.full(COUNT, 4))
    assert read_npz(same).class_names == ()
    assert "all labels are 4" in capsys.readouterr().out
    rare = save(tmp_path, images=numbered(8, 8), labels=np.arange(COUNT) // 145)
    assert read_npz(rare).class_names == ("0", "1")
    assert "1 (5)" in capsys.readouterr().out


# What is refused, in one line.


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.npz")
    assert "data=folder" in refusal(tmp_path)


def test_images_that_are_all_the_same(tmp_path: Path) -> None:
    line = refusal(save(tmp_path, images=np.zeros((300, 8, 8), np.uint8)))
    assert "its images are all the same: there is nothing to learn" in line


def test_another_file(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(b"no archive")
    assert "not an .npz" in refusal(path)
    np.save(tmp_path / "file.npy", numbered(8, 8))
    assert "np.savez" in refusal(tmp_path / "file.npy")


def test_a_damaged_file(tmp_path: Path) -> None:
    path = save(tmp_path, images=numbered(8, 8))
    content = bytearray(path.read_bytes())
    content[150:200] = bytes(50)
    path.write_bytes(content)
    assert "cannot be read" in refusal(path)


def test_no_images(tmp_path: Path) -> None:
    line = refusal(save(tmp_path, x=numbered(8, 8), y=np.arange(3)))
    assert "holds x, y, but no array `images`" in line


@pytest.mark.parametrize("kind", [np.float32, np.int64, bool, str])
def test_another_kind_of_number_is_named(kind: type, tmp_path: Path) -> None:
    images = numbered(8, 8).astype(kind)
    assert f"are {images.dtype}, (150, 8, 8): save" in refusal(save(tmp_path, images=images))


@pytest.mark.parametrize("name", ["images", "labels"])
def test_objects_are_never_unpickled(name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    arrays: dict[str, Any] = {"images": numbered(8, 8), "labels": np.zeros(COUNT, dtype=int)}
    arrays[name] = np.array([None] * COUNT)
    arrays[name][0] = Trap()
    assert "allow_pickle=False" in refusal(save(tmp_path, **arrays))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 4), (64,), (0, 8)])
def test_another_shape_is_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    line = refusal(save(tmp_path, images=numbered(*shape)))
    assert str((COUNT, *shape)) in line


def test_a_size_that_is_none(tmp_path: Path) -> None:
    path = save(tmp_path, images=numbered(30, 8))
    assert "28 or 32 instead of 30" in refusal(path)
    assert "data.size=30: " in refusal(path, size=30)
    assert refusal(path, channels=2).startswith("data.channels=2: ")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(149), "its labels are (149) for 150 images"),
        (np.zeros((150, 10), dtype=int), "its labels are (150, 10) for 150 images"),
        (np.zeros(150), "its labels are float64, expected integers"),
        (np.array([b"cat"] * 150), "expected integers"),
    ],
)
def test_other_labels_are_named(labels: np.ndarray, said: str, tmp_path: Path) -> None:
    assert said in refusal(save(tmp_path, images=numbered(8, 8), labels=labels))


def test_too_few_images_and_too_many_classes(tmp_path: Path) -> None:
    assert "1 image leaves" in refusal(save(tmp_path, images=numbered(8, 8)[:1]))
    many = np.zeros((1001, 8, 8), dtype=np.uint8)
    assert "1,001 classes" in refusal(save(tmp_path, images=many, labels=np.arange(1001)))


def test_a_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, images=numbered(8, 8))
    monkeypatch.setattr("gen_models.data.npz.memory_limit", lambda: 100)
    assert "data=folder" in refusal(path)
