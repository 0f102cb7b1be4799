"""`~` in every path that is taken, and a user without a home directory."""

import argparse
import copy
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, small
from hydra.core.singleton import Singleton
from test_cli import call
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.composition import BY_USER, compose_job
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.files import cache_folder, expanded
from gen_models.runs import load_model
from gen_models.study.load import load_study

RUN = "digits/vae_baseline/seed0-max_epochs1-limit_train_batches4"
STUDY = """
question: Does it?
seeds: [1]
arms: {one: model=vae phase=baseline data=digits, other: model=gan phase=baseline data=digits}
claims: [{name: D, says: It does., kind: better, arms: [one, other], metrics: [fid_lenet]}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that was trained into `~/runs`, by a sweep of one job."""
    folder = tmp_path_factory.mktemp("home")
    place = folder / "work"
    place.mkdir()
    words = ["-m", *small(Path("'~/runs'"), "model=vae", "data.root=~/data", epochs=1)]
    state = copy.deepcopy(Singleton.get_state())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(folder))
        patched.setattr(sys, "argv", ["train.py", *words])
        patched.setattr(argparse.ArgumentParser, "print_usage", None)
        for name in ("HYDRA_FULL_ERROR", BY_USER, "PYTHONWARNINGS"):
            patched.setenv(name, "")  # restored afterwards
        patched.chdir(place)
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    Singleton.set_state(state)
    assert list(place.iterdir()) == []
    return folder


@pytest.fixture
def at_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.mark.usefixtures("at_home")
def test_a_sweep_writes_to_the_home_directory(home: Path) -> None:
    assert (home / "runs" / RUN / "status.json").exists()
    assert (home / "runs" / ".multirun").is_dir()
    config = compose_job(["output_dir=~/runs", f"extend='~/runs/{RUN}'"]).config
    assert config["output_dir"] == str(home / "runs")
    assert config["extend"] == str(home / "runs" / RUN)
    assert load_model(f"~/runs/{RUN}").latent_dim == 64


def test_every_command_takes_it(at_home: Path, tmp_path: Path) -> None:
    run = f"~/runs/{RUN}"
    (at_home / "study.yaml").write_text(STUDY, encoding="utf-8")
    (at_home / "space.yaml").write_text("nothing: [1]", encoding="utf-8")
    for arguments in (
        ["sample", run, "--count=2", "--output=~/images.npy"],
        ["reconstruct", run, "--output=~/pairs.png", "--data-root=~/data"],
        ["explore", run, "--output=~/page.html"],
        ["runs", "~/runs"],
        ["study", "~/study.yaml", "--output=~/study"],
    ):
        code, text = call(*arguments)
        assert code == 0, text
    assert np.load(at_home / "images.npy").shape == (2, 28, 28)
    for name in ("pairs.png", "page.html"):
        assert (at_home / name).is_file()
    assert load_study("~/study.yaml").name == "study"
    code, text = call("search", "model=vae", "--space=~/space.yaml", "--storage=sqlite:///~/s.db")
    assert code == 1
    assert "unknown option 'nothing'" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("at_home")
def test_the_folder_of_the_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MNISTDataModule(root="~/data").root == home / "data"
    monkeypatch.setenv("GEN_MODELS_DATA", "~/other")
    assert MNISTDataModule().root == home / "other"


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user id that /etc/passwd does not have."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: os.fspath(path))


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_directory_it_is_one_line(tmp_path: Path) -> None:
    assert cache_folder() is None
    assert expanded(tmp_path / "~") == tmp_path / "~"
    with pytest.raises(UserError, match=r"~/x: there is no home directory: write the path in full"):
        expanded("~/x")
    result = CliRunner().invoke(app, ["runs", "~/runs"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "there is no home directory" in result.stderr
