"""A study of a user's own, ten lines of YAML; and every way to get one wrong."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from synthetic import configured, make_run
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.comparison.compare import compare
from gen_models.composition import compose_overrides
from gen_models.errors import UserError
from gen_models.study.answer import answer
from gen_models.study.load import load_study

OWN = """\
title: Does dropout help?
seeds: [3, 4]
arms:
  with: model=gan phase=baseline data=digits
  without: model=gan phase=baseline data=digits model.dropout=0.0
claims:
  - name: D1
    says: Dropout in the discriminator brings new images nearer to real ones.
    kind: better
    arms: [with, without]
    metrics: [fid_lenet]
"""
ARMS = ("model=gan", "phase=baseline", "data=digits")


def write(folder: Path, text: str) -> Path:
    file = folder / "own.yaml"
    file.write_text(text)
    return file


def make_runs(folder: Path, overrides: Sequence[str] = ()) -> None:
    for seed, noise in ((3, 0.0), (4, 0.1)):
        words = (*ARMS, *overrides, f"seed={seed}")
        make_run(folder, *words, fid=10.0 + noise)
        make_run(folder, *words, "model.dropout=0.0", fid=20.0 + noise)


def test_it_is_answered(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, OWN))
    make_runs(tmp_path / "runs")
    comparison = compare([tmp_path / "runs"])
    found = answer(study, comparison.groups, comparison.bounds, lambda some: configured(*some))
    assert found.title == "Does dropout help?"
    (claim,) = found.answers
    assert (claim.claim, claim.outcome) == ("D1", "supported")
    assert "lower by 10.00" in claim.parts[0].text


def test_what_is_missing_is_named_with_the_studys_seeds(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, OWN))
    make_run(tmp_path / "runs", *ARMS, "seed=3")
    comparison = compare([tmp_path / "runs"])
    found = answer(study, comparison.groups, comparison.bounds, lambda some: configured(*some))
    (claim,) = found.answers
    assert claim.outcome == "not answered"
    assert claim.commands == [
        "python train.py -m model=gan phase=baseline data=digits model.dropout=0.0 seed=3,4"
    ]


def test_a_list_of_values_is_an_arm_each_and_departures_are_named(tmp_path: Path) -> None:
    listed = OWN.replace("  without:", "  others:").replace("dropout=0.0", "dropout=0.0,0.1")
    study = load_study(write(tmp_path, listed.replace("[with, without]", "[with, others]")))
    study.claims[0].contrasts[0].kind = "best"
    make_runs(tmp_path / "runs", overrides=["model.ema_decay=0.5"])
    make_run(tmp_path / "runs", *ARMS, "model.dropout=0.1", "model.ema_decay=0.5", fid=30.0)
    comparison = compare([tmp_path / "runs"])
    found = answer(study, comparison.groups, comparison.bounds, lambda some: configured(*some))
    (part,) = found.answers[0].parts
    assert part.outcome == "supported"
    assert part.contrast == "dropout 0.3 against 0, the best other (ema_decay 0.5)"
    assert part.text.startswith("the lowest of the three, by more than slightly")


def test_a_change_from_nothing_has_no_percentage(tmp_path: Path) -> None:
    shown = OWN.replace("metrics: [fid_lenet]", "metrics: [missing_digits]\n    show: change")
    study = load_study(write(tmp_path, shown))
    make_runs(tmp_path / "runs")
    comparison = compare([tmp_path / "runs"])
    found = answer(study, comparison.groups, comparison.bounds, lambda some: configured(*some))
    assert found.answers[0].parts[0].text == "the same with 2 seeds"


def test_the_engine_needs_no_torch() -> None:
    code = (
        "import sys, gen_models.study.answer, gen_models.study.load;"
        "gen_models.study.load.load_study('wanare'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_answers_it(tmp_path: Path) -> None:
    make_runs(tmp_path / "runs")
    file = write(tmp_path, OWN)
    words = ["compare", tmp_path / "runs", "--study", file, "--output", tmp_path / "report"]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "D1 Dropout in the discriminator" in result.output
    assert "supported" in (tmp_path / "report" / "results.json").read_text()
    assert "Does dropout help?" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("arms: [with, without]", "arms: [with, wihtout]", "unknown: wihtout; known are with"),
        ("kind: better", "kind: superb", "unknown: superb; known are better, best"),
        ("metrics: [fid_lenet]", "metrics: [fid]", "fid: unknown"),
        ("metrics: [fid_lenet]", "metrics: [grey_share]", "neither lower nor higher is better"),
        ("metrics: [fid_lenet]", "metrics: []", "metrics: must be one or more"),
        ("arms: [with, without]", "arms: [with]", "better needs 2 arms or more, not 1"),
        ("seeds: [3, 4]", "seeds: [3, -4]", "seeds: must be whole numbers"),
        ("seeds: [3, 4]", "seeds: [3, 3]", "seeds: must be whole numbers"),
        ("seeds: [3, 4]", "seeds: many", "seeds: must be a list of whole numbers"),
        ("seeds: [3, 4]", "seeds: [3, 4.5]", "seeds[1]: must be a list of whole numbers"),
        ("arms: [with, without]", "arms: [with, with]", "arms: must be different"),
        ("arms: [with, without]", "arms: with", "arms: must be a list of names"),
        ("    arms: [with, without]\n", "", "arms: must be a list of names"),
        ("with: model=gan", "with: {lr: 1}  # ", "arms.with: must be overrides of train.py"),
        ("with: model=gan", "with: 'model=gan \"'  # ", "arms.with: No closing quotation"),
        ("kind: better", "kind: better\n    margin: -0.1", "margin: must be a share"),
        ("kind: better", "kind: better\n    decides: false", "no part decides the claim"),
        ("kind: better", "kind: better\n    show: all", "unknown: all; known are references"),
        ("kind: better", "kind: better\n    epochs: 3", "epochs: unknown; known are kind"),
        ("claims:", "claims: C1\nquestion: |", "claims: must be a list"),
        ("title:", "titel:", "titel"),
        ("says:", "tells:", "says"),
        ("name: D1", "name: [D1", "cannot be read as YAML"),
    ],
)
def test_bad_input_is_one_line_that_names_file_and_key(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    assert old in OWN
    file = write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_study(file)
    message = str(caught.value)
    assert named in message
    assert str(file) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("model.dropout=0.0", "model.dropuot=0.0", "arms.without"),
        (" model.dropout=0.0", "", "have a run in common"),
        ("data=digits model.dropout", "data=mnist model.dropout", "different data sets"),
    ],
)
def test_arms_that_cannot_be_trained_are_named(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    study = load_study(write(tmp_path, OWN.replace(old, new, 1)))
    make_run(tmp_path / "runs", *ARMS, "seed=3")
    comparison = compare([tmp_path / "runs"])
    with pytest.raises(UserError, match=named) as caught:
        answer(study, comparison.groups, comparison.bounds, compose_overrides)
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such study: .* one of: wanare"):
        load_study(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="no such study"):
        load_study("nothing")
