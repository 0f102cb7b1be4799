"""Locks: who waits for whom, what a kill frees, and file systems that have none."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import lock_descriptor

from gen_models import files
from gen_models.errors import BusyError, UserError
from gen_models.files import is_locked, locked
from gen_models.runs.directory import RunDirectory

HOLDER = """
import sys
from pathlib import Path
from gen_models.files import locked
with locked(Path(sys.argv[1])) as free:
    print(free, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `tmp_path / "lock"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_kept_out_until_it_is_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    file = tmp_path / "lock"
    assert is_locked(file)
    with locked(file) as free:
        assert not free
    holder.kill()
    holder.communicate()
    assert not is_locked(file)
    with locked(file) as free:
        assert free


def held_for(seconds: float, file: Path) -> threading.Thread:
    """As by a process that looks whether the lock is held."""
    opened = file.open("ab")
    assert lock_descriptor(opened.fileno(), blocking=False)
    thread = threading.Thread(target=lambda: (time.sleep(seconds), opened.close()))
    thread.start()
    return thread


def test_a_look_at_a_run_does_not_refuse_its_start(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    look = held_for(0.1, run.path / ".lock")
    with run.lock():
        assert run.is_locked()
    look.join()


def test_two_who_look_at_once_do_not_take_one_another_for_the_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    look = held_for(files.LOOK / 4, run.path / ".lock")
    assert not run.is_locked()
    look.join()


def test_who_waits_for_a_lock_that_is_removed_with_its_folder_makes_it_anew(
    tmp_path: Path,
) -> None:
    run = RunDirectory(tmp_path / "run")
    entered = threading.Event()

    def refused() -> None:
        with run.lock():  # made here and left without a status, so removed again
            entered.set()
            time.sleep(0.1)

    thread = threading.Thread(target=refused)
    thread.start()
    entered.wait()
    with run.lock():
        thread.join()
        assert (run.path / ".lock").exists()
        assert run.is_locked()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_without_locks_the_work_goes_on_and_one_line_warns(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(files, "_warned", set())
    runs = [RunDirectory(tmp_path / name) for name in ("one", "other")]
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.lock())
            assert not run.is_locked()
        stack.enter_context(runs[0].lock())  # nothing keeps them apart
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{runs[0].path}: its file system has no locks ({os.strerror(number)})")


def test_a_run_at_work_is_refused_in_one_line(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.lock(), pytest.raises(BusyError, match="another process is at work"), run.lock():
        pass


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"file: cannot be written"),
        locked(tmp_path / "file" / "x"),
    ):
        pass
