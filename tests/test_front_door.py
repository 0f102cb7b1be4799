"""Wrong commands, configurations and files: each ends in one line that names what is wrong.

In this process, by the programs' own front doors; no traceback, and no half-made run directory.
"""

import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, small, train
from safetensors.torch import load_file, save_file
from test_resume import directory_of
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.data import MNISTDataModule
from gen_models.datasets import SOURCES
from gen_models.runs import RunDirectory

pytestmark = pytest.mark.usefixtures("hydra_restore_singletons")


def call_train(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """`python train.py ARGUMENTS`: the exit code and what stands on stderr."""
    import argparse

    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", [str(ROOT / "train.py"), *arguments])
        patched.setenv("HYDRA_FULL_ERROR", "0")  # restored afterwards
        patched.setattr(argparse.ArgumentParser, "print_usage", lambda *_: None)
        capfd.readouterr()
        try:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        else:
            code = 0
    assert isinstance(code, int)
    written = capfd.readouterr()
    assert "Traceback" not in written.out
    return code, written.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock",)
    }


COMMANDS = [
    # no command line at all
    ("lr", "lr"),
    ("=1", "=1"),
    ("lr=[", "lr=["),
    ("lr={a:", "lr={a:"),
    ("output_dir=a=b", "output_dir=a=b"),
    ("output_dir=résultats", "output_dir=r"),
    ("--nonsense", "--nonsense"),
    ("--cfg nonsense", "nonsense"),
    ("-c", "--cfg"),
    ("--config-name nothing", "nothing"),
    ("--config-dir /proc/nowhere", "/proc/nowhere"),
    # groups
    ("model=null", "model=null"),
    ("data=null", "data=null"),
    ("phase=null", "phase=null"),
    ("trainer=null", "trainer=null"),
    ("callbacks=null", "callbacks=null"),
    ("model=1", "model=1"),
    ("model=ＧＡＮ", "ＧＡＮ"),
    ("model=diffusion", "diffusion"),
    ("model=gan,vae", "model=gan,vae"),
    ("+model=vae", "model"),
    ("model=[gan,vae]", "model"),
    ("phase=middle", "baseline final"),
    ("sweep=nothing", "sweep/nothing"),
    ("activation=swish", "leaky_relu"),
    ("~data", "data"),
    ("~model", "model"),
    ("~callbacks", "callbacks"),
    ("~nothing", "nothing"),
    ("model@other=vae", "other"),
    # keys
    ("lrr=1", "'lrr'"),
    ("+lrr=1", "'lrr'"),
    ("model.lrr=1", "lrr"),
    ("+model.lrr=1", "'lrr'"),
    ("model.lr.deeper=1", "model.lr.deeper"),
    ("model=vae model.dropout=0.1", "model.dropout"),
    ("~seed", "seed"),
    ("~lr", "lr"),
    ("~trainer.max_epochs", "max_epochs"),
    ("~model._target_", "_target_"),
    # values
    ("lr=", "lr must be"),
    ("lr=1,2", "lr=1,2"),
    ("lr='1e-3'", "lr must be"),
    ("lr=1e400", "lr must be"),
    ("lr=[1e-3]", "lr must be"),
    ("lr={a:1}", "lr must be"),
    ("lr=true", "lr must be"),
    ("'lr=${nope}'", "nope"),
    ("'seed=${seed}'", "nterpolation"),
    ("seed=1.5", "seed must be"),
    ("seed=[]", "seed must be"),
    ("max_epochs=1e3", "max_epochs must be"),
    ("max_epochs=ten", "max_epochs must be"),
    ("max_steps=0", "max_steps must be"),
    ("hidden_dims=[256,-1]", "hidden_dims must be"),
    ("hidden_dims=[1.5]", "hidden_dims must be"),
    ("hidden_dims=[1000000000]", "out of memory building model"),
    ("hidden_dims=[1000000000000000000]", "out of memory building model"),
    ("hidden_dims=[100000000000000000000000]", "model"),
    ("model.latent_dim=100000000000", "out of memory building model"),
    ("data.batch_size=9999999999", "data.batch_size=9999999999 is larger"),
    ("data.batch_size=null", "batch_size must be"),
    ("data.name=../digits", "name must be"),
    ("model._target_=os.system", "os.system"),
    ("model._target_=gen_models.nothing.GAN", "gen_models.nothing"),
    ("model=null data=null", "model=null"),
    ("callbacks.sample_grid=null", "callbacks.sample_grid"),
    ("callbacks.sample_grid.every_n_epochs=-1", "every_n_epochs must be"),
    ("trainer.accelerator=toaster", "trainer"),
    ("trainer.devices=-3", "trainer"),
    ("trainer.strategy=nonsense", "trainer"),
    ("precision=64", "precision must be"),
    ("debug=perhaps", "debug must be"),
    ("overwrite=1", "overwrite must be"),
    ("output_dir=[a]", "output_dir must be"),
    ("output_dir=/proc/nothing", "/proc/nothing"),
    ("output_dir=" + "x" * 300, "cannot be written"),
    ("data=mnist data.root=/proc/nowhere", "/proc/nowhere"),
    ("data=mnist data.root=no/where", "no/where"),
    ("-m trainer.devices=2", "trainer.devices"),
    ("-m lr=range(1,x)", "lr=range(1,x)"),
]


