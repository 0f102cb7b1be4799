"""Files that are written whole or not at all, and JSON that is read with errors of one line."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gen_models.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """Read one of our JSON files.

    Raises:
        UserError: It cannot be read, or is not one of ours.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not one of our files")
    return content


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written, which then takes its place: whole, or not at all."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")  # with the same ending
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all, beside other processes that write the same file."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def other_version(file: Path, which: str = "") -> UserError:
    """The error of a run's file that this version of gen-models cannot use.

    Args:
        file: It.
        which: The version that wrote it, if that is known.
    """
    wrote = f" ({which})" if which else ""
    return UserError(
        f"{file}: not a run's, or of another version of gen-models{wrote}: train the run again "
        "(overwrite=true)"
    )
