"""Output that cannot be written: said once, and no work ends of it."""

import io
import logging.config
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import Progress
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from gen_models.terminal import quiet_libraries

PROGRAM = """
import sys
from gen_models.cli import app
app()
"""


def call(*arguments: str, output: int, errors: int = subprocess.PIPE) -> tuple[int, str]:
    """`gen-models ARGUMENTS`: the exit code and what is on stderr."""
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
        "standard output: No space left on device: what follows is not shown, "
        "but the work continues\n"
    )


def test_a_reader_that_leaves_is_no_failure(closed: int) -> None:
    code, said = call("--help", output=closed)
    assert code == 0
    assert said.count("\n") == 1
    assert "Broken pipe" in said
    assert call("--help", output=closed, errors=closed) == (0, None)  # `2>&1 | head`


def test_a_warning_is_a_line_of_its_own_above_the_progress_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", return_hydra_config=True).hydra.job_logging
    handlers = OmegaConf.to_container(config.handlers, resolve=True)
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    settings = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
    settings |= {"formatters": OmegaConf.to_container(config.formatters)}
    settings["loggers"] = {"shown": {"handlers": ["console"], "propagate": False}}
    logging.config.dictConfig(settings)
    with Progress(console=Console(force_terminal=True, width=60)) as bar:  # as Lightning's
        bar.add_task("epoch 1/9", total=10)
        bar.refresh()
        logging.getLogger("shown").warning("digits are missing")
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in terminal.getvalue().split("\n")]
    assert "Warning: digits are missing" in [line.rpartition("\r")[2].strip() for line in lines]


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
