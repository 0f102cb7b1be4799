"""Output that cannot be written: said once, and no work ends of it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from gen_models.terminal import quiet_libraries

PROGRAM = """
import sys
from gen_models.cli import app
app()
"""


def call(*arguments: str, output: int, errors: int = subprocess.PIPE) -> tuple[int, str]:
    """`gen-models ARGUMENTS`: the exit code and what stands on stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=output, stderr=errors, text=True, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stderr


@pytest.fixture
def closed() -> int:
    """A pipe whose reader has left, as `head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_command_whose_output_cannot_be_written_fails_in_one_line() -> None:
    code, said = call("--help", output=os.open("/dev/full", os.O_WRONLY))
    assert code == 1
    assert said == (
        "standard output: No space left on device: what follows is not shown, the work goes on\n"
    )


def test_a_reader_that_leaves_is_no_failure(closed: int) -> None:
    code, said = call("--help", output=closed)
    assert code == 0
    assert said.count("\n") == 1
    assert "Broken pipe" in said
    assert call("--help", output=closed, errors=closed) == (0, None)  # `2>&1 | head`


def test_a_thread_of_tensorboards_writer_ends_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is raised by the next write; other threads show theirs."""
    shown: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    quiet_libraries()
    monkeypatch.setattr(RecordWriter, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        EventFileWriter(str(tmp_path))  # it writes at once
    assert not shown
    other = threading.Thread(target=lambda: 1 / 0)
    other.start()
    other.join()
    assert [failed.exc_type for failed in shown] == [ZeroDivisionError]
