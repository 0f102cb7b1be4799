"""A study trains what is missing, goes on after any end, and keeps what its runs have measured."""

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from conftest import train as train_here
from synthetic import configured, edit, make_run
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.composition import compose_overrides
from gen_models.errors import UserError
from gen_models.evaluation import measure
from gen_models.runs.directory import RunDirectory
from gen_models.study import train
from gen_models.study.definition import Arm, Study
from gen_models.study.load import load_study
from gen_models.study.plan import PlannedRun, plan
from gen_models.study.study import show_state
from gen_models.study.table import (
    Table,
    collect,
    missing,
    of_one_code,
    of_study,
    read_table,
    run_key,
)

SMALL = """\
question: Do two epochs beat one?
seeds: [1, 2]
arms:
  two: model=vae phase=baseline data=digits max_epochs=2
  one: {of: two, at_epoch: 1}
claims:
  - {name: D1, says: Two epochs beat one., kind: wins, arms: [two, one], metrics: [encoder/mse]}
"""
TINY = "hidden_dims=[8] model.latent_dim=2"  # measured in half the time
PRETENDER = """\
import json, os, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:] if word != "-m")
launched = [word for word in sys.argv[1:] if word == "-m" or "launcher" in word]
path = pathlib.Path(given["path"])
path.mkdir(parents=True, exist_ok=True)
status = given.get("ends", "done")
record = {"status": status, "fingerprint": "f", "seconds": 1.0, "evaluation": {"seconds": 0.5}}
if status != "nothing":
    (path / "status.json").write_text(json.dumps(record))
with open(path.parent / "said.txt", "a") as file:
    extended = given.get("extend", "-").strip("'")
    print(path.name, extended, os.environ["OMP_NUM_THREADS"], *launched, file=file)
print("a warning", file=sys.stderr)
print("it is broken", file=sys.stderr)
sys.exit(status != "done")
"""


MEASURER = """\
import json, pathlib, sys
path = pathlib.Path(sys.argv[2])
with open(path.parent / "said.txt", "a") as file:
    print(*sys.argv[1:], file=file)
if path.name != "broken":
    metrics = {f"steps/euler-{n}/fid_lenet": 1.0 for n in sys.argv[4].split(",")}
    (path / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A train.py that writes a status and ends; the folder of its runs."""
    (tmp_path / "train.py").write_text(PRETENDER)
    monkeypatch.setattr(train, "TRAIN", tmp_path / "train.py")
    monkeypatch.setattr(train, "PAUSE", 0.01)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path / "runs"


def planned(
    folder: Path, name: str, earlier: PlannedRun | None = None, ends: str = "done"
) -> PlannedRun:
    path = folder / name
    return PlannedRun(name, 1, (f"path={path}", f"ends={ends}"), folder, path, "a.Model", earlier)


