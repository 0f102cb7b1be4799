"""How many threads a training takes: by what else the machine does, by the user, as before."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import ROOT, composed, directory_of, small, train
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from safetensors.torch import load_file
from test_command import FREE

from gen_models import machine
from gen_models.composition import job_of
from gen_models.errors import UserError
from gen_models.machine import Choice, Usage, check_threads, choose_threads, others
from gen_models.runs.identity import identity

STAT = """cpu  1000 0 400 9000 50 0 10 40 0 0
cpu0 {} 10 200 5000 50 5 6 20 0 0
cpu1 600 0 200 4000 0 0 4 20 0 0
cpu12 {} 0 0 0 0 0 0 0 0 0
intr 171062 0 0
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of a system of two cores, as text."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "PROC_STAT", tmp_path / "stat")
    monkeypatch.setattr(machine, "affinity", lambda _: {0, 1})
    return tmp_path


def test_work_is_counted_on_our_cores_alone_and_waiting_is_none(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.usage().total == 0  # no /proc
    ticks = os.sysconf("SC_CLK_TCK")
    for work in (0, 9999):  # of a core that is not ours
        (system / "stat").write_text(STAT.format(400, work))
        assert machine.usage().total * ticks == pytest.approx(641 + 824)
    monkeypatch.setattr(machine, "affinity", lambda _: {0})
    assert machine.usage().total * ticks == pytest.approx(641)


def test_in_a_container_its_quota_and_its_work_count(system: Path) -> None:
    (system / "stat").write_text(STAT.format(400, 0))
    on_the_machine = machine.usage().total
    (system / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    for quota, cores, total in (
        ("max 100000", 2, on_the_machine),
        ("6400000 100000", 2, on_the_machine),
        ("150000 100000", 1, 2.5),
        ("50000 100000", 1, 2.5),
    ):
        (system / "cpu.max").write_text(f"{quota}\n")
        assert (machine.count_cores(), machine.usage().total) == (cores, total)


def test_what_others_do_is_all_work_but_our_own() -> None:
    begin = Usage(10.0, 15.0, 1.0)
    assert others(begin, Usage(10.5, 15.5, 1.5)) == pytest.approx(0.0)
    assert others(begin, Usage(10.5, 16.0, 1.5)) == pytest.approx(1.0)
    assert others(begin, Usage(10.5, 15.9, 1.95)) == 0.0  # ticks are coarse
    assert others(begin, Usage(10.5, 15.0, 1.5)) is None  # not counted: unknown
    assert others(Usage(10.0, 0, 1.0), Usage(10.5, 0, 1.0)) is None  # no /proc


def busy() -> float | None:
    """Cores that other processes keep busy now."""
    return machine._busy.__wrapped__()


def test_a_busy_process_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_begin", None)
    if machine.usage().total == 0:
        pytest.skip("this system does not tell what other processes do")
    before = busy()
    spin = "import time\nprint(flush=True)\nend = time.time() + 60\nwhile time.time() < end: pass"
    command = [sys.executable, "-c", spin]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        beside = busy()
        process.kill()
    assert before is not None
    assert beside is not None
    assert beside >= 0.3  # also where it shares its core with others


def choice(
    setting: Any = "auto",
    *,
    count: int = 2,
    busy: float | None = 0.1,
    together: bool = False,
    OMP_NUM_THREADS: str = "",
) -> Choice:
    return choose_threads(setting, OMP_NUM_THREADS, cores=count, busy=busy, together=together)


def test_an_idle_machine_has_threads_that_wait_actively() -> None:
    assert choice() == (2, True, "the machine is idle")
    assert choice(count=3).number == 3
    assert choice(count=64).number == 4
    assert choice(count=8, busy=3.0) == (4, True, "enough cores are idle")


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ({"busy": 1.0}, "other processes keep 1.0 of 2 cores busy; threads=2 overrides"),
        ({"busy": 0.5}, "other processes keep 0.5 of 2 cores busy; threads=2 overrides"),
        ({"count": 8, "busy": 5.0},
         "other processes keep 5.0 of 8 cores busy; threads=4 overrides"),
        ({"together": True}, "other runs train at the same time; threads=2 overrides"),
        ({"busy": None}, "this system does not tell what other processes do; threads=2 overrides"),
        ({"count": 1}, "there is one core"),
    ],
)  # fmt: skip
def test_where_threads_would_wait_for_a_core_there_is_one(
    machine: dict[str, Any], reason: str
) -> None:
    assert choice(**machine) == (1, False, reason)


