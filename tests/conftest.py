import copy
import functools
import gc
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.summary.writer import event_file_writer

from gen_models import composition, figures
from gen_models.composition import compose_job, story
from gen_models.data.module import MNISTDataModule
from gen_models.machine import count_cores
from gen_models.runs import identity
from gen_models.runs.directory import RunDirectory
from gen_models.training import reporting, stopped_by_signals

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STORY = story()  # train.py

COMPOSE = composition.compose_overrides
DRAWING = {name: getattr(figures, name) for name in ("save", "curves", "picture")}

# Weights depend on the number of threads: no test leaves it to what else the machine does.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


# What takes longest, of the quick tests and of the slow: such a file goes to one worker, as any
# does, and comes first, so that no worker is left alone with it at the end.
LONGEST = [
    "study/test_train", "training/test_kill", "test_launchers", "test_benchmarks", "test_at_once",
    "test_lab", "test_own_images", "training/test_ddp", "test_command", "search/test_search",
    "test_front_door", "test_config", "export/test_export", "training/test_resume",
    "runs/test_runs", "evaluation/test_evaluate", "study/test_study_page", "training/test_faults",
    "runs/test_damaged_files", "explorer/test_controls", "test_tour",
    "third_model/test_third_model",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = {ROOT / "tests" / f"{name}.py": place for place, name in enumerate(LONGEST)}
    assert all(file.exists() for file in files), LONGEST
    items.sort(key=lambda item: files.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported stays: no collection of garbage need look through it


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> int | None:
    """The workers of `-n auto`: one for each core that this process may use."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else count_cores()


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    """No test depends on the user's data folder, nor leaves a changed global behind."""
    monkeypatch.delenv("GEN_MODELS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    threads = torch.get_num_threads()
    # Ignored where the tests are started in the background; what is started from here inherits it.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, interrupt)
    torch.set_num_threads(threads)
    logging.getLogger("gen_models").handlers.clear()


@pytest.fixture(scope="session", autouse=True)
def _blank_pictures() -> Iterator[None]:
    """Matplotlib would take half of the time of a small training: its pictures are left blank."""

    def save(_: object, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(path, format="png")

    with pytest.MonkeyPatch.context() as patched:
        for name in DRAWING:
            patched.setattr(figures, name, lambda *_, **__: None)
        patched.setattr(figures, "save", save)
        yield


@pytest.fixture
def _real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn, if coarsely."""
    for name, function in DRAWING.items():
        monkeypatch.setattr(figures, name, function)
    monkeypatch.setattr(figures, "DPI", 20)


@pytest.fixture(scope="session", autouse=True)
def _once() -> Iterator[None]:
    """Hydra would take a third of the time of a small training, reading its code a tenth.

    So several trainings begin within one second, as they do nowhere else.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(composition, "compose_overrides", lambda words: composed(*words))
        patched.setattr(identity, "essence", functools.cache(identity.essence))
        # TensorBoard reads files in the order of their names, which end with a count: 10 before 9.
        patched.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(10**6))
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For floors and ceilings, instead of the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def mnist_root() -> str:
    """The folder of the real MNIST, where there is one."""
    root = os.environ.get("GEN_MODELS_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("real MNIST is not on disk (GEN_MODELS_DATA)")
    return root


@pytest.fixture(scope="session")
def digits() -> MNISTDataModule:
    datamodule = MNISTDataModule(name="digits", batch_size=32)
    datamodule.setup()
    return datamodule


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of `python train.py OVERRIDES`."""
    folders = [text for text in overrides if text.startswith("output_dir=/")]
    others = tuple(text for text in overrides if text not in folders)
    config = copy.deepcopy(_composed(others, os.environ.get("HOME")))
    for text in folders:
        config["output_dir"] = text.partition("=")[2]
    return config


@functools.cache  # tests differ in their folder alone
def _composed(overrides: tuple[str, ...], _home: str | None) -> dict[str, Any]:
    return COMPOSE(overrides)


def train(*overrides: str) -> float | None:
    """`python train.py OVERRIDES` in this process."""
    job = compose_job(overrides)
    with stopped_by_signals():
        run = STORY.train(job)
    objective: float | None = run.read_status().get("objective")
    return objective


Trained = Callable[..., RunDirectory]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """Train a run of a second on digits; returns its directory."""

    def run(*overrides: str, epochs: int = 2, batches: int | float = 4) -> RunDirectory:
        train(*small(tmp_path, *overrides, epochs=epochs, batches=batches))
        found = sorted(tmp_path.glob("digits/*/*/status.json"), key=os.path.getmtime)
        return RunDirectory(found[-1].parent)

    return run


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    @functools.cache
    def run(*overrides: str, epochs: int = 2, batches: int | float = 4) -> RunDirectory:
        folder = tmp_path_factory.mktemp("once")
        options = small(folder, *overrides, epochs=epochs, batches=batches)
        train(*options)
        return directory_of(options)

    return run


@pytest.fixture
def copied(tmp_path: Path, _trained_once: Trained) -> Trained:
    """As `trained`, for what happens after a training: a copy of a run that is trained once."""

    def run(*overrides: str, **length: float) -> RunDirectory:
        source = _trained_once(*overrides, **length)
        copy_of_it = RunDirectory(tmp_path.joinpath(*source.path.parts[-3:]))
        shutil.copytree(source.path, copy_of_it.path)
        copy_of_it.write_config(source.read_config() | {"output_dir": str(tmp_path)})
        return copy_of_it

    return run


def small(
    output_dir: Path, *overrides: str, epochs: int = 2, batches: int | float = 4
) -> list[str]:
    """Overrides of a run of a second."""
    return [
        "data=digits",
        "phase=baseline",
        f"max_epochs={epochs}",
        f"trainer.limit_train_batches={batches}",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
        "evaluate=none",  # takes longer than such a training
        f"output_dir={output_dir}",
        *overrides,
    ]


def read_metrics(run: RunDirectory) -> dict[str, float]:
    metrics: dict[str, float] = json.loads(run.metrics.read_text())
    return metrics


def directory_of(overrides: list[str]) -> RunDirectory:
    """Where `python train.py OVERRIDES` trains."""
    return RunDirectory(compose_job(overrides).path)


def read_curves(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Every training and validation curve of a run."""
    return reporting.read_events(run)[0]


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in expected:
            assert_same(found[key], expected[key], f"{path}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_same(a, b, f"{path}/{i}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), path
    else:
        assert found == expected, path
