import gzip
import hashlib
import shutil
import struct
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gen_models.data import datasets
from gen_models.data.dataset import fixed_permutation
from gen_models.data.loader import InMemoryLoader
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def numbered(n: int) -> torch.Tensor:
    """Images that say which they are: image i has the value i in each pixel."""
    return torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 28, 28)


def order(loader: InMemoryLoader) -> list[int]:
    return [round(image.max().item() * 255) for batch in loader for image in batch.images]


# The loader.


def test_batches_are_float_images_between_0_and_1() -> None:
    batch = next(iter(InMemoryLoader(numbered(256), batch_size=256)))
    assert batch.images.shape == (256, 1, 28, 28)
    assert batch.images.dtype == torch.float32
    torch.testing.assert_close(batch.images[:, 0, 0, 0], torch.arange(256) / 255)
    assert batch.labels is None


def test_each_image_keeps_its_label_whatever_the_order_and_the_rank() -> None:
    labels = torch.arange(50)
    for rank in (0, 1):
        loader = InMemoryLoader(
            numbered(50), labels, batch_size=8, shuffle_seed=1, rank=rank, world_size=2
        )
        for images, known in loader:
            assert known is not None
            assert torch.equal(images[:, 0, 0, 0].mul(255).round().long(), known)


def test_each_epoch_is_another_permutation_that_seed_and_epoch_alone_decide() -> None:
    first, second = (InMemoryLoader(numbered(50), batch_size=8, shuffle_seed=1) for _ in "ab")
    orders = []
    for epoch in range(3):
        first.set_epoch(epoch)
        orders.append(order(first))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1] != orders[2]
    torch.manual_seed(99)  # the global generator has no say
    second.set_epoch(2)
    assert order(second) == orders[2]
    assert order(InMemoryLoader(numbered(50), batch_size=8, shuffle_seed=2)) != orders[0]


@pytest.mark.parametrize(("drop_last", "batches"), [(True, 6), (False, 7)])
def test_the_last_batch(drop_last: bool, batches: int) -> None:
    loader = InMemoryLoader(numbered(50), batch_size=8, drop_last=drop_last)
    sizes = [len(batch.images) for batch in loader]
    assert len(loader) == len(sizes) == batches
    assert sizes == [8] * 6 + [2] * (not drop_last)


@pytest.mark.parametrize("stop", [0, 1, 3, 6, 7])
def test_a_restored_position_is_used_once(stop: int) -> None:
    loader, resumed = (InMemoryLoader(numbered(50), batch_size=8, shuffle_seed=1) for _ in "ab")
    batches = iter(loader)
    for _ in range(stop):
        next(batches)
    resumed.load_state_dict(loader.state_dict())
    whole = order(InMemoryLoader(numbered(50), batch_size=8, shuffle_seed=1))
    iter(resumed)  # Lightning calls it once only to look
    assert order(resumed) == whole[stop * 8 if stop < 7 else 0 :]
    assert order(resumed) == whole


