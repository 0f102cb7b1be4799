"""The four files of a report, and what the command prints."""

import csv
import json
import math
import re
from pathlib import Path

import pytest
from markupsafe import escape
from synthetic import edit, make_run, make_study
from test_cli import call

from gen_models.comparison.compare import compare
from gen_models.comparison.summary import Finding, result
from gen_models.runs.directory import RunDirectory

FILES = ["report.html", "report.md", "results.csv", "results.json"]


def report(*arguments: object, output: Path) -> tuple[str, dict[str, str]]:
    code, text = call("compare", *arguments, "--output", output)
    assert code == 0, text
    return text, {name: (output / name).read_text() for name in FILES}


def test_a_study_makes_four_files(tmp_path: Path) -> None:
    study = make_study(tmp_path / "runs", pictures=True)
    text, files = report(study, output=tmp_path / "out")
    for name in FILES:
        assert str(tmp_path / "out" / name) in text
    assert (
        "fid_lenet 8.00 against 37.00; better in 100 % [44, 100] of pairs, p = 0.1: 3 seeds" in text
    )
    page = files["report.html"]
    assert page.count("data:image/png;base64,") == 1 + 4 * 2
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert len(re.findall(r"<img ", page)) == len(re.findall(r'<img [^>]*alt="\w', page))
    charts = re.findall(r'<figure class="chart" role="img" aria-label="\w', page)
    assert len(charts) == page.count('<figure class="chart"') > 4
    for shown in ("compares with no published FID", "crude Gaussian"):
        assert shown in page
    assert "| GAN final | 0 of 3 | 8.00; 7.70 to 8.30 |" in files["report.md"]
    assert "| *pixel noise* | | 77.10 |" in files["report.md"]
    results = json.loads(files["results.json"])
    group = results["groups"]["GAN final"]["metrics"]["fid_lenet"]
    assert group["median"] == pytest.approx(8.0)
    assert group["failed"] == []
    assert group["values"] == pytest.approx({"0": 7.7, "1": 8.0, "2": 8.3})
    assert results["bounds"]["floor/fid_lenet"] == 0.2
    rows = list(csv.DictReader(files["results.csv"].splitlines()))
    runs = {row["run"] for row in rows}
    assert len(runs) == 12
    first = min(runs)
    measured = json.loads((Path(first) / "metrics.json").read_text())
    told = {row["metric"]: float(row["value"]) for row in rows if row["run"] == first}
    assert measured.items() <= told.items()


def test_one_seed_cannot_decide(tmp_path: Path) -> None:
    text, files = report(make_study(tmp_path / "runs", seeds=1), output=tmp_path / "out")
    assert "7.70 against 36.70; one seed cannot decide" in text
    assert "Most realistic new images: cannot decide." in text
    for page in (files["report.html"], files["report.md"]):
        assert "±" not in page
    verdicts = json.loads(files["results.json"])["verdicts"]
    assert all(verdict["found"] is None for verdict in verdicts)


def test_a_diverged_run_is_shown(tmp_path: Path) -> None:
    make_run(tmp_path, "model=gan", status="diverged", error="g_loss is inf")
    make_run(tmp_path, "model=vae")
    make_run(tmp_path, "model=vae", "seed=1")
    edit(RunDirectory(tmp_path / "mnist/vae_final/seed1").metrics, fid_lenet=math.inf)
    text, files = report(tmp_path / "mnist", output=tmp_path / "out")
    for shown in (text, files["report.html"], files["report.md"]):
        assert "diverged" in shown
        assert "g_loss is inf" in shown
    assert "| GAN final | 1 of 1 | diverged |" in files["report.md"]
    assert "| VAE final | 1 of 2 |" in files["report.md"]
    assert "NaN" not in files["results.json"]
    assert ",nan" in files["results.csv"]


def test_markup_in_a_path_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>runs & more"
    make_run(folder, "model=gan", fid=None)
    make_run(folder, "model=vae")
    _, files = report(folder, output=tmp_path / "out")
    assert "<b>runs" not in files["report.html"]
    assert "&lt;b&gt;runs &amp; more" in files["report.html"]


