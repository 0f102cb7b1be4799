"""The package as a wheel installs it, with train.py and conf/ inside of it (see .ci/wheel)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_command import ENVIRONMENT
from test_front_door import call_train

from gen_models.places import COMMAND, CONF, TRAIN, how_to_install

FINDS = """
from gen_models.composition import compose_overrides
from gen_models.composition import one_line
from gen_models.places import COMMAND, TRAIN, how_to_install
from gen_models.search.space import FOLDER, read_space
from gen_models.study.load import load_study

assert load_study("wanare").arms
assert read_space(FOLDER / "vae.yaml").distributions
assert compose_overrides(["model=vae"])["max_epochs"] == 100
assert COMMAND == "gen-models train"
assert TRAIN.is_file()  # which a study starts
assert "-e" not in how_to_install("search")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, as a wheel leaves it."""
    site = tmp_path_factory.mktemp("site")
    package = site / "gen_models"
    shutil.copytree(ROOT / "gen_models", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", package / "front" / "conf")
    shutil.copy(ROOT / "train.py", package / "front")
    return site


def call(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=ENVIRONMENT | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_checkout_uses_its_own() -> None:
    assert (ROOT / "conf", ROOT / "train.py") == (CONF, TRAIN)
    assert COMMAND == "python train.py"
    assert how_to_install("search") == "pip install -e '.[search]'"


def test_the_configuration_is_found_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    result = call(installed, tmp_path, "-c", FINDS)
    assert result.returncode == 0, result.stderr


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize(
    "words",
    [pytest.param(["lr=-1", "data=digits"], marks=pytest.mark.slow), ["--nonsense"]],
)
def test_gen_models_train_is_train_py(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = call_train(monkeypatch, capfd, *words)
    result = call(ROOT, tmp_path, "-m", "gen_models", "train", *words)
    assert (result.returncode, result.stderr) == expected
