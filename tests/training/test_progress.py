"""The progress bar on a terminal: whole run, losses, time left; and nothing in a file."""

import os
import pty
import sys
from pathlib import Path

import pytest
from conftest import ROOT, small


@pytest.mark.slow
def test_a_terminal_of_80_columns_shows_epochs_losses_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("GEN_MODELS_DATA", raising=False)
    shown = b""

    def read(terminal: int) -> bytes:
        nonlocal shown
        content = os.read(terminal, 4096)
        shown += content
        return content

    command = [sys.executable, str(ROOT / "train.py"), *small(tmp_path, "model=vae", epochs=3)]
    status = pty.spawn(command, read, lambda _: b"")
    assert os.waitstatus_to_exitcode(status) == 0
    text = shown.decode()
    for words in ("epoch 1/3", "epoch 3/3", "4/4", "loss ", " @3", "left 0:0"):
        assert words in text