def sweep(folder: Path, *, quick: bool = True) -> Path:
    for lr, fid in (("2e-3", None), ("5e-4", 14.0), ("2e-4", 9.0), ("1e-4", 9.05)):
        for seed, noise in enumerate((-0.2, 0.0, 0.2)):
            overrides = ("model=gan", f"lr={lr}", f"seed={seed}")
            if fid is None:
                make_run(folder, *overrides, status="diverged" if seed else "done", fid=50.0)
            elif quick:
                make_run(folder, *overrides, fid=None, metrics={"quick/fid_lenet": fid + noise})
            else:
                make_run(folder, *overrides, fid=fid + noise)
    return folder


def test_by_lr_finds_the_best_and_marks_the_diverged(tmp_path: Path) -> None:
    _, files = report(sweep(tmp_path, quick=False), "--by", "lr", output=tmp_path / "out")
    (found,) = json.loads(files["results.json"])["sweeps"]
    assert (found["by"], found["metric"]) == ("lr", "fid_lenet")
    (line,) = found["lines"]
    assert line["best"] == "0.0002"
    assert line["text"].startswith("cannot decide; the lowest fid_lenet is that of lr 0.0002; ")
    assert "runner-up 0.0001: 9.00 against 9.05; better in 67 % [" in line["text"]
    assert (
        "3 seeds cannot decide, train at least four; failed: 0.002 (2 of 3 diverged)"
        in line["text"]
    )
    assert "✕ if it diverged" in files["report.html"]


def test_a_failed_seed_is_told_and_moves_no_median(tmp_path: Path) -> None:
    for seed, (fid, missing) in enumerate(((8.0, 0.0), (10.0, 0.0), (100.0, 9.0))):
        overrides = ("model=gan", f"seed={seed}")
        make_run(tmp_path, *overrides, fid=fid, metrics={"missing_digits": missing})
        make_run(tmp_path, "model=vae", f"seed={seed}", fid=30.0 + seed)
    realism, *_, failures = result(compare([tmp_path]))
    assert "GAN final 9.00 (1 of 3 failed), next VAE final 31.00; better in 67 %" in realism.numbers
    assert realism.answer == "cannot decide"
    assert failures.text == "Failed: 1 of 3 runs of GAN final (seed 2)."


def test_many_failed_runs_are_told_by_their_ends_and_two_are_shown(tmp_path: Path) -> None:
    for seed in (0, 2, 3, 4, 5, 6, 9):
        make_run(tmp_path / "runs", "model=gan", f"seed={seed}", fid=99.0, pictures=True)
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    assert "**7 of 7 runs of GAN final (seeds 0, 2 to 6, 9)**" in files["report.md"]
    assert re.findall(r'alt="New images drawn by [^"]*(seed \d)', files["report.html"]) == [
        "seed 0",
        "seed 2",
        "seed 3",
    ]


def test_a_model_that_failed_throughout_is_not_the_best(tmp_path: Path) -> None:
    for seed in range(3):
        made = (f"seed={seed}",)
        make_run(tmp_path, "model=gan", *made, fid=5.0, metrics={"missing_digits": 6.0})
        make_run(tmp_path, "model=vae", *made, fid=20.0, mse=0.03)
        make_run(tmp_path, "model=vae", "phase=baseline", *made, fid=30.0, mse=0.04)
    make_run(tmp_path, "model=gan", "seed=3", fid=None)  # nothing is known of it
    said = {finding.topic: finding for finding in result(compare([tmp_path]))}
    assert "VAE final 20.00, next VAE baseline" in said["Most realistic new images"].numbers
    assert said["Most varied new images"].answer == "no group alone"
    assert said["Failed"].answer == "3 of 3 runs of GAN final (seeds 0, 1, 2)"


def test_against_a_model_that_failed_throughout_the_other_is_the_best(tmp_path: Path) -> None:
    for seed in range(4):
        make_run(tmp_path, "model=gan", f"seed={seed}", fid=5.0 + seed)
        failed = {"missing_digits": 6.0, "density": 0.5}
        make_run(tmp_path, "model=vae", f"seed={seed}", fid=1.0 + seed, metrics=failed)
    compared = compare([tmp_path])
    said = {finding.topic: finding for finding in result(compared)}
    realism = said["Most realistic new images"]
    assert realism.answer == "GAN final"
    assert "GAN final 6.50, next VAE final 2.50 (4 of 4 failed)" in realism.numbers
    assert "beyond seed noise; a failed run counts as the worst" in realism.numbers
    assert said["Failed"].answer == "4 of 4 runs of VAE final (seeds 0 to 3)"
    recreation = said["Best at recreating an image with a search for z"].text
    assert "counts as the worst" in recreation or "no group alone" in recreation