def test_ranks_share_each_batch() -> None:
    options: dict[str, Any] = {"batch_size": 8, "shuffle_seed": 3, "drop_last": True}
    alone = InMemoryLoader(numbered(50), **options)
    ranks = [InMemoryLoader(numbered(50), rank=r, world_size=2, **options) for r in (0, 1)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert [len(part.images) for part in parts] == [4, 4]
        together = torch.stack([part.images for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(together, whole.images)


def test_no_rank_is_left_without_an_image() -> None:
    """50 images in batches of 12 leave 2, too few for three processes: the mean would be NaN."""
    ranks = [InMemoryLoader(numbered(50), batch_size=12, rank=r, world_size=3) for r in range(3)]
    assert [[len(batch.images) for batch in loader] for loader in ranks] == [
        [4, 4, 4, 5], [4, 4, 4, 5], [4, 4, 4, 4]
    ]  # fmt: skip
    assert sorted(sum(map(order, ranks), [])) == list(range(50))


# The data sets.


def test_digits_are_split_without_overlap() -> None:
    datamodule = MNISTDataModule(name="digits", batch_size=32)
    datamodule.setup()
    sizes = {name: len(split.images) for name, split in datamodule.splits.items()}
    assert sizes == {"train": 1297, "validation": 200, "test": 300}
    assert len(datamodule.train_dataloader()) == 40
    for split in datamodule.splits.values():
        assert split.images.shape[1:] == (1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert set(split.labels.tolist()) == set(range(10))


def test_the_split_is_the_same_for_every_seed() -> None:
    first, second = (MNISTDataModule(name="digits", batch_size=32, seed=s) for s in (0, 1))
    for datamodule in (first, second):
        datamodule.setup()
    for name in first.splits:
        assert torch.equal(first.splits[name].images, second.splits[name].images)
    a, b = (next(iter(datamodule.train_dataloader())) for datamodule in (first, second))
    assert not torch.equal(a.images, b.images)


def test_the_split_never_moves() -> None:
    """The held-out images are part of what every metric means."""
    held_out = fixed_permutation("validation", 60_000)[:5000]
    assert held_out[:5].tolist() == [20354, 49719, 19939, 18843, 7101]


@pytest.mark.mnist
def test_real_mnist(mnist_root: str) -> None:
    datamodule = MNISTDataModule(root=mnist_root)
    datamodule.prepare_data()
    datamodule.setup()
    sizes = {name: len(split.images) for name, split in datamodule.splits.items()}
    assert sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    pixels = torch.cat([datamodule.splits[n].images for n in ("train", "validation")]).float()
    assert abs(pixels.mean().item() / 255 - 0.1307) < 1e-4  # the known mean of the 60,000
    assert torch.bincount(datamodule.splits["test"].labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


# Files that the test writes.


def idx(shape: list[int], content: np.ndarray | None = None) -> bytes:
    if content is None:
        content = np.arange(int(np.prod(shape))) % (251 if len(shape) > 1 else 10)
    magic = struct.pack(">I", 0x0800 + len(shape))
    return magic + struct.pack(f">{len(shape)}I", *shape) + content.astype(np.uint8).tobytes()


def write_files(raw: Path, train: int = 60, test: int = 20) -> None:
    raw.mkdir(parents=True)
    for file in FILES:
        n = train if file.startswith("train") else test
        raw.joinpath(file).write_bytes(idx([n, 28, 28] if "images" in file else [n]))


@pytest.fixture(params=["fashion_mnist", "kmnist", "mnist"])
def small_set(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MNISTDataModule:
    """A data set of 60 + 20 images in torchvision's layout, as far as the files tell."""
    name: str = request.param
    source = datasets.SOURCES[name]._replace(train_size=60, test_size=20, validation_size=10)
    raw = tmp_path / source.folder / "raw"
    write_files(raw)
    if name == "mnist":
        md5 = (hashlib.md5((raw / file).read_bytes()).hexdigest() for file in FILES)
        source = source._replace(md5=tuple(md5))
    monkeypatch.setitem(datasets.SOURCES, name, source)
    return MNISTDataModule(name=name, root=tmp_path, batch_size=4)


def raw_of(datamodule: MNISTDataModule) -> Path:
    return datamodule.root / datasets.SOURCES[datamodule.name].folder / "raw"


def test_files_on_disk_are_used_without_network(
    small_set: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))
    small_set.prepare_data()
    small_set.setup()
    assert len(small_set.splits["train"].images) == 50
    images = idx([20, 28, 28])[16:]
    assert small_set.splits["test"].images.numpy().tobytes() == images


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (FILES[0], idx([60, 28, 28])[:-1]),
        (FILES[0], idx([60, 28, 28]) + b"x"),
        (FILES[0], idx([60, 28, 28])[:10]),
        (FILES[0], idx([60, 32, 32])),
        (FILES[0], idx([20, 28, 28])),
        (FILES[0], b"\0\0\x09\x03" + idx([60, 28, 28])[4:]),
        (FILES[0], b"\0\0\x0d\x03" + idx([60, 28, 28])[4:]),
        (FILES[0], b"\0\0\x08\x04" + idx([60, 28, 28])[4:]),
        (FILES[0], idx([60])),
        (FILES[1], idx([60, 28, 28])),
        (FILES[1], idx([61])),
        (FILES[2], b""),
        (FILES[3], b"<html>404</html>"),
    ],
)
def test_bad_files_are_named(small_set: MNISTDataModule, file: str, content: bytes) -> None:
    path = raw_of(small_set) / file
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        small_set.setup()
    assert str(caught.value).startswith(f"{path}: ")
    assert "delete" not in str(caught.value)  # it may be the user's own
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [FILES[0], FILES[3]])
def test_a_missing_file_is_named(small_set: MNISTDataModule, file: str) -> None:
    path = raw_of(small_set) / file
    path.unlink()
    with pytest.raises(UserError, match="^there is no ") as caught:
        small_set.setup()
    assert str(path) in str(caught.value)


PLACES = [  # the root, and where the files lie
    ("", "{name}/raw"),
    ("", "{name}"),
    ("{name}", "{name}/raw"),
    ("{name}", "{name}"),
    ("{name}/raw", "{name}/raw"),
]


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize(("root", "place"), PLACES)
def test_where_the_files_may_lie(
    small_set: MNISTDataModule,
    root: str,
    place: str,
    separator: str,
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder itself or its parent, our names or the original site's, compressed or not."""
    name = raw_of(small_set).parent.name
    contents = {file: raw_of(small_set).joinpath(file).read_bytes() for file in FILES}
    shutil.rmtree(tmp_path / name)
    folder = tmp_path / place.format(name=name)
    folder.mkdir(parents=True)
    for file, content in contents.items():
        path = folder / f"{file.replace('-idx', f'{separator}idx')}{ending}"
        path.write_bytes(gzip.compress(content) if ending else content)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))
    before = sorted(tmp_path.rglob("*"))
    data = MNISTDataModule(name=small_set.name, root=tmp_path / root.format(name=name))
    data.prepare_data()
    data.setup()
    assert data.splits["test"].images.numpy().tobytes() == contents[FILES[2]][16:]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("small_set", ["kmnist"], indirect=True)
def test_files_of_another_set_are_not_taken_for_it(small_set: MNISTDataModule) -> None:
    """They have the same names."""
    folder = raw_of(small_set).parent.rename(small_set.root / "MNIST")
    with pytest.raises(UserError, match="there is no .*/KMNIST/raw/train-images-idx3-ubyte"):
        MNISTDataModule(name="kmnist", root=folder).setup()


@pytest.mark.parametrize("small_set", ["mnist"], indirect=True)
def test_a_damaged_archive_is_named(small_set: MNISTDataModule) -> None:
    path = raw_of(small_set) / FILES[1]
    archive = path.with_name(f"{path.name}.gz")
    content = gzip.compress(path.read_bytes())
    path.unlink()
    for damaged in (content[:-9], b"<html>404</html>", content[:20] + bytes(20) + content[40:]):
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match=r"labels-idx1-ubyte\.gz: cannot be read"):
            small_set.setup()