def test_a_number_overrides_and_waits_actively_only_where_each_thread_has_a_core() -> None:
    assert choice(1) == (1, False, "threads=1 is set")
    assert choice(2) == (2, True, "threads=2 is set")
    assert choice(2, busy=1.0) == (2, False, "threads=2 is set")
    assert choice(2, together=True) == (2, False, "threads=2 is set")
    assert choice(2, OMP_NUM_THREADS="1").number == 2
    assert choice(8, count=16).active
    assert not choice(8, count=16, busy=9.0).active


def test_the_users_environment_wins_over_auto() -> None:
    assert choice(OMP_NUM_THREADS="1") == (1, False, "OMP_NUM_THREADS=1 is set")
    assert choice(busy=1.0, OMP_NUM_THREADS="2") == (2, False, "OMP_NUM_THREADS=2 is set")
    assert choice(together=True, OMP_NUM_THREADS="2").number == 2
    assert choice(count=8, OMP_NUM_THREADS="3,1") == (3, True, "OMP_NUM_THREADS=3,1 is set")
    assert choice(count=8, OMP_NUM_THREADS="many").number == 8
    assert choice(OMP_NUM_THREADS="") == choice()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a new process on an idle machine of two cores, before torch is loaded."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    for name, value in {"_begin": None, "_choice": None, "_set_here": {}}.items():
        monkeypatch.setattr(machine, name, value)
    monkeypatch.setattr(machine, "_busy", lambda: 0.0)
    monkeypatch.setattr(machine, "count_cores", lambda: 2)
    return monkeypatch


def openmp() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name[:4] in ("OMP_", "GOMP")}


def test_the_environment_is_set_before_torch_is_loaded(fresh: pytest.MonkeyPatch) -> None:
    machine.watch_load()
    assert openmp() == {"OMP_WAIT_POLICY": "passive"}
    machine.prepare_threads("auto")
    active = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "1000000"}
    assert openmp() == active
    assert machine.use_threads("auto") == "2 threads: the machine is idle"
    machine.prepare_threads("auto")  # the next job of a sweep: nothing of this is the user's
    assert openmp() == active
    assert machine.use_threads("auto") == "2 threads: the machine is idle"
    assert machine.use_threads("auto", recorded=1) == "1 thread: as when this run began"
    assert torch.get_num_threads() == 1
    machine.use_threads("auto")
    assert torch.get_num_threads() == 2  # the run before had its own


def test_a_busy_machine_has_one_thread(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(machine, "_busy", lambda: 1.0)
    machine.watch_load()
    machine.prepare_threads("auto")
    assert openmp() == {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    said = "1 thread: other processes keep 1.0 of 2 cores busy; threads=2 overrides"
    assert machine.use_threads("auto") == said


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "passive"),
                                             ("GOMP_SPINCOUNT", "30000")])  # fmt: skip