def test_the_number_of_images_is_the_recorded_one(tmp_path: Path) -> None:
    quick = {"quick/fid_lenet": 9.0, "quick/coverage": 0.5}
    for model, count in (("gan", 500.0), ("vae", 500.0), ("flow", 200.0)):
        numbers = quick | {"quick/samples": count}
        make_run(tmp_path / "runs" / model, f"model={model}", fid=None, metrics=numbers)
    folders = [tmp_path / "runs" / model for model in ("gan", "vae")]
    _, files = report(*folders, output=tmp_path / "out")
    assert "distance to real images, 500 images" in files["report.md"]
    assert "Most realistic new images (of 500)" in files["report.md"]
    assert "2,000" not in files["report.md"]
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    assert "distance to real images, few images" in files["report.md"]


def test_early_stopping_is_named_and_the_epochs_are_those_that_were_trained(
    tmp_path: Path,
) -> None:
    stops = ["callbacks=early_stopping", "callbacks.early_stopping.patience=3"]
    make_run(tmp_path / "runs", "model=vae", epoch=100)
    make_run(tmp_path / "runs", "model=vae", *stops, epoch=17)
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    assert list(json.loads(files["results.json"])["groups"]) == [
        "VAE final",
        "VAE final, measured every 5 epochs, early stopping with patience 3",
    ]
    assert re.search(r"epochs \| 100 \| 17 \|", files["report.md"])


def test_the_page_opens_with_the_answer_and_folds_hashes(tmp_path: Path) -> None:
    make_study(tmp_path / "runs", seeds=4, pictures=True)
    make_run(tmp_path / "runs", "model=gan", "seed=9", status="diverged", error="g_loss is inf")
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    page = files["report.html"]
    order = [
        "Most realistic new images: <b>", "What the images look like",
        "How good each group is", "Which group is better at what", "g_loss is inf",
        "What differed between the groups", "<summary>Machine, versions and code</summary>",
        "code of gan",
    ]  # fmt: skip
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert page.count("Recreated by its encoder") == page.count("Recreated by a search for z") == 2


def test_fewer_than_four_seeds_of_either_group_cannot_decide(tmp_path: Path) -> None:
    for seed in range(6):
        make_run(tmp_path, "model=gan", f"seed={seed}", fid=8.0 + seed / 10)
        if seed < 3:
            make_run(tmp_path, "model=vae", f"seed={seed}", fid=30.0 + seed)
    (pair,) = compare([tmp_path]).verdicts
    verdict = next(each for each in pair.verdicts if each.metric == "fid_lenet")
    assert verdict.test is not None
    assert verdict.test.p < 0.05
    assert verdict.better == ""
    assert "6 and 3 seeds cannot decide" in verdict.text


def of_z(folder: Path, control: float = 0.01) -> list[Finding]:
    """Three groups that differ by how many numbers their z has; images have 784."""
    for seed in range(4):
        for options, size, mse in (
            (("model=vae",), 20.0, 0.004),
            (("model=gan",), 100.0, 0.006),
            (("model=gan", "phase=baseline"), 784.0, 2.3e-6),
        ):
            more = {"latent_dim": size, "inversion/control_share": control}
            make_run(folder, *options, f"seed={seed}", mse=mse * (1 + seed / 100),
                     metrics=more, pictures=True)  # fmt: skip
    return result(compare([folder]))


def test_recreation_names_the_size_of_z_and_crowns_no_z_as_large_as_the_image(
    tmp_path: Path,
) -> None:
    found = {finding.topic: finding for finding in of_z(tmp_path)}
    search = found["Best at recreating an image with a search for z"]
    assert search.answer == "VAE final"
    assert "VAE final 0.00406 (z of 20 numbers), next GAN final 0.00609 (z of 100" in search.numbers
    assert "GAN baseline is left out: its z has 784 numbers and an image 784" in search.numbers
    assert "z of" not in found["Most realistic new images"].text
    _, files = report(tmp_path, output=tmp_path / "out")
    assert "0.0000024; z of 784 numbers |" in files["report.md"]


