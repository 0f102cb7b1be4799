"""Which runs are found, what is said of them, and what is refused."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import edit, make_run, make_study
from test_cli import call

from gen_models.analysis.groups import group_runs
from gen_models.analysis.runs import READABLE
from gen_models.comparison.compare import compare, find_runs
from gen_models.comparison.report import to_csv, write_report
from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory


def test_a_group_stands_for_a_phase_that_was_not_given_itself(tmp_path: Path) -> None:
    for lr, seeds in (("5e-4", 1), ("1e-4", 3), ("5e-5", 2)):
        for seed in range(seeds):
            make_run(tmp_path, "model=gan", f"lr={lr}", f"seed={seed}")
    for seed in range(2):
        make_run(tmp_path, "model=vae", f"seed={seed}")
    found = compare([tmp_path])
    assert [(pair.one.label, pair.other.label) for pair in found.verdicts] == [
        ("GAN final, lr 0.0001", "VAE final"),
        ("GAN final, lr 5e-05", "GAN final, lr 0.0001"),
        ("GAN final, lr 0.0005", "GAN final, lr 0.0001"),
    ]
    assert all(group.reference for group in found.groups)


def test_a_run_that_diverged_stays_in_its_group(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "model=vae", "sampler=gmm", f"seed={seed}") for seed in (0, 1)]
    for run in runs:
        run.write_status(evaluation={"sampler": "gmm-30"})
    make_run(tmp_path, "model=vae", "sampler=gmm", "seed=2", status="diverged")
    (group,) = compare([tmp_path]).groups
    assert [run.failed for run in group.runs] == [False, False, True]


@pytest.mark.parametrize(
    "option",
    ["model.likelihood=gaussian", "model.binarize=true", "model.beta=2", "model.iwae_samples=5"],
)
def test_losses_of_other_definitions_are_not_set_against_one_another(
    option: str, tmp_path: Path
) -> None:
    for options in ((), (option,), ("lr=2e-3",)):
        make_run(tmp_path, "model=vae", *options, loss=90.0 + len(options))
    found = {
        pair.one.label: {verdict.metric for verdict in pair.verdicts}
        for pair in compare([tmp_path]).verdicts
    }
    (other,) = (label for label in found if "lr" not in label)
    assert "test/loss" in found["VAE final, lr 0.002"]
    assert "test/loss" not in found[other]
    assert found["VAE final, lr 0.002"] - found[other] == {"test/loss"}


def test_a_run_counts_once_however_it_is_named(tmp_path: Path) -> None:
    study = make_study(tmp_path / "runs", seeds=1)
    link = tmp_path / "link"
    link.symlink_to(study)
    (study / "loop").symlink_to(study)
    one = next(study.glob("mnist/gan_final/*"))
    assert len(find_runs([study, one, link, study / "mnist"])[0]) == 4


def test_a_folder_without_the_unfit_is_compared(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=1)
    unfit = {
        status: make_run(tmp_path, "model=gan", f"seed={seed}", status=status)
        for seed, status in enumerate(("running", "interrupted", "failed"), start=5)
    }
    runs, notes = find_runs([tmp_path])
    assert len(runs) == 4
    assert len(notes) == 3
    for status, run in unfit.items():
        assert any(str(run.path) in note and status in note for note in notes)
        with pytest.raises(UserError, match=f"not finished .its status is {status}"):
            find_runs([tmp_path, run.path])


Break = Callable[[RunDirectory], object]


@pytest.mark.parametrize(
    ("spoil", "file", "says"),
    [
        (lambda run: run.status.write_text("{"), "status.json", "cannot be read"),
        (lambda run: run.metrics.write_text("[1]"), "metrics.json", "not one of our files"),
        (lambda run: run.metrics.write_text('{"fid_lenet": "8"}'), "metrics.json", "not a number"),
        (lambda run: run.metrics.unlink(), "metrics.json", "cannot be read"),
        (lambda run: run.config.write_text("a: ["), "config.yaml", "another version"),
        (lambda run: run.config.unlink(), "config.yaml", "cannot be read"),
        (lambda run: run.config.write_text("seed: 0\n"), "config.yaml", "another version"),
        (lambda run: run.status.write_text("{}"), "status.json", "another version"),
        (lambda run: edit(run.status, versions={"gen-models": "9.9.1"}), "status.json", "9.9.1"),
    ],
)
def test_a_spoilt_run_is_left_out_or_refused(
    spoil: Break, file: str, says: str, tmp_path: Path
) -> None:
    make_run(tmp_path, "model=gan")
    run = make_run(tmp_path, "model=gan", "seed=1")
    spoil(run)
    (note,) = find_runs([tmp_path])[1]
    assert note.startswith(f"left out: {run.path / file}: ")
    assert says in note
    code, text = call("compare", run.path, "--output", tmp_path / "out")
    assert code == 1
    assert text.count("\n") == 1
    assert says in text
    assert str(run.path / file) in text


def test_the_order_of_options_makes_no_group_of_its_own(tmp_path: Path) -> None:
    options = ["+trainer.gradient_clip_val=1.0", "+trainer.benchmark=true"]
    make_run(tmp_path / "a", "model=vae", *options)
    make_run(tmp_path / "b", "model=vae", *options[::-1], "seed=1")
    (group,) = group_runs(find_runs([tmp_path])[0])
    assert [run.seed for run in group.runs] == [0, 1]


def test_runs_of_this_version_and_of_the_one_before_are_read(tmp_path: Path) -> None:
    ours = make_run(tmp_path, "model=gan").read_status()["versions"]["gen-models"]
    before = make_run(tmp_path, "model=gan", "seed=1")
    edit(before.status, versions={"gen-models": "0.1.0"})
    assert [run.seed for run in find_runs([tmp_path])[0]] == [0, 1]
    assert ours.rpartition(".")[0] in READABLE


def test_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "model=gan", status="running")
    (tmp_path / "empty").mkdir()
    good = make_run(tmp_path / "good", "model=gan").path
    for name, says in (("empty", "no run here"), ("gone", "no run here"), ("a", "is running")):
        paths = [tmp_path / name] if name == "a" else [good, tmp_path / name]
        code, text = call("compare", *paths)
        assert code == 1
        assert says in text
        assert text.count("\n") == 1


def test_two_data_sets_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "model=vae")
    make_run(tmp_path, "model=vae", "data=digits")
    with pytest.raises(UserError, match=r"different data sets: digits \(.*\), mnist \(.*seed0\)"):
        find_runs([tmp_path])


def test_one_run_in_two_folders_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "model=gan")
    shutil.copytree(run.path, tmp_path / "copy")
    with pytest.raises(UserError, match="the same settings and seed in two folders"):
        find_runs([tmp_path])


def test_a_run_that_is_not_evaluated_is_told_how(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan", fid=None)
    remedy = f"gen-models evaluate {run.path}"
    with pytest.raises(UserError, match="not evaluated") as error:
        find_runs([tmp_path])
    assert remedy in str(error.value)
    make_run(tmp_path, "model=vae")
    runs, notes = find_runs([tmp_path])
    assert len(runs) == 2
    assert notes == [f"not evaluated yet; type {remedy}"]


def test_diverged_runs_and_numbers_count_as_the_worst(tmp_path: Path) -> None:
    make_study(tmp_path)
    run = make_run(tmp_path, "model=gan", "seed=7", status="diverged", error="d_loss is nan")
    edit(RunDirectory(tmp_path / "mnist/vae_final/seed1").metrics, coverage=math.nan)
    comparison = compare([tmp_path])
    groups = {group.label: group for group in comparison.groups}
    final = groups["GAN final"].summaries.get("fid_lenet")
    assert final is not None
    assert final.failures == "1 of 4 diverged"
    assert final.median == pytest.approx(8.0)
    told = {
        (pair.one.label, pair.other.label, v.metric): v
        for pair in comparison.verdicts
        for v in pair.verdicts
    }
    verdict = told["GAN final", "GAN baseline", "fid_lenet"]
    assert verdict.test is not None
    assert verdict.test.theta == pytest.approx(3 / 4)  # three of four are better than all
    assert verdict.text.startswith("8.00 (1 of 4 diverged) against 37.00; better in 75 % [")
    assert "(1 of 3 diverged)" in told["VAE final", "VAE baseline", "coverage"].text
    assert any(str(run.path) in note and "d_loss is nan" in note for note in comparison.notes)
    rows = list(csv.DictReader(to_csv(comparison.groups).splitlines()))
    lost = [row["metric"] for row in rows if (row["run"], row["value"]) == (str(run.path), "nan")]
    assert len(set(lost)) == len(lost) > 3


def test_code_that_differs_within_a_model_is_marked(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=2)
    assert compare([tmp_path]).notes == []  # the models' own files differ, as they must
    edit(RunDirectory(tmp_path / "mnist/gan_final/seed1").status, fingerprint="other")
    (note,) = compare([tmp_path]).notes
    assert "runs of the GAN were trained with different code" in note
    assert "seed1" in note


def test_bounds_of_another_classifier_are_marked(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=1)
    edit(RunDirectory(tmp_path / "mnist/vae_final/seed0").metrics, **{"floor/fid_lenet": 0.5})
    (note,) = compare([tmp_path]).notes
    assert "not measured by the same classifier" in note


def test_metrics_json_of_a_run_is_left_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan")
    before = json.loads(run.metrics.read_text())
    compare([tmp_path])
    assert json.loads(run.metrics.read_text()) == before


def test_what_was_not_measured_alike_is_not_compared(tmp_path: Path) -> None:
    """Other images of one name; the same, in features of a classifier and of random weights."""
    named = {"A": {"data": {"digest": "1"}}, "B": {"data": {"digest": "2"}}, "C": {}}
    named["C"] = {"data": {"digest": "1"}, "evaluation": {"features": "random weights"}}
    named["A"]["evaluation"] = named["B"]["evaluation"] = {"features": "classifier"}
    runs = {
        name: make_run(tmp_path / name, "model=vae", f"seed={seed}", **fields).path
        for seed, (name, fields) in enumerate(named.items())
    }
    for others, word in ((("A", "B"), "data sets"), (("A", "C"), "features")):
        with pytest.raises(UserError, match=f"different {word}: ") as error:
            compare([runs[name] for name in others])
        assert all(str(runs[name]) in str(error.value) for name in others)


def test_without_a_classifier_the_page_says_why(tmp_path: Path) -> None:
    record = {"features": "random weights", "reason": "its images have no labels"}
    run = make_run(tmp_path, "model=vae", evaluation=record)
    edit(run.metrics, missing_digits=None)
    write_report(compare([tmp_path]), tmp_path / "out")
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert text.count("random weights, because its images have no labels") == 2
        assert "are missing" not in text
    edit(run.status, evaluation={"features": "classifier", "classifier_accuracy": 0.987})
    write_report(compare([tmp_path]), tmp_path / "out")
    assert "which knows 98.7 % of the test images" in (tmp_path / "out/report.html").read_text()