@pytest.mark.parametrize(("line", "names"), COMMANDS, ids=[line[:40] for line, _ in COMMANDS])
def test_a_wrong_command_is_one_line(
    line: str,
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gen_models.datasets.DOWNLOAD_TIMEOUT", 0.1)
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    words = [word.strip("'") if "$" in word or '"' in word else word for word in split(line)]
    given = {word.lstrip("~+").partition("=")[0] for word in words}
    base = [text for text in small(Path("out")) if text.partition("=")[0] not in given]
    base = [text for text in base if text.partition("=")[0].partition(".")[0] not in given]
    code, said = call_train(monkeypatch, capfd, *base, *words)
    assert code in (1, 2)
    first, *others = said.splitlines()
    assert names in first
    if words[0] == "-m":  # Hydra itself names the job of a sweep
        others = [text for text in others if not text.startswith("Error executing job with")]
    assert others == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def split(line: str) -> list[str]:
    """Words of a command line, as a shell would; quotes inside of words are Hydra's."""
    return re.findall(r"(?:'[^']*'|[^\s'])+", line) if line.count("'") % 2 == 0 else line.split()


def test_debug_shows_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in ("lr=-1", "lrr=1"):
        code, said = call_train(monkeypatch, capfd, "data=digits", wrong, "debug=true")
        assert code == 1
        assert said.startswith("Traceback (most recent call last)")
        assert "lr" in said.splitlines()[-1]


# ---- files of a run -------------------------------------------------------------------------


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


def call_cli(*arguments: str) -> tuple[int, str]:
    """`gen-models ARGUMENTS`: the exit code and what stands on stderr."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("simple", "simple"),
        ("sample", "RUN"),
        ("sample x --count 0", "count"),
        ("sample x --count many", "--count"),
        ("sample x --seed -1", "seed"),
        ("sample x --nonsense", "--nonsense"),
        ("sample x y", "y"),
        ("sample x --checkpoint newest", "newest"),
        ("sample /no/where/ü", "/no/where/ü"),
        ("sample x --output a.jpg", "a.jpg"),
        ("reconstruct x --output no/folder/a.png", "no/folder"),
        ("evaluate train.py", "train.py"),
        ("evaluate", "RUN"),
        ("train-classifier", "data"),
        ("train-classifier --data cifar", "cifar"),
    ],
)
def test_a_wrong_call_of_gen_models_is_one_line(
    line: str, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = call_cli(*line.split())
    assert code in (1, 2)
    assert names in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


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
    source = SOURCES["mnist"]._replace(train_size=20, test_size=10, md5={}, validation_size=5)
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


def test_there_are_sixty_wrong_inputs_and_more() -> None:
    assert len(COMMANDS) + len(FILES) + len(DATA_FILES) >= 100