def test_a_search_that_has_not_converged_is_not_the_best(tmp_path: Path) -> None:
    said = next(finding for finding in of_z(tmp_path, control=0.2) if "search" in finding.topic)
    assert said.answer == "not compared"
    assert "VAE final is left out: its search has not converged" in said.numbers


def test_a_sound_run_is_shown_before_those_that_failed(tmp_path: Path) -> None:
    for seed, fid in enumerate((99.0, 99.0, 99.0, 10.0)):
        make_run(tmp_path / "runs", "model=gan", f"seed={seed}", fid=fid, pictures=True)
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    shown = re.findall(r'alt="New images drawn by [^"]*(seed \d)', files["report.html"])
    assert shown == ["seed 3", "seed 0", "seed 1"]


def test_a_schedule_is_no_number(tmp_path: Path) -> None:
    for schedule in ("constant", "cosine"):
        make_run(tmp_path, "model=gan", f"lr_schedule={schedule}")
    (found,) = compare([tmp_path], "lr_schedule").sweeps
    assert not found.numeric
    assert [point.label for point in found.lines[0].points] == ["constant", "cosine"]


def test_a_sweep_of_which_little_is_left_says_so_once(tmp_path: Path) -> None:
    for lr, fids in (("2e-3", (99.0, 99.0)), ("5e-4", (99.0, 10.0))):
        for seed, fid in enumerate(fids):
            make_run(tmp_path, "model=gan", f"lr={lr}", f"seed={seed}", fid=fid)
    only = "GAN final: only lr 0.0005 has runs that did not fail. Failed: "
    assert [finding.text for finding in result(compare([tmp_path], "lr"))] == [
        f"{only}0.0005 (1 of 2 failed), 0.002 (2 of 2 failed)."
    ]
    edit(
        RunDirectory(tmp_path / "mnist/gan_final/seed1-lr0.0005").metrics,
        fid_lenet=99.0,
        coverage=0,
    )
    assert [finding.text for finding in result(compare([tmp_path], "lr"))] == [
        "GAN final: no best setting. Failed: 0.0005 (2 of 2 failed), 0.002 (2 of 2 failed)."
    ]


def test_runs_measured_with_other_effort_are_marked(tmp_path: Path) -> None:
    for model, restarts in (("gan", 8.0), ("vae", 1.0)):
        make_run(tmp_path, f"model={model}", metrics={"inversion/restarts": restarts})
    (note,) = compare([tmp_path]).notes
    assert note.startswith("inversion/restarts differs: 8 (")
    assert "gen-models evaluate" in note


def test_commands_are_quoted_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "runs & more"
    for lr in ("1e-3", "2e-3"):
        make_run(folder, "model=vae", f"lr={lr}", pictures=True)
    make_run(folder, "model=gan", fid=None)
    text, files = report(folder, "--by", "lr", output=tmp_path / "out")
    assert f"gen-models evaluate '{folder}/mnist/gan_final/seed0'" in text
    made = f"gen-models compare '{folder}' --by lr"
    assert f"<code>{escape(made)}</code>" in files["report.html"]


def test_no_name_or_number_is_cut_on_a_narrow_terminal(tmp_path: Path) -> None:
    few = {"quick/fid_lenet": 9.0, "quick/coverage": 0.4, "quick/encoder/mse": 0.01}
    for seed in range(2):
        make_run(tmp_path / "runs", "model=vae", f"seed={seed}", fid=9.0 + seed, metrics=few)
    text, _ = report(tmp_path / "runs", output=tmp_path / "out")
    assert "…" not in text


def test_widths_of_two_models_are_swept_at_once(tmp_path: Path) -> None:
    for model in ("gan", "vae"):
        for widths in ("[256]", "[256,256]"):
            make_run(tmp_path, f"model={model}", f"hidden_dims={widths}")
    first, *_ = compare([tmp_path], "hidden_dims").sweeps
    points = {line.label: [point.label for point in line.points] for line in first.lines}
    assert points == {"GAN final": ["256", "256-256"], "VAE final": ["256", "256-256"]}


