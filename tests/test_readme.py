"""What the README says is true, and what it left to docs/: commands, files, names, figures."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from typer.main import get_command

from gen_models.analysis.metrics import BOUNDS, metric
from gen_models.analysis.runs import Run
from gen_models.cli import app
from gen_models.study.load import load_study
from gen_models.study.table import read_table

README = (ROOT / "README.md").read_text()
EXTEND, OPTIONS, RESULTS = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("extend", "options", "results")
)
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
    assert first == "pip install -e . && python train.py model=gan phase=best data=mnist5k"
    assert second == 'pip install -e ".[dev]" && pytest'


def test_pictures_and_files_that_are_shown_exist() -> None:
    for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
    layout = EXTEND.split("## Layout", 1)[1].split("```")[1]
    top = [path for path in (ROOT / "gen_models").iterdir() if path.stem[0] not in "._"]
    files = {path.name for path in top if path.suffix == ".py"}
    assert set(re.findall(r"[a-z]+\.py", layout)) - {"train.py"} == files
    rooms = {f"{path.name}/" for path in top if path.is_dir()}
    assert rooms <= set(layout.split())


def test_the_links_lead_somewhere() -> None:
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for path in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / path).exists(), (file, path)


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150
    for block in re.findall(r"```(?:bash|python)\n(.*?)```", README, re.DOTALL):
        assert max(map(len, block.splitlines())) <= 80


def test_the_study_that_is_shown_can_be_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(question:.*?)```", EXTEND, re.DOTALL)
    (tmp_path / "study.yaml").write_text(block)
    assert [claim.name for claim in load_study(tmp_path / "study.yaml").claims] == ["D1"]


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z_]+@", README)


def test_every_group_in_the_table_lists_its_options() -> None:
    for group in ("activation", "data", "learning_rate", "model", "phase", "sweep"):
        row = next(line for line in OPTIONS.splitlines() if line.startswith(f"| `{group}=`"))
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert path.stem in row


STUDY = read_table(ROOT / "docs" / "study").rows
COLUMNS = ("fid_lenet", "coverage", "recall", "encoder/mse", "inversion/mse", "test/loss")


@pytest.mark.parametrize("name", ["floor", "gaussian", "noise"])
def test_the_bounds_are_those_of_the_study(name: str) -> None:
    shown = [metric(key).show(STUDY[0].metrics.get(f"{name}/{key}")) for key in COLUMNS]
    row = f"| *{BOUNDS[name]}* | | {' | '.join(shown)} |"
    assert row in (ROOT / "docs" / "results.md").read_text().splitlines()


def test_the_readmes_bounds_are_those_of_the_study() -> None:
    cells = [
        "; ".join(
            metric(key).show(STUDY[0].metrics[f"{name}/{key}"]) for name in ("floor", "gaussian")
        )
        for key in ("fid_lenet", "coverage")
    ]
    row = f"| *real images; crude Gaussian* | | *{cells[0]}* | *{cells[1]}* | | |"
    assert row in README.splitlines()


def test_the_readmes_verdicts_are_those_of_the_study() -> None:
    text = (ROOT / "docs" / "study" / "study.md").read_text()
    verdicts = re.findall(r"^\| C\d \| .* \| \*\*(.*)\*\* \|$", text, re.MULTILINE)
    supported, contradicted = (
        sum(verdict.startswith(word) for verdict in verdicts)
        for word in ("supported", "contradicted")
    )
    rest = len(verdicts) - supported - contradicted
    assert f"({supported} supported, {contradicted} contradicted, {rest} open)" in README


def runs(arm: str) -> list[Run]:
    return [row for row in STUDY if row.record["arm"] == arm]


def median_distance(arm: str) -> str:
    found = [row.metrics["fid_lenet"] for row in runs(arm) if not row.failed]
    return f"{np.median(found):.2f}"


def test_the_other_figures_are_those_of_the_study() -> None:
    text = " ".join(RESULTS.split())
    rates = " and ".join(median_distance(arm) for arm in ("gan_lr_5e_4", "gan_final_50"))
    assert f"a median `fid_lenet` of {rates} after 50 epochs" in text
    failed, total = sum(row.failed for row in runs("gan_lr_2e_3")), len(runs("gan_lr_2e_3"))
    assert failed == total
    assert f"0.002 fails in all of {total} runs" in text
    longer = median_distance("gan_final_no_dropout")
    assert f"{median_distance('gan_final_50_no_dropout')}, and {longer} after 100" in text
    longer = median_distance("vae_512_512_512")
    assert f"three layers of 512 units `fid_lenet` is {longer} after 30 epochs" in text
    old = [row for arm in ("2e_3", "1e_4", "5e_5") for row in runs(f"gan_lr_{arm}_v2")]
    failed = sum(row.failed for row in old)
    assert f"{failed} of {len(old)} GANs at the rates 0.002, 0.0001 and 0.00005 failed" in text
