"""A folder of the user's own pictures."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen_models.data import cache, folder
from gen_models.data.dataset import Dataset, changes
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError

COUNT = 130  # with these names, enough for each split


def draw(i: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """A picture of one colour that says which it is."""
    colour = (i % 256, 255 - i % 256, 7) if mode == "RGB" else i % 256
    return Image.new(mode, size, colour)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """130 small pictures in colour, in a flat folder."""
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(COUNT):
        draw(i).save(root / f"{i:03}.png")
    return root


@pytest.fixture
def classes(pictures: Path) -> Path:
    """The same in two class folders: even numbers are cats, the others dogs."""
    for name in ("cats", "dogs"):
        (pictures / name).mkdir()
    for i, path in enumerate(sorted(pictures.glob("*.png"))):
        path.rename(pictures / ("dogs" if i % 2 else "cats") / path.name)
    return pictures


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def read_folder(root: Path, **options: Any) -> Dataset:
    return MNISTDataModule(name="own", source="folder", root=root, **options).dataset


def values(dataset: Dataset) -> dict[str, list[int]]:
    """The numbers of the pictures of each split, from their first channel."""
    return {name: s.images[:, 0, 0, 0].tolist() for name, s in dataset.splits.items()}


def refusal(root: Path, **options: Any) -> str:
    """The line with which a folder is refused; it names the option."""
    with pytest.raises(UserError) as caught:
        read_folder(root, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("data.")
    return line


# What is read.


def test_a_flat_folder_has_no_labels(pictures: Path) -> None:
    dataset = read_folder(pictures)
    assert dataset.image_shape == (3, 8, 8)
    assert dataset.class_names == ()
    assert all(split.labels is None for split in dataset.splits.values())
    assert sorted(sum(values(dataset).values(), [])) == list(range(COUNT))
    assert 0.7 * COUNT <= len(dataset.splits["train"].images) <= 0.9 * COUNT


def test_class_folders_give_labels_however_deep_the_pictures_lie(classes: Path) -> None:
    (classes / "dogs" / "deeper").mkdir()
    (classes / "dogs" / "001.png").rename(classes / "dogs" / "deeper" / "001.png")
    (classes / "README.txt").write_text("no picture")
    (classes / "empty").mkdir()
    dataset = read_folder(classes)
    assert dataset.class_names == ("cats", "dogs")
    for images, labels in dataset.splits.values():
        assert labels is not None
        assert labels.dtype == torch.int64
        assert torch.equal(images[:, 0, 0, 0] % 2, labels)


def test_one_folder_in_the_folder_is_no_class(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_folder(pictures.parent).class_names == ()
    assert "one folder" in capsys.readouterr().out


def test_a_picture_stays_in_its_split_when_others_come_and_go(pictures: Path) -> None:
    before = read_folder(pictures)
    (pictures / "003.png").unlink()
    for i in range(200, 240):
        draw(i).save(pictures / f"new{i}.png")
    after = read_folder(pictures)
    for name, numbers in values(before).items():
        assert [i for i in values(after)[name] if i < 200] == [i for i in numbers if i != 3]
    assert before.digest != after.digest
    assert changes(before.record(), after.record()).startswith("1 picture fewer: 003.png; 40 pict")


def test_a_copy_elsewhere_is_the_same_data(pictures: Path, tmp_path: Path) -> None:
    one = read_folder(pictures)
    copy = pictures.rename(tmp_path / "moved")
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    other = read_folder(copy)
    assert one.digest == other.digest
    assert changes(one.record(), other.record()) == ""


def test_a_changed_picture_is_named(pictures: Path) -> None:
    before = read_folder(pictures)
    draw(77).save(pictures / "005.png")
    after = read_folder(pictures)
    assert changes(before.record(), after.record()) == "1 picture changed: 005.png"


# How a picture is read.


def one(root: Path, image: Image.Image, name: str = "x.png", **options: Any) -> torch.Tensor:
    """The only training image that is not plain, (c, h, w); `keep` says how it is saved."""
    keep = options.pop("keep", {})
    image.save(root / name, **keep)
    options = {"size": 8} | options
    images = read_folder(root, **options)
    assert images.pictures is not None
    assert name in images.pictures
    every = torch.cat([split.images for split in images.splits.values()])
    plain = (every.flatten(2) == every.flatten(2)[..., :1]).all(2).all(1)
    assert (~plain).sum() == 1
    return every[~plain][0]


def half(mode: str, left: Any, right: Any, size: tuple[int, int] = (8, 8)) -> Image.Image:
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def test_exif_turns_a_picture(pictures: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    image = one(pictures, half("RGB", "red", "blue", (16, 16)), keep={"exif": exif})
    assert image[0, 0].tolist() == [255] * 8
    assert image[2, 7].tolist() == [255] * 8


def test_transparency_is_white(pictures: Path) -> None:
    image = one(pictures, half("RGBA", (0, 0, 0, 0), (10, 20, 30, 255)))
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 0, 7].tolist() == [10, 20, 30]


def test_a_palette_with_transparency(pictures: Path) -> None:
    image = half("P", 0, 1)
    image.putpalette([0, 0, 0, 40, 50, 60])
    pixels = one(pictures, image, keep={"transparency": b"\0\xff"})
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 0, 7].tolist() == [40, 50, 60]


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    for i in range(COUNT):
        pixels = np.full((8, 8), i * 257, dtype=np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    dataset = read_folder(tmp_path)
    assert dataset.image_shape == (1, 8, 8)
    assert sorted(sum(values(dataset).values(), [])) == list(range(COUNT))


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.webp", "x.bmp"])
def test_other_formats(name: str, pictures: Path) -> None:
    image = one(pictures, half("RGB", "red", "blue", (64, 64)), name)
    assert image[0, 4, 1] > 240
    assert image[2, 4, 6] > 240


def test_the_centre_is_cut_out_with_antialiasing(pictures: Path) -> None:
    stripes = np.zeros((64, 128, 3), dtype=np.uint8)
    stripes[:, 32:96:2] = 255  # the centre is grey from afar, and its borders are black
    image = one(pictures, Image.fromarray(stripes), size=[8, 12]).float()
    assert image.shape == (3, 8, 12)
    assert (image[:, :, 2:-2] - 127.5).abs().max() < 20
    assert image[:, :, :1].max() < 20


# Channels.


def grey_folder(root: Path) -> Path:
    root.mkdir()
    for i in range(COUNT):
        draw(i, mode="L").convert("L" if i % 2 else "RGB").save(root / f"{i}.png")
    return root


def test_grey_pictures_have_one_channel_though_some_are_saved_in_colour(tmp_path: Path) -> None:
    assert read_folder(grey_folder(tmp_path / "grey")).image_shape == (1, 8, 8)


def test_one_picture_in_colour_makes_three_channels(tmp_path: Path) -> None:
    root = grey_folder(tmp_path / "grey")
    grey = read_folder(root)
    draw(9).save(root / "last.png")
    dataset = read_folder(root)
    assert dataset.image_shape == (3, 8, 8)
    every = torch.cat([split.images for split in dataset.splits.values()])
    repeated = every[(every == every[:, :1]).flatten(1).all(1)]
    known = torch.cat([split.images for split in grey.splits.values()])
    assert torch.equal(repeated[:, :1], known)
    assert changes(grey.record(), dataset.record()).endswith("1 picture more: last.png")


def test_channels_are_converted_as_asked(pictures: Path, tmp_path: Path) -> None:
    assert read_folder(pictures, channels=1).image_shape == (1, 8, 8)
    dataset = read_folder(grey_folder(tmp_path / "grey"), channels=3)
    images = dataset.splits["train"].images
    assert torch.equal(images, images[:, :1].expand(-1, 3, -1, -1))


# Files that cannot be read, and names.


def test_pictures_of_other_formats_are_named(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(3).save(pictures / "moving.gif")
    draw(4).save(pictures / "scanned.tiff")
    (pictures / "notes.txt").write_text("no picture")
    for _ in range(2):  # read, and from the cache
        dataset = read_folder(pictures)
        assert sum(len(split.images) for split in dataset.splits.values()) == COUNT
        said = capsys.readouterr().out
        assert "left out 2 pictures of other formats (moving.gif, scanned.tiff): PNG" in said
        assert "notes.txt" not in said


def test_unreadable_files_are_counted_and_at_most_five_are_named(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(7):
        (pictures / f"{i:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    (pictures / "nowhere.png").symlink_to("missing.png")
    for _ in range(2):  # at a second start too
        dataset = read_folder(pictures)
        said = capsys.readouterr().out.splitlines()
        (line,) = [line for line in said if "cannot be read" in line]
        assert f"8 of {COUNT + 1} files" in line
        assert line.count(".png") == 5
        assert "3 more" in line
        assert sum(len(split.images) for split in dataset.splits.values()) == COUNT - 7


def test_links_in_circles_end(classes: Path) -> None:
    (classes / "cats" / "up").symlink_to(classes)
    (classes / "dogs" / "same").symlink_to(classes / "dogs")
    (classes / "loop").symlink_to(classes / "loop")
    (classes / "another").symlink_to(classes / "dogs")
    dataset = read_folder(classes)
    assert sum(len(split.images) for split in dataset.splits.values()) == COUNT
    assert dataset.class_names == ("cats", "dogs")


def test_any_name_will_do(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = pictures / ("x" * 150) / ("y" * 150)
    long.mkdir(parents=True)
    umlauts = pictures / "mit Leerzeichen äöü"
    umlauts.mkdir()
    for i, path in enumerate(sorted(pictures.glob("*.png"))):
        path.rename((long if i % 2 else umlauts) / f"ä [{i}] = 'ü'.png")
    line = umlauts / "two\nlines.png"
    line.write_bytes(b"no picture")
    dataset = read_folder(pictures)
    assert dataset.class_names == ("mit Leerzeichen äöü", "x" * 150)
    assert "two?lines.png" in capsys.readouterr().out
    decomposed = unicodedata.normalize("NFD", "mit Leerzeichen äöü")
    umlauts.rename(pictures / decomposed)  # as macOS writes it
    assert read_folder(pictures).digest == dataset.digest


def test_hidden_files_are_left_alone(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "._001.png").write_bytes(b"macOS")
    (pictures / ".thumbnails").mkdir()
    draw(1).save(pictures / ".thumbnails" / "1.png")
    dataset = read_folder(pictures)
    assert sum(len(split.images) for split in dataset.splits.values()) == COUNT
    assert "cannot be read" not in capsys.readouterr().out


# What is refused, in one line.


def test_no_folder(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    file = tmp_path / "file.npz"
    file.write_bytes(b"")
    assert "data=npz" in refusal(file)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    line = refusal(tmp_path)
    assert f"data.root={tmp_path}: no picture in it" in line
    assert ".png" in line


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert "none of its files can be read (a.png)" in refusal(tmp_path)


def test_one_picture(tmp_path: Path) -> None:
    draw(0).save(tmp_path / "a.png")
    line = refusal(tmp_path)
    assert "1 image leaves 0 for" in line
    assert "need 6 or more: add images" in line


def test_too_few_pictures(pictures: Path) -> None:
    for path in sorted(pictures.iterdir())[40:]:
        path.unlink()
    assert "its 40 images leave" in refusal(pictures)


def test_pictures_of_several_sizes(pictures: Path) -> None:
    draw(1, (12, 8)).save(pictures / "003.png")
    line = refusal(pictures)
    assert "003.png has 8x12" in line
    assert "data.size=32" in line
    assert read_folder(pictures, size=8).image_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [(30, "28 or 32"), (4, "8 or 12"), (100, "64 or 60"), ([32, 41], "40 or 44"), (0, "8 or 12")],
)
def test_a_size_that_is_none(size: Any, nearest: str, pictures: Path) -> None:
    line = refusal(pictures, size=size)
    assert line.startswith("data.size=")
    assert nearest in line


@pytest.mark.parametrize("size", ["32", [32], [8, 8, 8], 32.0, True, {}])
def test_a_size_of_another_kind(size: Any, pictures: Path) -> None:
    assert refusal(pictures, size=size).startswith(f"data.size={size}: expected a whole number")


@pytest.mark.parametrize("channels", [2, 4, "1", True])
def test_channels_that_are_none(channels: Any, pictures: Path) -> None:
    assert refusal(pictures, channels=channels).startswith(f"data.channels={channels}: ")


def test_pictures_of_a_size_that_is_none(tmp_path: Path) -> None:
    for i in range(COUNT):
        draw(i, (30, 10)).save(tmp_path / f"{i}.png")
    line = refusal(tmp_path)
    assert "10x30" in line
    assert "8 or 12 instead of 10 and 28 or 32 instead of 30" in line
    assert "data.size" in line


def test_loose_pictures_next_to_a_class_folder(classes: Path) -> None:
    draw(0).save(classes / "loose.png")
    line = refusal(classes)
    assert "loose pictures (loose.png) next to class folders (cats, dogs)" in line
    assert "move them" in line


def test_folders_of_splits_are_no_classes(classes: Path) -> None:
    (classes / "cats").rename(classes / "train")
    (classes / "dogs").rename(classes / "Test")
    assert "(Test, train) are splits" in refusal(classes)


def test_too_many_classes(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_models.data.dataset.MOST_CLASSES", 1)
    assert "2 classes, but at most 1 can be used" in refusal(classes)


def test_a_class_of_few_pictures_is_warned_of(
    classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (classes / "rare").mkdir()
    draw(0).save(classes / "rare" / "a.png")
    assert read_folder(classes).class_names == ("cats", "dogs", "rare")
    assert "rare (1)" in capsys.readouterr().out


# The cache and the memory.


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often pictures were read."""
    count = [0]

    def counted(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        return stack_pictures(*arguments, **options)

    stack_pictures = folder.stack_pictures
    monkeypatch.setattr(folder, "stack_pictures", counted)
    return lambda: count[0]


def kept_files(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_pictures_are_read_once(classes: Path, tmp_path: Path, reads: Callable[[], int]) -> None:
    first, second = (read_folder(classes) for _ in "ab")
    assert reads() == 1
    assert kept_files(tmp_path) == [".bin", ".json", ".lock"]
    assert first.record() == second.record()
    for name, (images, labels) in first.splits.items():
        assert torch.equal(images, second.splits[name].images)
        assert labels is not None
        assert torch.equal(labels, second.splits[name].labels)


def test_what_is_kept_is_replaced_when_a_file_changes(
    pictures: Path, tmp_path: Path, reads: Callable[[], int]
) -> None:
    read_folder(pictures)
    os.utime(pictures / "000.png", (1, 1))
    read_folder(pictures)
    assert reads() == 2
    assert kept_files(tmp_path) == [".bin", ".json", ".lock"]
    read_folder(pictures, channels=1)
    assert reads() == 3
    assert len(kept_files(tmp_path)) == 6


@pytest.mark.parametrize("damage", ["cut", "no json", "older", "no bin"])
def test_a_damaged_cache_is_made_anew(
    damage: str, pictures: Path, tmp_path: Path, reads: Callable[[], int]
) -> None:
    whole = read_folder(pictures)
    (images,) = (tmp_path / "cache").rglob("*.bin")
    (described,) = (tmp_path / "cache").rglob("*.json")
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:-1])
    elif damage == "no json":
        described.write_text("{")
    elif damage == "older":  # as one that kept the labels with the images
        described.write_text(described.read_text().replace('"labels"', '"labelled"'))
    else:
        images.unlink()
    assert read_folder(pictures).digest == whole.digest
    assert reads() == 2


def test_without_a_cache_pictures_are_read_into_a_temporary_file(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept = read_folder(classes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    for limit in (10**9, 100):  # in memory, and mapped
        monkeypatch.setattr(cache, "memory_limit", lambda limit=limit: limit)
        for name, (images, labels) in read_folder(classes).splits.items():
            assert torch.equal(images, kept.splits[name].images)
            assert torch.equal(labels, kept.splits[name].labels)


def test_a_set_that_is_larger_than_memory_is_mapped(
    classes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_memory = read_folder(classes)
    monkeypatch.setattr(cache, "memory_limit", lambda: 100)
    for place in ("cache", "another cache"):  # kept before, and read now
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
        mapped = read_folder(classes)
        (file,) = (tmp_path / place).rglob("*.bin")
        assert str(file) in Path("/proc/self/maps").read_text()
        for name, split in in_memory.splits.items():
            assert torch.equal(split.images, mapped.splits[name].images)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "stack_pictures", full)
    with pytest.raises(UserError, match=r"cache.*No space left.*XDG_CACHE_HOME") as caught:
        read_folder(pictures)
    assert "\n" not in str(caught.value)
    assert kept_files(tmp_path) == [".lock"]
