import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from gen_models.errors import UserError
from gen_models.runs.weights import (
    LATEST,
    PREVIOUS,
    AtomicCheckpointIO,
    newest_readable,
    prepare_folder,
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
    (tmp_path / PREVIOUS).write_bytes(damage)
    with pytest.raises(UserError, match="no checkpoint in it opens: overwrite=true"):
        newest_readable(tmp_path)
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


def test_a_device_without_space_leaves_no_temporary_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    temporary = tmp_path / f"{LATEST}.tmp-{os.getpid()}"
    temporary.symlink_to("/dev/full")  # each write to it fails as on a full disk
    save(tmp_path, 2)
    assert "No space left on device" in caplog.text
    assert read_step(tmp_path / LATEST) == 1
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]


def test_the_reason_is_the_systems_not_that_of_torchs_writer(tmp_path: Path) -> None:
    temporary = tmp_path / f"{LATEST}.tmp-{os.getpid()}"
    temporary.symlink_to("/dev/full")
    checkpoint = {"global_step": 1, "x": torch.zeros(100_000)}  # longer than any buffer
    with pytest.raises(OSError, match=r"latest.ckpt: cannot be written \(No space left on device"):
        AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / LATEST)


def test_what_would_not_load_is_refused_when_it_is_written(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().save_checkpoint({"global_step": 2, "x": tmp_path}, tmp_path / LATEST)
    assert read_step(tmp_path / LATEST) == 1
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]


def test_a_folder_is_tried_and_cleaned_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{LATEST}.tmp-1234").write_text("left by a kill -9")
    save(tmp_path, 1)
    prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]
    with pytest.raises(UserError, match="latest.ckpt: cannot be written"):
        prepare_folder(tmp_path / LATEST)  # a file in its place

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        prepare_folder(tmp_path)


def test_a_foreign_pickle_is_refused_without_being_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"global_step": 1, "x": Payload(made)}, tmp_path / LATEST)
    with pytest.raises(UserError, match="no checkpoint in it opens"):
        newest_readable(tmp_path)
    with pytest.raises(Exception, match="(?i)weights.only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / LATEST, weights_only=False)
    assert not made.exists()
