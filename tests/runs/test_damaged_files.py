"""Damaged, swapped and missing files: each is named in one line, by both programs.

Nothing else is written or deleted, and no half-made run directory is left.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import directory_of, small, train
from safetensors.torch import load_file, save_file
from test_front_door import call_cli, call_train

from gen_models.data.datasets import SOURCES
from gen_models.data.module import MNISTDataModule
from gen_models.files import read_json, write_json
from gen_models.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("hydra_restore_singletons")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock",)
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """A finished run of each model; never written to."""
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gen_models.figures.DPI", 20)
        for model in ("gan", "vae"):
            overrides = small(tmp_path_factory.mktemp(model), f"model={model}", "hidden_dims=[16]")
            train(*overrides)
            found[model] = directory_of(overrides)
    return found


def truncated(name: str) -> Callable[[Path, dict[str, RunDirectory]], None]:
    def damage(run: Path, _: dict[str, RunDirectory]) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])

    return damage


def written(name: str, content: bytes) -> Callable[[Path, dict[str, RunDirectory]], None]:
    return lambda run, _: (run / name).write_bytes(content) and None


def removed(name: str) -> Callable[[Path, dict[str, RunDirectory]], None]:
    return lambda run, _: (run / name).unlink()


def gan_weights(run: Path, others: dict[str, RunDirectory]) -> None:
    shutil.copy(others["gan"].weights, run / "model.safetensors")


def gan_model(run: Path, others: dict[str, RunDirectory]) -> None:
    shutil.copy(others["gan"].model, run / "model.json")


def other_width(run: Path, others: dict[str, RunDirectory]) -> None:
    record = json.loads((run / "model.json").read_text())
    record["arguments"]["encoder_dims"] = [17]
    (run / "model.json").write_text(json.dumps(record))


def other_type(run: Path, others: dict[str, RunDirectory]) -> None:
    record = json.loads((run / "model.json").read_text())
    record["arguments"]["latent_dim"] = "many"
    (run / "model.json").write_text(json.dumps(record))


def unknown_argument(run: Path, others: dict[str, RunDirectory]) -> None:
    record = json.loads((run / "model.json").read_text())
    record["arguments"]["depth"] = 3
    (run / "model.json").write_text(json.dumps(record))


def no_arguments(run: Path, others: dict[str, RunDirectory]) -> None:
    record = json.loads((run / "model.json").read_text())
    del record["arguments"]
    (run / "model.json").write_text(json.dumps(record))


def not_a_number(run: Path, others: dict[str, RunDirectory]) -> None:
    weights = load_file(run / "model.safetensors")
    save_file({k: torch.full_like(v, torch.nan) for k, v in weights.items()},
              run / "model.safetensors")  # fmt: skip


FILES = [
    (truncated("model.safetensors"), "sample", "model.safetensors"),
    (written("model.safetensors", b""), "sample", "model.safetensors"),
    (written("model.safetensors", b"\xff" * 1000), "sample", "model.safetensors"),
    (removed("model.safetensors"), "sample", "model.safetensors"),
    (gan_weights, "sample", "model.safetensors"),
    (gan_model, "sample", "model.safetensors"),
    (other_width, "sample", "model.safetensors"),
    (other_type, "sample", "model.json"),
    (unknown_argument, "sample", "model.json"),
    (no_arguments, "sample", "model.json"),
    (truncated("model.json"), "sample", "model.json"),
    (written("model.json", b""), "sample", "model.json"),
    (written("model.json", b"[]"), "sample", "model.json"),
    (written("model.json", b"\xff\xfe"), "sample", "model.json"),
    (removed("model.json"), "sample", "not a finished run"),
    (truncated("checkpoints/best.ckpt"), "sample --checkpoint best", "best.ckpt"),
    (written("checkpoints/best.ckpt", b""), "sample --checkpoint best", "best.ckpt"),
    (truncated("config.yaml"), "reconstruct", "config.yaml"),
    (written("config.yaml", b""), "reconstruct", "config.yaml"),
    (written("config.yaml", b"a: [1"), "reconstruct", "config.yaml"),
    (written("config.yaml", b"- 1\n- 2\n"), "reconstruct", "config.yaml"),
    (written("config.yaml", b"\xff\xfe"), "evaluate", "config.yaml"),
    (removed("config.yaml"), "evaluate", "config.yaml"),
    (written("config.yaml", b"seed: 0\n"), "evaluate", "config.yaml"),
    (truncated("metrics.json"), "evaluate", "metrics.json"),
    (removed("metrics.json"), "evaluate", "metrics.json"),
    (not_a_number, "evaluate", "cannot be measured"),
    (truncated("status.json"), "train", "status.json"),
    (written("status.json", b""), "train", "status.json"),
    (written("status.json", b"{}"), "train", "status.json"),
    (written("status.json", b"\xff"), "train", "status.json"),
    (truncated("config.yaml"), "train", "config.yaml"),
    (removed("config.yaml"), "train", "config.yaml"),
]


@pytest.mark.parametrize(("damage", "command", "names"), FILES)
def test_a_damaged_file_of_a_run_is_named(
    damage: Callable[[Path, dict[str, RunDirectory]], None],
    command: str,
    names: str,
    finished: dict[str, RunDirectory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = finished["vae"].path
    run = tmp_path / "out" / source.parents[1].name / source.parent.name / source.name
    shutil.copytree(source, run)
    damage(run, finished)
    before = snapshot(tmp_path)
    if command == "train":
        options = small(Path("out"), "model=vae", "hidden_dims=[16]")
        code, said = call_train(monkeypatch, capfd, *options)
    else:
        code, said = call_cli(*command.split(), str(run))
    assert code == 1
    assert names in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert {k: v for k, v in snapshot(tmp_path).items() if "cache" not in k} == before


@pytest.mark.parametrize("content", ['{"status": "do', "{}"])
def test_a_status_that_cannot_be_read_is_trained_over(
    content: str,
    finished: dict[str, RunDirectory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = finished["vae"].path
    run = RunDirectory(tmp_path.joinpath(*source.parts[-3:]))
    shutil.copytree(source, run.path)
    run.status.write_text(content)
    options = small(tmp_path, "model=vae", "hidden_dims=[16]")
    code, said = call_train(monkeypatch, capfd, *options)
    assert code == 1
    assert "train the run again (overwrite=true)" in said
    train(*options, "overwrite=true")
    assert run.read_status()["status"] == "done"


def test_two_processes_write_the_same_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, replace = tmp_path / "bounds.json", os.replace
    program = "import sys, pathlib, gen_models.files as files;"
    program += "files.write_json(pathlib.Path(sys.argv[1]), {'by': 'the other'})"

    def beside_another(*paths: Path) -> None:
        subprocess.run([sys.executable, "-c", program, str(file)], check=True)
        assert read_json(file) == {"by": "the other"}
        replace(*paths)

    monkeypatch.setattr(os, "replace", beside_another)
    write_json(file, {"by": "this one"})
    assert read_json(file) == {"by": "this one"}
    assert list(tmp_path.iterdir()) == [file]


# ---- files of a data set --------------------------------------------------------------------


def idx(shape: list[int], fill: int = 0) -> bytes:
    header = (0x0800 + len(shape)).to_bytes(4, "big")
    size = 1
    for part in shape:
        size *= part
    return header + b"".join(part.to_bytes(4, "big") for part in shape) + bytes([fill]) * size


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty training and ten test images where MNIST would lie, whatever their content."""
    source = SOURCES["mnist"]._replace(train_size=20, test_size=10, md5=(), validation_size=6)
    monkeypatch.setitem(SOURCES, "mnist", source)
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", 20), ("t10k", 10)):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx([n, 28, 28]))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx([n]))
    datamodule = MNISTDataModule(name="mnist", root=tmp_path / "data", batch_size=4)
    datamodule.prepare_data()
    datamodule.setup()  # as they are, they are read
    return folder


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"


