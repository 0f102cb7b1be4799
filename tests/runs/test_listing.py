"""`gen-models runs` and `remove`: the files, and who holds the lock, decide."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Trained, directory_of, small, train
from synthetic import edit, make_run
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.runs.listing import list_runs
from gen_models.training.callbacks import SampleGrid

HOLD = """
import sys, time
from gen_models.runs.directory import RunDirectory
with RunDirectory(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def call(*arguments: object, answer: str = "", width: int = 120) -> tuple[int, str]:
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], input=answer, env={"COLUMNS": str(width)}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def held(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run that another process trains."""
    run = make_run(tmp_path, "model=gan", "phase=final", status="running")
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield run
        process.communicate()


def test_the_table_says_what_the_runs_say(
    tmp_path: Path, held: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(held.status, epoch=25, epochs=100, seconds=50.0, latest={"val/fid_lenet": 12.344})
    make_run(tmp_path, "model=vae", "phase=baseline", "seed=10", fid=28.5)
    make_run(tmp_path, "model=vae", "phase=baseline", "seed=9", fid=None,
             metrics={"quick/fid_lenet": 30.0, "val/fid_lenet": 31.0},
             quick={"sampler": "gmm-5"})  # fmt: skip
    make_run(tmp_path, "model=vae", "phase=baseline", "seed=11", fid=None,
             metrics={"val/fid_lenet": 31.0},
             validation={"features": "random weights"})  # fmt: skip
    make_run(tmp_path, "model=gan", "phase=baseline", status="running")  # nobody holds its lock
    make_run(tmp_path, "model=gan", "phase=baseline", "seed=1", status="interrupted",
             epoch=10, epochs=50, seconds=20.0)  # fmt: skip
    make_run(tmp_path, "model=gan", "phase=baseline", "seed=2", status="diverged")
    make_run(tmp_path, "model=gan", "phase=baseline", "seed=3").config.write_text("model: {")
    half_a_minute_later = held.status.stat().st_mtime + 30
    monkeypatch.setattr(time, "time", lambda: half_a_minute_later)
    code, text = call("runs", tmp_path)
    assert code == 0
    rows = [line.split() for line in text.splitlines() if "seed" in line]
    assert rows == [
        ["mnist/gan_baseline/seed0", "stopped", "-", "-", "-"],
        ["mnist/gan_baseline/seed1", "stopped", "10/50", "0:01:20", "-"],
        ["mnist/gan_baseline/seed2", "diverged", "-", "-", "-"],
        ["mnist/gan_baseline/seed3", "unreadable", "-", "-", "-"],
        ["mnist/gan_final/seed0", "running", "25/100", "0:02:00", "12.34", "val"],
        ["mnist/vae_baseline/seed9", "done", "30/30", "-", "30.00", "quick,", "gmm-5"],
        ["mnist/vae_baseline/seed10", "done", "30/30", "-", "28.50", "test"],
        ["mnist/vae_baseline/seed11", "done", "30/30", "-", "31.00", "val,", "random", "weights"],
    ]
    assert "2 stopped" in text
    assert "1 running" in text


def test_a_run_of_a_long_name_takes_two_lines_of_a_narrow_terminal(tmp_path: Path) -> None:
    name = "seed0-max_epochs2-limit_train_batches20-limit_val_batches5"
    for model in ("gan", "vae"):
        run = make_run(tmp_path, f"model={model}", "phase=final", fid=124.288)
        run.path.rename(run.path.with_name(name))
    wide, narrow = (call("runs", tmp_path, width=width)[1].splitlines() for width in (120, 80))
    assert sum(name in line for line in wide) == 2
    assert len(narrow) == len(wide) + 2
    assert max(map(len, narrow)) <= 80
    assert sum("done" in line and "124.29 test" in line for line in narrow) == 2


def test_a_run_writes_how_far_it_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = small(tmp_path, "model=vae", epochs=3)
    seen = []

    def look(self: SampleGrid, trainer: object, module: object) -> None:
        seen.extend(list_runs(tmp_path))
        if len(seen) == 2:
            raise SystemExit

    monkeypatch.setattr(SampleGrid, "on_train_epoch_end", look)
    with pytest.raises(SystemExit):
        train(*overrides)
    assert [(run.state, run.epoch, run.epochs) for run in seen] == [
        ("running", 1, 3),
        ("running", 2, 3),
    ]
    assert all(run.left is not None for run in seen)
    (stopped,) = list_runs(tmp_path)
    assert (stopped.state, stopped.epoch) == ("stopped", 2)
    monkeypatch.undo()
    train(*overrides)
    (done,) = list_runs(directory_of(overrides).path)
    assert (done.state, done.epoch, done.left, done.images) == ("done", 3, None, "val")


def test_runs_are_listed_by_their_tags(tmp_path: Path) -> None:
    for seed, tags in enumerate((["a", "b"], ["b"], [])):
        make_run(tmp_path, "model=gan", "phase=final", f"seed={seed}", tags=tags)
    for chosen, rows in (((), ["seed0", "seed1", "seed2"]), (("b",), ["seed0", "seed1"]),
                         (("a", "b"), ["seed0"])):  # fmt: skip
        code, text = call("runs", tmp_path, *(f"--tag={tag}" for tag in chosen))
        assert code == 0
        assert [line.split()[0][-5:] for line in text.splitlines() if "seed" in line] == rows
    code, text = call("runs", tmp_path, "--tag", "c")
    assert code == 1
    assert text.count("\n") == 1
    assert "c; known are: a, b" in text


def test_watching_looks_again_until_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, "model=gan", "phase=final", status="diverged")
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        edit(run.status, status="failed")
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    code, text = call("runs", tmp_path, "--watch")
    assert code == 0
    assert len(looks) == 2
    assert "failed" in text


def test_runs_may_vanish_while_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, leaving, left = (
        make_run(tmp_path, "model=gan", "phase=final", f"seed={seed}", status="running", **fields)
        for seed, fields in enumerate(({}, {}, {"epoch": 1, "epochs": 2}))
    )
    scandir, is_locked = os.scandir, RunDirectory.is_locked

    def scan(folder: str) -> object:
        if Path(folder) == leaving.path:
            leaving.path.rename(tmp_path.with_name("elsewhere"))
        return scandir(folder)

    def look(run: RunDirectory) -> bool:
        if run.path == left.path:
            run.status.unlink()
            return True
        return is_locked(run)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(RunDirectory, "is_locked", look)
    assert [(run.path, run.state) for run in list_runs(tmp_path)] == [
        (kept.path, "stopped"),
        (left.path, "unreadable"),
    ]


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        code, text = call("runs", folder)
        assert code == 1
        assert text.startswith(f"{folder}: ")
        assert text.count("\n") == 1
    with pytest.raises(UserError):
        list_runs(tmp_path)


@pytest.mark.parametrize(("answer", "options", "left"), [("y\n", [], 1), ("", ["--yes"], 1),
                                                         ("n\n", [], 3), ("", [], 3)])  # fmt: skip
def test_remove_asks_first(tmp_path: Path, answer: str, options: list[str], left: int) -> None:
    made = [
        make_run(tmp_path, "model=gan", "phase=final", f"seed={seed}").path for seed in range(3)
    ]
    code, text = call("remove", *made[:2], *options, answer=answer)
    assert (code == 0) == (left == 1)
    assert str(made[1]) in text
    assert [path.exists() for path in made] == [left == 3, left == 3, True]


def test_a_run_is_removed_once_and_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "model=gan", "phase=final")
    monkeypatch.chdir(run.path)
    code, text = call("remove", ".", run.path, "--yes")
    assert code == 0
    assert text.count("MiB") == 1
    assert not run.path.exists()


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan", "phase=final")
    run.path.rename(run.path.with_name("seed0[red]"))
    code, text = call("runs", tmp_path)
    assert code == 0
    assert "seed0[red]" in text


def test_a_run_that_is_trained_is_not_removed(tmp_path: Path, held: RunDirectory) -> None:
    other = make_run(tmp_path, "model=vae", "phase=final")
    code, text = call("remove", other.path, held.path, "--yes")
    assert code == 1
    assert text.startswith(f"{held.path}: ")
    assert text.count("\n") == 1
    assert other.status.exists()
    assert held.status.exists()


def test_what_is_no_run_is_not_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan", "phase=final")
    for path in (tmp_path, run.path.parent, tmp_path / "nothing"):
        code, text = call("remove", run.path, path, "--yes")
        assert code == 1
        assert text.startswith(f"{path}: not a run")
        assert text.count("\n") == 1
        assert run.status.exists()


def test_a_damaged_run_is_removed_and_a_link_is_not(tmp_path: Path) -> None:
    run = make_run(tmp_path, "model=gan", "phase=final")
    link = tmp_path / "link"
    link.symlink_to(run.path)
    code, text = call("remove", link, "--yes")
    assert code == 1
    assert text.startswith(f"{link}: is a link")
    assert text.count("\n") == 1
    run.status.write_text('{"status": "do')
    code, text = call("remove", run.path, "--yes")
    assert code == 0
    assert text.startswith(f"{run.path} (unreadable, ")
    assert not run.path.exists()


def test_the_lock_tells_who_holds_it(trained: Trained, held: RunDirectory) -> None:
    assert held.is_locked()
    done = trained("model=vae", epochs=1)
    assert not done.is_locked()
    with done.lock():
        assert done.is_locked()
    assert not done.is_locked()


@pytest.mark.parametrize(("line", "found"), [("gen-models re", {"reconstruct", "remove"}),
                                             ("gen-models runs --w", {"--watch"})])  # fmt: skip
def test_the_shell_completes(line: str, found: set[str]) -> None:
    environment = {
        "_GEN_MODELS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
        "PYTHONPATH": str(ROOT),
    }
    program = "from gen_models.cli import app; app(prog_name='gen-models')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == found
