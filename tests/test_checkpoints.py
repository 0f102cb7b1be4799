import os
from pathlib import Path
from typing import Any

import pytest
import torch

from gen_models.checkpoints import (
    LATEST,
    PREVIOUS,
    AtomicCheckpointIO,
    newest_readable,
    read_step,
)


class Payload:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def save(folder: Path, step: int) -> None:
    AtomicCheckpointIO().save_checkpoint({"global_step": step}, folder / LATEST)


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert read_step(tmp_path / LATEST) == 3
    assert read_step(tmp_path / PREVIOUS) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, LATEST]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a zip", b"not a zip at all"])
def test_a_damaged_newest_gives_way_to_the_one_before(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / LATEST).write_bytes(damage)
    assert newest_readable(tmp_path) == tmp_path / PREVIOUS
    assert f"{tmp_path / LATEST}: does not open" in caplog.text
    (tmp_path / LATEST).unlink()
    assert newest_readable(tmp_path) == tmp_path / PREVIOUS
    (tmp_path / PREVIOUS).unlink()
    assert newest_readable(tmp_path) is None


def test_a_truncated_newest_gives_way(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    content = (tmp_path / LATEST).read_bytes()
    (tmp_path / LATEST).write_bytes(content[: len(content) // 2])
    assert newest_readable(tmp_path) == tmp_path / PREVIOUS


def test_a_full_disk_costs_a_warning_while_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path, 1)
    monkeypatch.setattr("os.fsync", full)
    save(tmp_path, 2)
    assert "No space left on device" in caplog.text
    assert read_step(tmp_path / LATEST) == 1
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]
    empty = tmp_path / "empty"
    with pytest.raises(OSError, match="cannot be written"):
        save(empty, 1)
    assert list(empty.iterdir()) == []


def test_a_foreign_pickle_is_refused_without_being_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"global_step": 1, "x": Payload(made)}, tmp_path / LATEST)
    assert newest_readable(tmp_path) is None
    with pytest.raises(Exception, match="(?i)weights.only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / LATEST, weights_only=False)
    assert not made.exists()