def test_the_users_way_of_waiting_stays(name: str, value: str, fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(name, value)
    machine.watch_load()
    machine.prepare_threads("auto")
    assert openmp() == {name: value, "OMP_NUM_THREADS": "2"}


def test_the_users_number_stays(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("OMP_NUM_THREADS", "1,2")
    machine.watch_load()
    machine.prepare_threads("auto")
    assert openmp() == {"OMP_NUM_THREADS": "1,2", "OMP_WAIT_POLICY": "passive"}
    machine.prepare_threads(2)
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_the_machine_is_watched_once_and_not_where_others_train(
    fresh: pytest.MonkeyPatch,
) -> None:
    def refuse() -> float:
        raise AssertionError

    fresh.setattr(machine, "_busy", refuse)
    machine.prepare_threads("auto", together=True)
    assert machine.use_threads("auto").startswith("1 thread: other runs train at the same time")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *((wrong, f"threads must be auto or a whole number of at least 1, got {wrong!r}")
          for wrong in (0, -1, 1.0, True, "foo", "2", None, [2])),
        (999, "threads=999: this process may use 2 cores: choose fewer"),
        (3, "threads=3: this process may use 2 cores: choose fewer"),
    ],
)  # fmt: skip
def test_a_wrong_number_is_refused(
    setting: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "count_cores", lambda: 2)
    with pytest.raises(UserError) as caught:
        check_threads(setting)
    assert str(caught.value) == message


class Stop(pl.Callback):
    """Ends a run in its second epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("stopped by the test")


@pytest.mark.slow
def test_the_number_is_recorded_and_kept_on_resuming_to_the_bit(
    tmp_path: Path, fresh: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["model=gan", "model.generator_dims=[512]", "model.discriminator_dims=[512]"]
    arguments = small(tmp_path / "stopped", *settings)
    machine.prepare_threads("auto")
    with pytest.raises(RuntimeError, match="stopped by the test"):
        train(*arguments, "+callbacks.stop._target_=test_threads.Stop")
    stopped = directory_of(arguments)
    assert stopped.read_status()["threads"] == 2
    assert "  2 threads: the machine is idle\n" in capsys.readouterr().out

    fresh.setattr(machine, "_busy", lambda: 1.0)  # by now
    machine.prepare_threads("auto")
    train(*arguments)
    assert stopped.read_status()["threads"] == torch.get_num_threads() == 2
    assert "  2 threads: as when this run began\n" in capsys.readouterr().out

    whole = small(tmp_path / "whole", *settings)
    train(*whole, "threads=2")
    assert "  2 threads: threads=2 is set\n" in capsys.readouterr().out
    weights, expected = (load_file(directory_of(each).weights) for each in (arguments, whole))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)

    other = small(tmp_path / "other", *settings)
    train(*other)  # the machine is still busy
    assert directory_of(other).read_status()["threads"] == 1


def test_threads_are_no_part_of_what_a_run_is() -> None:
    one, two = composed("threads=1"), composed("threads=2")
    assert identity(one) == identity(two)
    assert directory_of(["threads=1"]).path == directory_of(["threads=auto"]).path


@pytest.mark.slow
def test_the_command_says_its_threads_at_the_start_and_sets_them(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "train.py"), *small(tmp_path, "model=vae", epochs=1)]

    def lines(*options: str) -> list[str]:
        return subprocess.check_output([*script, *options], text=True, env=FREE).splitlines()

    assert lines("threads=1")[2] == "  1 thread: threads=1 is set"
    (status,) = tmp_path.rglob("status.json")
    assert json.loads(status.read_text())["threads"] == 1
    chosen = lines("overwrite=true")[2]
    assert re.fullmatch(r"  \d threads?: .+", chosen)
    assert json.loads(status.read_text())["threads"] == int(chosen.split()[0])


@pytest.mark.parametrize(
    ("options", "beside"),
    [
        ([], False),
        (["hydra.mode=MULTIRUN"], False),  # one after the other
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib"], True),
        (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_local"], True),
        (["hydra/launcher=joblib"], False),
        (["trainer=ddp", "trainer.devices=2"], True),
    ],
)
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_jobs_that_train_beside_others_are_known(options: list[str], beside: bool) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", options, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        assert job_of(config).together == beside