def swap(a: str, b: str) -> Callable[[Path], None]:
    def swapped(raw: Path) -> None:
        first, second = (raw / a).read_bytes(), (raw / b).read_bytes()
        (raw / a).write_bytes(second)
        (raw / b).write_bytes(first)

    return swapped


DATA_FILES: list[tuple[Callable[[Path], None], str]] = [
    (lambda raw: os.truncate(raw / TRAIN_IMAGES, 5000), TRAIN_IMAGES),
    (lambda raw: os.truncate(raw / TRAIN_IMAGES, 7), TRAIN_IMAGES),
    (lambda raw: os.truncate(raw / TRAIN_LABELS, 0), TRAIN_LABELS),
    (swap(TRAIN_IMAGES, TRAIN_LABELS), TRAIN_IMAGES),
    (swap(TRAIN_IMAGES, TEST_IMAGES), TRAIN_IMAGES),
    (lambda raw: (raw / TEST_IMAGES).write_bytes(idx([10, 32, 32])) and None, TEST_IMAGES),
    (lambda raw: (raw / TEST_IMAGES).write_bytes(idx([10, 28, 28]) + b"x") and None, TEST_IMAGES),
    (lambda raw: (raw / TEST_IMAGES).write_bytes(b"\x1f\x8b" * 5000) and None, TEST_IMAGES),
    (lambda raw: (raw / TEST_IMAGES).write_text("<html>" * 2000) and None, TEST_IMAGES),
    (lambda raw: (raw / TRAIN_LABELS).write_bytes(idx([20], 11)) and None, TRAIN_LABELS),
]


@pytest.mark.parametrize(("damage", "names"), DATA_FILES)
def test_a_damaged_data_file_is_named(
    damage: Callable[[Path], None],
    names: str,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    damage(raw)
    monkeypatch.chdir(tmp_path)
    options = [text for text in small(Path("out")) if text != "data=digits"]
    code, said = call_train(
        monkeypatch, capfd, "data=mnist", "data.root=data", "data.batch_size=4", *options
    )
    assert code == 1
    assert said.count("\n") == 1
    assert names in said
    assert not (tmp_path / "out").exists()
