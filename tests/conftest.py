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
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gen_models.composition import compose_job, story
from gen_models.data.module import MNISTDataModule
from gen_models.runs.directory import RunDirectory
from gen_models.training import reporting, stopped_by_signals

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STORY = story()  # train.py

# Weights depend on the number of threads: no test leaves it to what else the machine does.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    """No test depends on the user's data folder, nor leaves a changed global behind."""
    monkeypatch.delenv("GEN_MODELS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("gen_models.figures.DPI", 20)  # 300 take two seconds a run
    threads = torch.get_num_threads()
    # Ignored where the tests are started in the background; what is started from here inherits it.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, interrupt)
    torch.set_num_threads(threads)
    logging.getLogger("gen_models").handlers.clear()


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
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return config


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
    return reporting.read_curves(reporting.read_events(run))


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