def train_all(
    runs: list[PlannedRun], folder: Path, jobs: int = 1, launcher: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    """What failed; which runs came to their end, in their order."""
    ended: list[str] = []
    failed = train.train_missing(
        missing(runs, Table([], {}, {})), jobs=jobs, launcher=launcher, logs=folder / "logs",
        ended=lambda run: ended.append(run.arm),
    )  # fmt: skip
    return failed, ended


def test_earlier_epochs_are_trained_first_and_gone_on_from(pretend: Path) -> None:
    early = planned(pretend, "early")
    whole, other = planned(pretend, "whole", early), planned(pretend, "other")
    failed, ended = train_all([whole, early, other], pretend, jobs=3)
    assert failed == []
    assert sorted(ended) == ["early", "other", "whole"]
    assert ended.index("early") < ended.index("whole")
    said = (pretend / "said.txt").read_text().splitlines()
    assert f"whole {early.path} 1" in said
    assert "other - 1" in said
    assert train_all([whole, early, other], pretend) == ([], [])  # nothing is missing
    assert (pretend / "said.txt").read_text().splitlines() == said


def test_one_that_fails_is_told_with_its_reason_and_the_others_go_on(pretend: Path) -> None:
    runs = [planned(pretend, name, ends=ends)
            for name, ends in (("a", "failed"), ("b", "nothing"), ("c", "done"))]  # fmt: skip
    failed, ended = train_all(runs, pretend)
    assert ended == ["c"]
    assert len(failed) == 2
    assert failed[0].startswith("a seed 1: it is broken (exit code 1; ")
    assert failed[1].startswith("b seed 1: it is broken (exit code 1; ")


def test_a_diverged_run_is_a_result_and_is_not_gone_on_from(pretend: Path) -> None:
    early = planned(pretend, "early", ends="diverged")
    whole = planned(pretend, "whole", early, ends="diverged")
    assert train_all([early, whole], pretend) == ([], ["early", "whole"])
    assert "whole - 1" in (pretend / "said.txt").read_text().splitlines()


def test_steps_are_measured_after_the_training_and_only_what_is_missing(
    pretend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pretend.parent / "measure.py"
    file.write_text(MEASURER)
    monkeypatch.setattr(train, "MEASURE", (str(file),))
    options = Arm(steps=[1, 2], solvers=["euler"])
    runs = []
    for name in ("whole", "broken"):
        run = planned(pretend, name)
        runs.append(replace(run, options=options))
        run.path.mkdir(parents=True)
        (run.path / "metrics.json").write_text("{}")
    failed, ended = train_all(runs, pretend)
    assert ended == ["whole"]
    assert len(failed) == 1
    assert failed[0].startswith("broken seed 1: ")
    said = (pretend / "said.txt").read_text().splitlines()
    measured = f"evaluate {runs[0].path} --steps 1,2 --solver euler"
    assert said[:2] == ["whole - 1", measured]
    assert [run.state for run in runs] == ["done", "stopped"]

    (pretend / "said.txt").write_text("")
    train_all(runs, pretend)  # nothing but the one that could not be measured, without training
    said = (pretend / "said.txt").read_text().splitlines()
    assert said == [f"evaluate {runs[1].path} --steps 1,2 --solver euler"]


def test_the_users_threads_stay(pretend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    train_all([planned(pretend, "a")], pretend)
    assert (pretend / "said.txt").read_text() == "a - 2\n"


def small(folder: Path) -> Study:
    (folder / "small.yaml").write_text(SMALL)
    return load_study(folder / "small.yaml")


def composed(overrides: list[str]) -> dict[str, object]:
    return configured(*overrides)


def make(folder: Path, seed: int, epochs: int, **figures: float) -> Path:
    words = ("model=vae", "phase=baseline", "data=digits", f"max_epochs={epochs}", f"seed={seed}")
    run = make_run(folder, *words, pictures=True, **figures)  # type: ignore[arg-type]
    edit(run.status, finished=f"day {seed}", evaluation={"finished": "then", "seconds": 1.0})
    return run.path


def test_rows_outlive_their_runs_and_are_replaced_by_the_same_run_alone(tmp_path: Path) -> None:
    study, runs, out = small(tmp_path), tmp_path / "runs", tmp_path / "out"
    paths = [make(runs, seed, epochs, fid=9.0 + seed) for seed in (1, 2) for epochs in (1, 2)]
    table = collect(study, plan(study, composed, runs), out)
    assert [run_key(row) for row in table.rows] == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
    assert table.images["two/2/encoder/mse"].dtype == np.float32
    assert {"real", "one/1/new", "one/1/recreated"} == set(table.pictures)  # the best VAE
    with (out / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fid_lenet"] for row in rows] == ["10.0", "11.0", "10.0", "11.0"]
    assert rows[0]["code"] == "code of vae"
    before = (out / "runs.csv").read_bytes()

    for path in paths[:3]:
        (path / "status.json").unlink()  # lost
    edit(paths[3] / "metrics.json", fid_lenet=5.0)
    collect(study, plan(study, composed, runs), out)
    found = read_table(out)
    assert [row.metrics["fid_lenet"] for row in found.rows] == [10.0, 11.0, 10.0, 5.0]
    assert "two/1/encoder/mse" in found.images
    assert {"real", "two/2/new", "two/2/recreated"} == set(found.pictures)

    edit(paths[3] / "metrics.json", fid_lenet=11.0)
    collect(study, plan(study, composed, runs), out)
    assert (out / "runs.csv").read_bytes() == before  # to the byte


def test_pictures_are_of_the_arms_in_the_first_table(tmp_path: Path) -> None:
    study, runs, out = small(tmp_path), tmp_path / "runs", tmp_path / "out"
    best = [make(runs, 1, epochs, fid=fid) for epochs, fid in ((1, 9.0), (2, 5.0))][1]
    make(runs, 2, 1, fid=8.0)
    study.shown = ["one"]
    table = collect(study, plan(study, composed, runs), out)
    assert {"real", "one/2/new", "one/2/recreated"} == set(table.pictures)
    study.shown = []
    edit(best / "metrics.json", fid_lenet=6.0)
    table = collect(study, plan(study, composed, runs), out)
    assert {"real", "two/1/new", "two/1/recreated"} == set(table.pictures)


def test_the_rest_is_estimated_by_what_each_arm_took_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, runs = small(tmp_path), tmp_path / "runs"
    for epochs, seconds in ((1, 3000.0), (2, 9000.0)):  # the longer one went on from the shorter
        edit(RunDirectory(make(runs, 1, epochs)).status, seconds=seconds)
    every = plan(study, composed, runs)
    show_state(study, every, missing(every, Table([], {}, {})), jobs=1)
    said = capsys.readouterr().out
    assert "50 min" in said
    assert "1.7 h" in said  # 6,000 s
    assert "the rest takes 2.5 h\n" in said
    for run in every:
        (run.path / "status.json").unlink(missing_ok=True)
    show_state(study, every, every, jobs=2)
    assert "takes an unknown time for 4 runs of arms that have none yet" in capsys.readouterr().out
    show_state(study, every, [], jobs=2)
    assert "nothing is missing" in capsys.readouterr().out


def test_a_row_of_another_machine_is_not_trained_again(tmp_path: Path) -> None:
    study, out = small(tmp_path), tmp_path / "out"
    for seed, epochs in ((1, 1), (1, 2), (2, 1)):
        make(tmp_path / "elsewhere", seed, epochs)
    collect(study, plan(study, composed, tmp_path / "elsewhere"), out)
    runs = plan(study, composed, out / "runs")
    assert [run.name for run in missing(runs, read_table(out))] == ["two seed 2"]
    words = ["study", str(tmp_path / "small.yaml"), "--output", str(out)]
    said = CliRunner().invoke(app, words).output
    assert "1 missing, 1 in runs.csv alone" in said
    assert "2 in runs.csv alone" in said

    make_run(out / "runs", "model=vae", "phase=baseline", "data=digits", "max_epochs=2", "seed=1",
             status="interrupted")  # fmt: skip
    assert [run.name for run in missing(runs, read_table(out))] == ["two seed 1", "two seed 2"]

    (tmp_path / "small.yaml").write_text(SMALL.replace("max_epochs=2", "max_epochs=2 lr=1e-4"))
    runs = plan(load_study(tmp_path / "small.yaml"), composed, out / "runs")
    assert missing(runs, read_table(out)) == runs  # other settings: those rows are of other runs


def test_an_arm_whose_runs_are_of_other_code_is_not_trained_and_the_others_are(
    tmp_path: Path,
) -> None:
    study, out = small(tmp_path), tmp_path / "out"
    make(tmp_path / "elsewhere", 1, 1)  # by "code of vae"
    known = collect(study, plan(study, composed, tmp_path / "elsewhere"), out)
    runs = missing(plan(study, composed, out / "runs"), known)
    kept, (line,) = of_one_code(runs, known)
    assert {run.arm for run in kept} == {"two"}
    assert line.startswith("arms.one: 1 not trained: runs of one in runs.csv are of other code")
    same = [replace(row, record={**row.record, "code": runs[0].code}) for row in known.rows]
    assert of_one_code(runs, known._replace(rows=same)) == (runs, [])

    there = plan(study, composed, tmp_path / "elsewhere")  # "two" would go on from other code
    kept, lines = of_one_code(missing(there, known), known)
    assert [run.name for run in kept] == ["two seed 2"]
    refused = "arms.two: 1 not trained: runs of one in runs.csv are of other code"
    assert any(line.startswith(refused) for line in lines)


def test_rows_of_other_options_stand_in_no_ones_way(tmp_path: Path) -> None:
    """As after an arm was changed: its old runs stay in the table and take no part."""
    study, out = small(tmp_path), tmp_path / "out"
    for seed in (1, 2):
        make(out / "runs", seed, 2)
    collect(study, plan(study, composed, out / "runs"), out)
    changed = SMALL.replace("phase=baseline", "phase=baseline lr=2e-3")
    (tmp_path / "small.yaml").write_text(changed)
    given = load_study(tmp_path / "small.yaml")
    known = read_table(out)
    runs = missing(plan(given, compose_overrides, out / "runs"), known)
    assert len(runs) == 4
    assert of_one_code(runs, of_study(given, known)) == (runs, [])
    words = ["study", str(tmp_path / "small.yaml"), "--output", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert not (out / "study.md").exists()


def test_a_folder_with_a_quote_in_its_name_is_hydras_text(tmp_path: Path) -> None:
    study = small(tmp_path)
    run = plan(study, composed, tmp_path / "o'x")[0]
    assert compose_overrides(run.words)["output_dir"] == str(tmp_path / "o'x")


def test_errors_by_image_that_were_not_kept_are_collected(tmp_path: Path) -> None:
    """By an earlier version of the study without that claim, or by a call that was killed."""
    study, runs, out = small(tmp_path), tmp_path / "runs", tmp_path / "out"
    make(runs, 1, 2)
    known = collect(study, plan(study, composed, runs), out)
    assert "two/1/encoder/mse" in known.images
    (out / "images.npz").unlink()
    collect(study, plan(study, composed, runs), out)
    assert read_table(out).images.keys() == known.images.keys()


def test_a_seed_that_chose_what_is_tested_is_not_trained(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.replace("seeds: [1, 2]", "seeds: [1, 2]\nseen: [0, 2]"))
    words = ["study", str(file), "--train", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "arms.two.seeds: seed 2 chose what the study tests (seen: [0, 2])" in result.output
    assert not (tmp_path / "out").exists()


def test_the_device_that_trained_is_in_the_table(tmp_path: Path) -> None:
    study, runs = small(tmp_path), tmp_path / "runs"
    make(runs, 1, 1)
    edit(make(runs, 2, 1) / "status.json", device="NVIDIA H100")
    table = collect(study, plan(study, composed, runs), tmp_path / "out")
    assert [row.record["processor"] for row in table.rows] == ["AVX2", "NVIDIA H100"]


def test_logs_that_cannot_be_made_are_one_line(pretend: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written .* choose another --output"):
        train_all([planned(pretend, "a")], tmp_path / "file")


def test_a_run_that_was_measured_with_another_sampler_is_refused(tmp_path: Path) -> None:
    study, runs = small(tmp_path), tmp_path / "runs"
    edit(make(runs, 1, 1) / "status.json", evaluation={"finished": "then", "sampler": "gmm-5"})
    planned = plan(study, composed, runs)
    with pytest.raises(UserError, match="measured with sampler=gmm, and its arm has sampler=null"):
        collect(study, planned, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_test_images_are_refused(tmp_path: Path) -> None:
    study, runs = small(tmp_path), tmp_path / "runs"
    make(runs, 1, 1)
    path = make(runs, 2, 1)
    with np.load(path / "evaluation.npz") as arrays:
        other = {**arrays, "nearest_mse": arrays["nearest_mse"][::-1]}
    np.savez(path / "evaluation.npz", **other)
    with pytest.raises(UserError, match="recreated other test images"):
        collect(study, plan(study, composed, runs), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_seed_that_is_no_whole_number_is_one_line(tmp_path: Path) -> None:
    text = (ROOT / "docs/study/runs.csv").read_text()
    (tmp_path / "runs.csv").write_text(text.replace("vae_final,11,", "vae_final,11.0,"))
    with pytest.raises(UserError, match="not a table of a study's runs"):
        read_table(tmp_path)


@pytest.mark.parametrize("spoilt", ["arm,seed\n", "a\n", "arm,seed\nx,y,z\n"])
def test_a_spoilt_table_is_one_line(spoilt: str, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(spoilt + "x\n")
    result = CliRunner().invoke(app, ["study", "wanare", "--runs", str(tmp_path / "runs.csv")])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "not a table of a study's runs" in result.output


def test_what_is_there_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    small(tmp_path)
    make_run(tmp_path / "out/runs", "model=vae", "phase=baseline", "data=digits", "max_epochs=1",
             "seed=1", status="interrupted")  # fmt: skip
    words = ["study", str(tmp_path / "small.yaml"), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "cannot decide with fewer than 4 seeds of two, one" in result.output
    assert result.output.index("cannot decide") < result.output.index("1 stopped, 1 missing")
    assert "2 missing" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["runs"]


def test_each_run_is_a_job_of_the_launcher(pretend: Path) -> None:
    early = planned(pretend, "early")
    runs = [early, planned(pretend, "whole", early)]
    launcher = ("hydra/launcher=slurm", "hydra.launcher.nodes=2")
    assert train_all(runs, pretend, launcher=launcher)[0] == []
    for line in (pretend / "said.txt").read_text().splitlines():
        assert line.endswith(" 1 -m hydra/launcher=slurm hydra.launcher.nodes=2")


@pytest.mark.slow
def test_a_launcher_starts_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By submitit's executor of this machine, as SLURM would; it extends one that is there."""
    monkeypatch.setattr("gen_models.study.study.too_few_seeds", lambda study: "")  # one is enough
    monkeypatch.setattr(measure, "Effort", functools.partial(measure.Effort, 1, 2))  # here alone
    text = SMALL.replace("[1, 2]", "[1]").replace("digits", f"digits {TINY}")
    (tmp_path / "small.yaml").write_text(text)
    out = tmp_path / "out"
    early, _ = plan(load_study(tmp_path / "small.yaml"), composed, out / "runs")
    train_here(*early.words)
    words = ["study", str(tmp_path / "small.yaml"), "--train", "--output", str(out),
             "hydra/launcher=submitit_local"]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert [run_key(row) for row in read_table(out).rows] == [("one", 1), ("two", 1)]
    (log,) = (out / "runs").rglob(".submitit/*/*_log.out")
    assert f"from the end of {early.path}" in log.read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("max_epochs=1", "max_epochs=1: the arms say what is trained"),
        ("hydra/launcher=none", "hydra/launcher=none: "),
        ("hydra.launcher.nodes=2", "hydra.launcher.nodes=2: unknown option 'hydra.launcher.nodes'"),
    ],
)
def test_what_is_no_launcher_is_refused(option: str, said: str, tmp_path: Path) -> None:
    small(tmp_path)
    words = ["study", str(tmp_path / "small.yaml"), "--train", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, option])
    assert result.exit_code == 1
    assert result.output.startswith(said)
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_study_that_was_killed_twice_is_finished_by_its_command(tmp_path: Path) -> None:
    """By kill -9 of it and its child, then by Ctrl-C; then every run is there once."""
    (tmp_path / "small.yaml").write_text(
        "question: Does it learn?\nseeds: [1, 2]\n"
        f"arms:\n  vae: model=vae phase=baseline data=digits max_epochs=2 {TINY}\n"
        "claims: [{name: D1, says: It does., kind: beats_gaussian, arms: [vae], "
        "metrics: [fid_lenet]}]\n"
    )
    out = tmp_path / "out"
    run = plan(load_study(tmp_path / "small.yaml"), composed, out / "runs")[0].path
    program = (  # two seeds are enough
        "from gen_models.study import study; study.too_few_seeds = lambda study: ''; "
        "from gen_models.cli import app; app()"
    )
    command = [sys.executable, "-c", program, "study", str(tmp_path / "small.yaml"), "--train",
               "--output", str(out)]  # fmt: skip

    def begin() -> tuple[subprocess.Popen[str], int]:
        """The study and its child, when that is at work on the run."""
        begun = (run / "status.json").exists() and (run / "status.json").stat().st_mtime_ns
        study = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while not (
            (run / "status.json").exists() and (run / "status.json").stat().st_mtime_ns != begun
        ):
            assert study.poll() is None, study.communicate()[0]
            time.sleep(0.05)
        listed = subprocess.run(["pgrep", "-P", str(study.pid)], capture_output=True, text=True)
        return study, int(listed.stdout.split()[0])

    study, child = begin()
    study.kill()
    os.kill(child, signal.SIGKILL)
    study.communicate()
    study, child = begin()
    study.send_signal(signal.SIGINT)
    said, _ = study.communicate(timeout=60)
    assert study.returncode == 130, said
    assert "repeat the same command" in said
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run_key(row) for row in read_table(out).rows] == [("vae", 1), ("vae", 2)]
    assert json.loads((run / "status.json").read_text())["steps"] == 2 * 40
    assert "It does." in (out / "study.html").read_text()