def test_a_failed_download_leaves_nothing_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    root = tmp_path / "data"
    with pytest.raises(UserError) as caught:
        MNISTDataModule(root=root).prepare_data()
    assert f"there is no {root}/MNIST/raw/train-images-idx3-ubyte" in str(caught.value)
    assert "no network" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("small_set", ["fashion_mnist"], indirect=True)
def test_a_download_replaces_no_file_of_the_users(
    small_set: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = raw_of(small_set)
    source = datasets.SOURCES["fashion_mnist"]
    (raw / FILES[3]).unlink()
    own = (raw / FILES[0]).read_bytes()

    def download(root: str, *, download: bool) -> None:
        assert download
        write_files(Path(root, "FashionMNIST", "raw"), train=30)

    fake = type(
        "FashionMNIST", (), {"__new__": lambda cls, root, **options: download(root, **options)}
    )
    monkeypatch.setitem(datasets.SOURCES, "fashion_mnist", source._replace(dataset=fake))
    small_set.prepare_data()
    assert (raw / FILES[0]).read_bytes() == own
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert [path.name for path in small_set.root.iterdir()] == ["FashionMNIST"]


@pytest.mark.parametrize("small_set", ["fashion_mnist"], indirect=True)
@pytest.mark.parametrize("file", [FILES[1], FILES[3]])
def test_a_label_that_is_none_is_named(small_set: MNISTDataModule, file: str) -> None:
    path = raw_of(small_set) / file
    path.write_bytes(path.read_bytes()[:-1] + bytes([10]))
    with pytest.raises(UserError, match=f"{file}: holds a label of 10, expected 0 to 9"):
        small_set.setup()


@pytest.mark.parametrize("small_set", ["mnist"], indirect=True)
def test_a_changed_pixel_is_noticed_by_md5(small_set: MNISTDataModule) -> None:
    path = raw_of(small_set) / FILES[2]
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t10k-images.*not the published one"):
        small_set.setup()


@pytest.mark.parametrize("small_set", ["kmnist"], indirect=True)
def test_an_archive_is_read_in_place_of_what_was_unpacked_from_it(
    small_set: MNISTDataModule,
) -> None:
    """It has a checksum: a damaged file next to it does no harm."""
    path = raw_of(small_set) / FILES[2]
    whole = path.read_bytes()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(whole))
    path.write_bytes(whole[:500] + b"x" + whole[501:])
    small_set.setup()
    assert small_set.splits["test"].images.numpy().tobytes() == whole[16:]


