"""Checkpoints on the disk: written whole or not at all, and the one before `latest` is kept.

Lightning's own writer goes through the temporary folder, which is atomic only on the same file
system, and hides a PermissionError; this one writes to the folder of the file that it replaces.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from gen_models.errors import UserError, first_line, system_error
from gen_models.files import writing

log = logging.getLogger(__name__)

LATEST, PREVIOUS, BEST = "latest.ckpt", "latest-previous.ckpt", "best.ckpt"
TEMPORARY = ".tmp-"  # and the process's number


class AtomicCheckpointIO(CheckpointIO):
    """Writes, reads and removes Lightning checkpoints."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write next to `path`, flush to the disk, check that it opens, then replace `path`.

        Raises:
            OSError: It could not be written and there is no earlier one. Where there is an
                earlier one, a warning is logged and training continues.
            UnpicklingError: It holds other than plain types and tensors.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _peek(temporary)
            if path.name == LATEST and path.exists():
                os.replace(path, path.with_name(PREVIOUS))
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError
            system = system_error(error)
            reason = system.strerror if system else error
            if not (path.exists() or path.with_name(PREVIOUS).exists()):
                raise OSError(f"{path}: cannot be written ({reason})") from error
            log.warning("%s: could not be written (%s); the one before is kept", path, reason)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file of plain types and tensors; anything else is refused without being run.

        To the CPU, from where Lightning moves them: a run of a GPU can be resumed without one.
        """
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make the folder, try to write to it, and delete the unfinished files of a kill -9.

    Raises:
        UserError: It cannot be written: better known now than after an epoch.
    """
    with writing(folder, "choose another output_dir"):
        folder.mkdir(exist_ok=True)
        (folder / f"probe{TEMPORARY}{os.getpid()}").write_text("written", encoding="utf-8")
        for unfinished in folder.glob(f"*{TEMPORARY}*"):
            unfinished.unlink()


def newest_readable(folder: Path) -> Path | None:
    """`latest.ckpt`, or the one before it where the newest does not open, or None without any.

    Raises:
        UserError: There are checkpoints, and none opens: the user decides whether to start again.
    """
    paths = [path for path in (folder / LATEST, folder / PREVIOUS) if path.exists()]
    for path in paths:
        try:
            _peek(path)
        except Exception as error:  # whatever a damaged file makes the reader raise
            log.warning("%s: does not open (%s)", path, first_line(error))
        else:
            return path
    if paths:
        raise UserError(f"{folder}: no checkpoint in it opens: overwrite=true starts again")
    return None


def read_step(path: Path) -> int:
    """The training batches before a checkpoint."""
    return int(_peek(path)["global_step"])


def _peek(path: Path) -> dict[str, Any]:
    """A checkpoint without the tensors' content."""
    content: dict[str, Any] = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    return content
