"""The search: what it asks, tells and takes up again; with trainings of no time, and real ones."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import STORY, small
from optuna.trial import TrialState
from test_command import ENVIRONMENT, wait_for
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.composition import compose_job
from gen_models.errors import BusyError, DivergedError, UserError
from gen_models.files import write_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job
from gen_models.search import search as engine
from gen_models.search import storage
from gen_models.search.space import read_space
from gen_models.search.storage import (
    NAME,
    PRUNE_AFTER,
    StorageError,
    lock_trial,
    open_study,
    take_trial,
)

SPACE = """
lr: {low: 1e-4, high: 1e-2, log: true}
hidden_dims: {width: [8, 16], depth: {low: 1, high: 2}, growth: [1, 2]}
activation: [relu, gelu]
model.betas: [[0.5, 0.999], [0.9, 0.999]]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "space.yaml"
    file.write_text(text)
    return file


Searching = Callable[..., optuna.Study]


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    """A search whose trainings take no time: their value is a function of the settings."""

    def run(
        name: str,
        train: Callable[[dict[str, Any], Callable[[int, float], None]], float],
        *,
        count: int = 8,
        missing: str = "missing_digits",
    ) -> optuna.Study:
        def trained(job: Job, watchers: Any) -> Any:
            directory = RunDirectory(job.path)
            value = train(job.config, watchers[0].report)
            directory.path.mkdir(parents=True, exist_ok=True)
            write_json(directory.status, {"status": "done", "fingerprint": "", "objective": value})
            write_json(directory.metrics, {f"val/{missing}": 3.0 if value > 100 else 0.0})
            return directory

        space = read_space(written(tmp_path, SPACE))
        common = ["data=digits", "model=vae", f"output_dir={tmp_path / name}"]
        searched = engine.Search(common, space, compose_job, lambda job: None, trained)
        return engine.search(
            searched, storage=f"sqlite:///{tmp_path}/{name}.db", count=count, seed=0
        )

    return run


def value(config: dict[str, Any]) -> float:
    return abs(config["lr"] - 1e-3) * 1e4 + sum(config["hidden_dims"])


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(searching: Searching) -> None:
    whole = searching("whole", lambda config, tell: value(config), count=14)
    stops = iter(range(100))

    def stopped(config: dict[str, Any], tell: Any) -> float:
        if next(stops) in (0, 5, 6, 13):
            raise SystemExit(130)
        return value(config)

    for _ in range(4):
        with pytest.raises(SystemExit):
            searching("stopped", stopped, count=14)
    resumed = searching("stopped", stopped, count=14)
    assert len(whole.trials) == len(resumed.trials) == 14
    for one, other in zip(whole.trials, resumed.trials, strict=True):
        assert (one.params, one.value) == (other.params, other.value)
    assert len({trial.params["lr"] for trial in whole.trials}) == 14


