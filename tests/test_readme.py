"""What the README says is true: its commands exist, its files and names too."""

import json
import re
import shlex
import subprocess
import sys
from statistics import mean

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from typer.main import get_command

from gen_models.cli import app

README = (ROOT / "README.md").read_text()
LINES = [
    part.strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    for part in line.partition("  #")[0].split("&&")
]
TRAIN = [line for line in LINES if line.startswith("python train.py")]
OURS = [line for line in LINES if line.startswith("gen-models")]


def test_there_are_commands_to_test() -> None:
    assert len(TRAIN) >= 3
    assert len(OURS) >= 2


@pytest.mark.parametrize("line", TRAIN)
def test_training_commands_compose(line: str) -> None:
    overrides = [word for word in shlex.split(line)[2:] if word not in ("-m", "--help")]
    single = [re.sub(r"(?<==)([^,\[\]]+),.*", r"\1", override) for override in overrides]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("config", single).model


@pytest.mark.parametrize("line", OURS)
def test_our_commands_exist_with_their_options(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known


def test_the_set_up_commands_are_read_by_ci() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "readme_commands.py")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    first, second = printed.splitlines()
    assert first == "pip install -e . && python train.py model=gan phase=final data=digits"
    assert second == 'pip install -e ".[dev]" && pytest'


def test_pictures_and_files_that_are_shown_exist() -> None:
    for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
    layout = README.split("## Layout", 1)[1]
    named = set(re.findall(r"[a-z]+\.py", layout))
    assert named - {"train.py"} == {
        path.name for path in (ROOT / "gen_models").glob("[a-z]*.py")
    }  # fmt: skip


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z_]+@", README)


def test_every_group_in_the_table_lists_its_options() -> None:
    for group in ("activation", "data", "sweep"):
        row = next(line for line in README.splitlines() if line.startswith(f"| `{group}=`"))
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert path.stem in row


RESULTS: dict[str, dict[str, float]] = json.loads((ROOT / "docs" / "results.json").read_text())


@pytest.mark.parametrize("model", ["GAN baseline", "GAN final", "VAE baseline", "VAE final"])
def test_the_results_are_those_of_the_measured_runs(model: str) -> None:
    """Each mean in the two tables, to the digits shown, from docs/results.json."""
    name = model.lower().replace(" ", "_")
    runs = [metrics for run, metrics in RESULTS.items() if run.startswith(f"{name}/")]
    section = README.split("## Results", 1)[1].split("\n## ", 1)[0]
    generation, reconstruction = (
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in section.splitlines()
        if line.startswith(f"| {model} |")
    )
    header = next(line for line in README.splitlines() if line.startswith("| | seeds |"))
    keys = re.findall(r"`(\w+)`", header)
    assert int(generation[1]) == len(runs)
    columns = dict(zip(keys, generation[2:], strict=True))
    ways = ["encoder/mse", "inversion/mse", "inversion/control_mse"]
    columns |= dict(zip(ways, reconstruction[1:], strict=True))
    for key, cell in columns.items():
        if cell == "-":
            assert key not in runs[0]
            continue
        shown = re.split(r"[ ,]", cell)[0]
        digits = len(shown.partition(".")[2])
        assert shown == f"{mean(metrics[key] for metrics in runs):.{digits}f}", key