def test_settings_have_one_order_in_the_labels_of_all_models(tmp_path: Path) -> None:
    for model in ("gan", "vae"):
        make_run(tmp_path, f"model={model}")
        make_run(tmp_path, f"model={model}", "lr=5e-4", "hidden_dims=[64]")
    labels = [group.label for group in compare([tmp_path]).groups]
    make_run(tmp_path / "other", "model=vae", "max_steps=9")
    make_run(tmp_path / "other", "model=vae", "trainer.limit_train_batches=5")
    without_reference = [group.label for group in compare([tmp_path / "other"]).groups]
    assert sorted(without_reference) == [
        "VAE final, limit_train_batches 5",
        "VAE final, max_steps 9",
    ]
    assert labels[1::2] == [f"{name} final, layers 64, lr 0.0005" for name in ("GAN", "VAE")]


def test_a_model_without_a_sampler_is_swept_by_its_prior(tmp_path: Path) -> None:
    make_run(tmp_path, "model=vae")
    make_run(tmp_path / "fitted", "model=vae").write_status(evaluation={"sampler": "gmm-30"})
    first, *_ = compare([tmp_path], "sampler").sweeps
    (line,) = first.lines
    assert {point.label for point in line.points} == {"gmm", "prior"}


def test_groups_without_a_metric_in_common_have_no_verdicts(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "model=gan")
    make_run(tmp_path / "runs", "model=gan", "phase=baseline", fid=None,
             metrics={"quick/fid_lenet": 9.0})  # fmt: skip
    _, files = report(tmp_path / "runs", output=tmp_path / "out")
    assert json.loads(files["results.json"])["verdicts"] == []
    assert "## Which group is better" not in files["report.md"]


def test_quick_numbers_are_a_column_of_their_own(tmp_path: Path) -> None:
    sweep(tmp_path)
    make_run(tmp_path, "model=gan", "lr=1e-5", fid=33.0)
    comparison = compare([tmp_path], "lr")
    assert comparison.headlines[:2] == ["fid_lenet", "quick/fid_lenet"]
    quick = [each for each in comparison.sweeps if each.metric == "quick/fid_lenet"]
    labels = [point.label for point in quick[0].lines[0].points]
    assert labels == ["0.0001", "0.0002", "0.0005", "0.002"]  # the last diverged


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("hidden_dims", {"[256]": "256", "[256,256]": "256-256"}),
        ("activation", {"relu": "relu", "tanh": "tanh"}),
        ("max_epochs", {"10": "10", "20": "20"}),
        ("model.beta", {"0.5": "0.5", "2": "2"}),
    ],
)
def test_by_any_setting(key: str, values: dict[str, str], tmp_path: Path) -> None:
    for value in values:
        for seed in (0, 1):
            make_run(tmp_path, "model=vae", f"{key}={value}", f"seed={seed}")
    found = compare([tmp_path], key).sweeps
    # beta is part of the loss: the smaller, the lower
    assert [each.metric for each in found] == ["fid_lenet", "test/loss"][: 2 - ("beta" in key)]
    assert [point.label for point in found[0].lines[0].points] == list(values.values())


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("seed", "these vary: lr"),
        ("depth", "no such setting; these vary: lr"),
        ("activation", "the same in all runs of a model; these vary: lr"),
    ],
)
def test_a_key_that_does_not_vary_is_refused(key: str, says: str, tmp_path: Path) -> None:
    sweep(tmp_path)
    code, text = call("compare", tmp_path, "--by", key)
    assert code == 1
    assert text.startswith(f"--by {key}: ")
    assert says in text
    assert text.count("\n") == 1


def test_errors_of_the_output_are_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "model=gan")
    (tmp_path / "file").write_text("")
    code, text = call("compare", run.path, "--output", tmp_path / "file")
    assert code == 1
    assert "choose another --output" in text
    (run.path / "evaluation.npz").write_bytes(b"no zip")
    code, text = call("compare", run.path, "--output", tmp_path / "out")
    assert code == 1
    assert "evaluation.npz: cannot be read" in text
    assert f": gen-models evaluate {run.path}" in text
    assert text.splitlines()[-1].startswith(str(run.path))
