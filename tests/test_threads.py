"""How many threads a training takes: by the machine's cores, by the user, as before."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
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
from gen_models.composition import compose_job, job_of
from gen_models.errors import UserError
from gen_models.machine import check_threads, count_cores, use_threads
from gen_models.runs.identity import identity


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        (None, 3),
        ("max 100000", 3),
        ("6400000 100000", 3),
        ("250000 100000", 2),
        ("50000 100000", 1),
    ],
)
def test_a_container_has_the_cores_of_its_quota(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine, "affinity", lambda _: {0, 1, 7})
    if quota:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert count_cores() == cores


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As in a new process on a machine of four cores."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(machine, "count_cores", lambda: 4)
    before = torch.get_num_threads()
    yield monkeypatch
    torch.set_num_threads(before)


def test_auto_is_half_of_the_cores_and_four_at_most(fresh: pytest.MonkeyPatch) -> None:
    assert use_threads("auto") == "2 threads: half of 4 cores, 4 at most"
    assert torch.get_num_threads() == 2
    assert use_threads("auto", together=True) == "1 thread: one for each job side by side"
    assert torch.get_num_threads() == 1
    assert use_threads(2, together=True) == "2 threads: threads=2 is set"
    assert use_threads("auto", recorded=3) == "3 threads: as when this run began"
    assert torch.get_num_threads() == 3
    assert (
        use_threads("auto") == "2 threads: half of 4 cores, 4 at most"
    )  # the run before had its own
    for cores, said in (
        (1, "1 thread: there is one core"),
        (2, "1 thread: half of 2 cores, 4 at most"),
        (3, "1 thread: half of 3 cores, 4 at most"),
        (8, "4 threads: half of 8 cores, 4 at most"),
        (64, "4 threads: half of 64 cores, 4 at most"),
    ):
        fresh.setattr(machine, "count_cores", lambda cores=cores: cores)
        assert use_threads("auto") == said


def test_the_users_environment_wins_over_auto(fresh: pytest.MonkeyPatch) -> None:
    for value, number in (("1", 1), ("2", 2), ("3,1", 3), ("many", 4)):
        fresh.setenv("OMP_NUM_THREADS", value)
        said = f"{number} thread{'s' * (number > 1)}: OMP_NUM_THREADS={value} is set"
        assert use_threads("auto") == use_threads("auto", together=True) == said
        assert torch.get_num_threads() == number
    assert use_threads(2) == "2 threads: threads=2 is set"
    fresh.setenv("OMP_NUM_THREADS", "")
    assert use_threads("auto") == "2 threads: half of 4 cores, 4 at most"


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
    with pytest.raises(RuntimeError, match="stopped by the test"):
        train(*arguments, "+callbacks.stop._target_=test_threads.Stop")
    stopped = directory_of(arguments)
    assert stopped.read_status()["threads"] == 2
    assert "  2 threads: half of 4 cores, 4 at most\n" in capsys.readouterr().out

    fresh.setattr(machine, "count_cores", lambda: 1)  # by now
    train(*arguments)
    assert stopped.read_status()["threads"] == torch.get_num_threads() == 2
    assert "  2 threads: as when this run began\n" in capsys.readouterr().out

    fresh.setattr(machine, "count_cores", lambda: 4)
    whole = small(tmp_path / "whole", *settings)
    train(*whole, "threads=2")
    assert "  2 threads: threads=2 is set\n" in capsys.readouterr().out
    weights, expected = (load_file(directory_of(each).weights) for each in (arguments, whole))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


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


def test_a_job_of_a_search_trains_beside_others() -> None:
    assert compose_job(["model=vae"], together=True).together
    assert not compose_job(["model=vae"]).together