def test_no_files_and_no_network_names_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        import socket

        assert socket.getdefaulttimeout() == 10
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    datamodule = MNISTDataModule(name="mnist", root=tmp_path)
    with pytest.raises(UserError) as caught:
        datamodule.prepare_data()
    message = str(caught.value)
    assert "\n" not in message
    for way_out in (str(tmp_path / "MNIST/raw"), "GEN_MODELS_DATA", "data=digits"):
        assert way_out in message


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.root=.*cannot be written"):
        MNISTDataModule(root=tmp_path / "file" / "data").prepare_data()


def test_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MNISTDataModule().root == Path("data")
    monkeypatch.setenv("GEN_MODELS_DATA", str(tmp_path))
    assert MNISTDataModule().root == tmp_path
    assert MNISTDataModule(root="elsewhere").root == Path("elsewhere")


@pytest.mark.parametrize("size", [0, -1, 1.5, "many", None])
def test_batch_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(ValueError, match="^batch_size must be"):
        MNISTDataModule(batch_size=size)


@pytest.mark.parametrize(("with_validation", "images"), [(False, "1,297"), (True, "1,497")])
def test_a_batch_larger_than_the_data(with_validation: bool, images: str) -> None:
    def module(batch_size: int) -> MNISTDataModule:
        data = MNISTDataModule(
            name="digits", batch_size=batch_size, train_on_validation=with_validation
        )
        data.setup()  # an evaluation takes no batches
        return data

    size = int(images.replace(",", ""))
    with pytest.raises(UserError, match=rf"data\.batch_size={size + 1}: .* only {images} training"):
        module(size + 1).train_dataloader()
    module(size).train_dataloader()


def test_an_unknown_data_set() -> None:
    with pytest.raises(ValueError, match=r"name must be one of mnist, .*, got 'cifar'"):
        MNISTDataModule(name="cifar")
