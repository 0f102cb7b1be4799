"""The rooms of the package: each imports only those that stand before it, and some no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "gen_models"
MODELS = "gen_models.models"
BASE = ["places", "errors", "files", "checks", "seeding", "figures", "terminal", "machine"]
ROOMS = ["data", "models", "metrics", "runs", "training", "evaluation", "analysis"]
ROOMS += ["comparison", "study", "search", "explorer", "export", "pretrained"]
ORDER = [*BASE, *ROOMS, "composition", "sweep", "cli", "__main__"]


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports, within functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "gen_models":
            names = [f"gen_models.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.startswith("gen_models."):
                yield name.split(".")[1]


FILES = [file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py"]


def test_every_room_is_in_the_order() -> None:
    assert {room_of(file) for file in FILES} == set(ORDER)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    place = ORDER.index(room_of(file))
    later = [room for room in imported(file) if ORDER.index(room) > place]
    assert not later


def test_models_do_not_import_one_another() -> None:
    shared = {
        "cuda_graphs",
        "interface",
        "layers",
        "losses",
        "networks",
        "pseudo_inputs",
        "velocity",
    }
    for file in (PACKAGE / "models").glob("[a-z]*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(MODELS):
                module = (node.module or "").removeprefix(MODELS).removeprefix(".")
                assert {module} <= shared if module else {a.name for a in node.names} <= shared


WITHOUT_TORCH = """
import sys
for module in sys.argv[1:]:
    __import__(f"gen_models.{module}")
    assert "torch" not in sys.modules, module
"""


def test_what_needs_no_torch_does_not_import_it() -> None:
    modules = ["cli", "composition", "sweep", "figures", "runs.directory", "runs.listing",
               "comparison.compare", "comparison.report",
               "study.page", "study.plan", "study.train", "study.table"]  # fmt: skip
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *modules], check=True)


def test_hydra_is_known_to_the_composition_and_the_sweep_alone() -> None:
    for file in FILES:
        text = file.read_text()
        knows = "import hydra" in text or "from hydra" in text
        assert knows == (file.relative_to(PACKAGE) in (Path("composition.py"), Path("sweep.py")))


UNIX_ALONE = """
import pkgutil, signal, sys, warnings
warnings.simplefilter("ignore")  # filelock's, which is told by the system's name what there is
sys.modules["fcntl"] = sys.modules["resource"] = None
del signal.SIGHUP
import gen_models
for module in pkgutil.walk_packages(gen_models.__path__, "gen_models."):
    if not module.name.endswith("__main__"):  # that one runs the command line
        __import__(module.name)
from pathlib import Path
from gen_models.runs.directory import RunDirectory
from gen_models.machine import peak_memory
run = RunDirectory(Path(sys.argv[1]) / "run")
with run.lock():
    run.write_status(status="done", fingerprint="")
assert "peak_memory_mib" not in peak_memory()
"""


@pytest.mark.slow
def test_what_windows_lacks_is_needed_by_no_import(tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNIX_ALONE, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "two processes are not kept apart" in ran.stderr