@pytest.mark.slow
def test_a_trial_is_told_as_what_it_is(
    searching: Searching, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = iter(range(100))

    def train(config: dict[str, Any], tell: Any) -> float:
        number = next(numbers)
        if number == 1:
            raise DivergedError("diverged: a loss was not finite")
        good = float(number) if number < 7 else 1000.0
        tell(1, good)
        return 200.0 if number == 2 else good

    study = searching("told", train, count=9)
    states = [trial.state for trial in study.trials]
    # The median is that of five finished ones: of trials 0 and 2 to 5.
    expected = [TrialState.COMPLETE] * 9
    expected[1], expected[7:] = TrialState.FAIL, [TrialState.PRUNED] * 2
    assert states[:6] == expected[:6]
    assert states[7:] == expected[7:]
    assert PRUNE_AFTER == 5
    endings = [trial.user_attrs.get(engine.ENDING) for trial in study.trials]
    assert endings[1] == "diverged: a loss was not finite"
    assert endings[2] == "3 digits missing"
    assert endings[7] == "pruned after epoch 1, val/fid_lenet 1000"
    assert study.best_trial.number == 0
    assert "val/fid_lenet 200 (3 digits missing); best so far 0, trial 1" in capsys.readouterr().out


def test_of_images_that_are_no_digits_classes_are_missing(
    searching: Searching, capsys: pytest.CaptureFixture[str]
) -> None:
    searching("own", lambda config, tell: 200.0, count=1, missing="missing_classes")
    assert "val/fid_lenet 200 (3 classes missing)" in capsys.readouterr().out


def test_a_run_that_another_process_trains_is_waited_for(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two workers draw the same settings out of few."""
    monkeypatch.setattr(engine, "PAUSE", 0.01)
    asked: list[float] = []

    def train(config: dict[str, Any], tell: Any) -> float:
        asked.append(config["lr"])
        if len(asked) < 4:
            raise BusyError("another process is at work on this run")
        return value(config)

    study = searching("busy", train, count=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert asked[:4] == [asked[0]] * 4
    assert len(asked) == 5


@pytest.mark.slow
def test_a_trial_of_another_worker_is_left_to_it(searching: Searching, tmp_path: Path) -> None:
    def stopped(config: dict[str, Any], tell: Any) -> float:
        raise SystemExit

    with pytest.raises(SystemExit):
        searching("shared", stopped)
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{tmp_path}/shared.db")
    (first,) = study.trials
    locks = tmp_path / "shared" / ".search"
    running, complete = TrialState.RUNNING, TrialState.COMPLETE
    with lock_trial(locks, optuna.trial.Trial(study, first._trial_id)) as free:
        assert free
        study = searching("shared", lambda config, tell: value(config), count=3)
        assert [trial.state for trial in study.trials] == [running, complete, complete]
    study = searching("shared", lambda config, tell: value(config), count=3)
    assert [trial.state for trial in study.trials] == [complete] * 3
    assert [file.name for file in locks.iterdir()] == [storage.ASKING]


@pytest.mark.slow
def test_a_trial_that_another_worker_has_just_finished_is_not_taken_up(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(config: dict[str, Any], tell: Any) -> float:
        raise SystemExit

    with pytest.raises(SystemExit):
        searching("late", stopped)

    @contextmanager
    def finished_meanwhile(folder: Path, trial: optuna.Trial) -> Iterator[bool]:
        if trial.number == 0:
            trial.study.tell(0, 1.0)
        yield True

    monkeypatch.setattr(storage, "lock_trial", finished_meanwhile)
    study = searching("late", lambda config, tell: 2.0, count=2)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]


def test_a_storage_that_another_worker_is_making_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = storage.RDBStorage
    first = ["(sqlite3.OperationalError) table studies already exists"]

    def late(*arguments: Any, **options: Any) -> Any:
        if first:
            raise RuntimeError(first.pop())
        return made(*arguments, **options)

    monkeypatch.setattr(storage, "RDBStorage", late)
    space = read_space(written(tmp_path, SPACE))
    study = open_study(f"sqlite:///{tmp_path}/search.db", {}, space)
    assert study.user_attrs["search"]["settings"] == {}


def damage(database: Path, how: str) -> None:
    if how == "gone":
        database.unlink()
    elif how == "emptied":
        with sqlite3.connect(database) as connection:
            connection.execute("DELETE FROM studies")
    else:
        database.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("how", ["gone", "emptied", "overwritten"])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.slow
def test_a_storage_that_goes_away_is_one_line_and_the_run_stays(
    how: str, early: bool, searching: Searching, tmp_path: Path
) -> None:
    def train(config: dict[str, Any], tell: Any) -> float:
        damage(tmp_path / "lost.db", how)
        if early:  # within the training
            tell(1, 5.0)
        return 5.0

    with pytest.raises(StorageError, match=r"^--storage: cannot be read or written") as error:
        searching("lost", train, count=2)
    assert "\n" not in str(error.value)
    assert len(list(tmp_path.rglob("metrics.json"))) == (not early)


def opened(tmp_path: Path, url: str = "sqlite:///{}/s.db") -> optuna.Study:
    """A search without a look at what it would train."""
    return open_study(url.format(tmp_path), {}, read_space(written(tmp_path, SPACE)))


def test_a_storage_that_has_become_read_only_is_one_line(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(UserError, match=r"opened \(.*attempt to write a readonly database\)"):
        opened(tmp_path, "sqlite:///file:{}/s.db?mode=ro&uri=true")


def test_workers_that_ask_at_once_ask_for_no_trial_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = [opened(tmp_path) for _ in range(4)]
    get_trials = optuna.Study.get_trials

    def slow(study: optuna.Study, **options: Any) -> Any:
        found = get_trials(study, **options)
        time.sleep(0.1)  # in which the others look too
        return found

    monkeypatch.setattr(optuna.Study, "get_trials", slow)
    done = threading.Barrier(len(searches))

    def work(study: optuna.Study) -> None:
        with take_trial(study, count=2, seed=0, locks=tmp_path / "locks"):
            done.wait(timeout=60)

    workers = [threading.Thread(target=work, args=[study]) for study in searches]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    monkeypatch.undo()
    assert len(searches[0].trials) == 2


PROGRAM = "from gen_models.cli import app; app()"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "search", *arguments]


@pytest.mark.slow
def test_killed_in_a_trial_it_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    common = [text for text in small(Path("out"), "model=vae", epochs=6, batches=20)
              if not text.startswith("evaluate")]  # fmt: skip
    options = ["--space", str(written(tmp_path, SPACE)), "--trials", "2", *common]
    process = subprocess.Popen(
        command(*options), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("out/*/*/*/checkpoints/latest.ckpt")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{tmp_path}/search.db")
    (killed,) = study.trials
    assert killed.state == TrialState.RUNNING

    again = subprocess.run(
        command(*options),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    first, second = study.get_trials()
    assert first.params == killed.params
    assert {first.state, second.state} == {TrialState.COMPLETE}
    logs = [json.loads(file.read_text()) for file in tmp_path.glob("out/*/*/*/status.json")]
    assert {log["status"] for log in logs} == {"done"}
    *_, best, history, importance = again.stdout.splitlines()
    assert best.startswith("  python train.py data=digits phase=baseline")
    for picture in (history, importance):
        assert (tmp_path / picture.strip()).stat().st_size > 1000


@pytest.mark.parametrize(
    ("space", "options", "names"),
    [
        ("", [], "space.yaml"),
        ("lr: 1", [], "lr:"),
        ("lr: {low: 1e-2, high: 1e-3}", [], "lr:"),
        ("lr: {low: a, high: 1e-3}", [], "lr:"),
        ("lr: {low: 1e-4, high: .inf, log: true}", [], "lr:"),
        ("1: [2]", [], "1=2"),
        ("network: [null, conv]", [], "network=null"),
        ("lr: [1e-3]", ["lr=1e-4"], "lr: space.yaml"),
        ("hidden_dims: {width: [8], depth: [1]}", ["hidden_dims=[4]"], "hidden_dims: space.yaml"),
        ("lr: [1e-3]", ["~callbacks.validation_distance"], "callbacks.validation_distance"),
        ("hidden_dims: {width: [8]}", [], "hidden_dims:"),
        ("hidden_dims: {width: [8], depth: [2], growth: [1, 1.5]}", [], "hidden_dims.growth:"),
        ("hidden_dims: {width: [8], depth: {low: 1.0, high: 2.0}}", [], "hidden_dims.depth:"),
        ("lrr: [1e-3]", [], "lrr"),
        ("lr: [1e-3, -1]", [], "lr must be a number in (0, 1], got -1"),
        ("lr: [", [], "space.yaml"),
        ("lr: [1e-3]", ["--space", "nowhere.yaml"], "nowhere.yaml"),
        ("lr: [1e-3]", ["lrr=1"], "lrr"),
        ("lr: [1e-3]", ["--trials", "0"], "trials"),
        ("lr: [1e-3]", ["--output", "space.yaml"], "--output space.yaml"),
        ("lr: [1e-3]", ["--output", "space.yaml/a"], "--output space.yaml/a"),
        ("lr: [1e-3]", ["--storage", "search.db"], "--storage search.db"),
        ("lr: [1e-3]", ["--storage", "sqlite:////no/where/s.db"], "--storage sqlite:////no"),
        ("lr: [1e-3]", ["--storage", "sqlite:///space.yaml"], "--storage sqlite:///space.yaml"),
    ],
)
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_bad_input_is_one_line(
    space: str, options: list[str], names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, space)
    said = said_of("--space", file.name, "data=digits", "model=vae", *options)
    assert names in said
    assert sorted(tmp_path.rglob("*")) == [file]


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_storage_of_another_search_or_space_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "lr: [1e-3]")
    other = tmp_path / "other.yaml"
    other.write_text("lr: [1e-3, 1e-4]")
    optuna.create_study(storage="sqlite:///else.db", study_name="mine")
    space = read_space(tmp_path / "space.yaml")
    settings = engine.Search(
        ["data=digits"], space, compose_job, STORY.assemble, STORY.train
    ).check()
    engine.open_study("sqlite:///search.db", settings, space)
    for options, names in (
        (["--storage", "sqlite:///else.db", "--space", "space.yaml"], "mine"),
        (["--space", "space.yaml", "max_epochs=3"], "max_epochs is 100, here it is 3"),
        (["--space", "other.yaml"], "lr is {'choices': [0.001]}, here"),
        (
            ["--space", "space.yaml", "output_dir=elsewhere"],
            f"output_dir is {tmp_path}/outputs, here it is {tmp_path}/elsewhere",
        ),
    ):
        assert names in said_of("data=digits", *options)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_models.cli.manage.find_spec", lambda name: None)
    assert said_of("model=gan") == "gen-models search needs Optuna: pip install -e '.[search]'\n"


def said_of(*arguments: str) -> str:
    """What stands on stderr after a wrong `gen-models search ARGUMENTS`: one line."""
    result = CliRunner().invoke(app, ["search", *arguments])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr
