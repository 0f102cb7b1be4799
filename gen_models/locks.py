"""Locks on files, which keep processes apart; the end of a process frees its own, by kill -9 too.

Some file systems have no locks (Lustre mounted without flock, NFS without its lock daemon): then a
warning says once that two processes are not kept apart, and the work continues.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from gen_models.files import writing

PATIENCE = 0.5  # seconds: `is_locked` of another process holds the lock for an instant
LOOK = 0.02  # seconds: as long may two processes that call `is_locked` at once see one another
PAUSE = 0.01  # seconds between two tries

_warned: set[int] = set()  # devices of the file systems without locks


@contextmanager
def locked(file: Path, *, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock of a file, made if it does not exist; False if another process holds it.

    Args:
        file: An empty file.
        patience: Seconds to wait for the other process to free it.

    Raises:
        UserError: The file cannot be made.
    """
    until = time.monotonic() + patience
    while True:
        with writing(file.parent, "choose another output_dir"):
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = file.open("ab")
        with opened:
            free = _try_lock(opened, file)
            removed = not _is_at(opened, file)  # by the process that held it until now
            if not removed and (free or time.monotonic() >= until):
                yield free
                return
        time.sleep(PAUSE)


def is_locked(file: Path) -> bool:
    """Whether another process holds the lock of a file; False if that cannot be found out."""
    writable = os.access(file, os.W_OK)  # NFS locks no others
    until = time.monotonic() + LOOK
    try:
        with file.open("r+b") if writable else file.open("rb") as opened:
            while not lock_descriptor(opened.fileno(), blocking=False):
                if time.monotonic() >= until:
                    return True
                time.sleep(PAUSE)
    except OSError:  # there is no such file, it is not ours to read, or there are no locks
        pass
    return False


def _try_lock(opened: IO[bytes], file: Path) -> bool:
    try:
        return lock_descriptor(opened.fileno(), blocking=False)
    except OSError as error:
        device = os.fstat(opened.fileno()).st_dev
        if device not in _warned:
            _warned.add(device)
            print(
                f"{file.parent}: its file system has no locks ({error.strerror}): two processes "
                "are not kept apart, so start nothing twice",
                file=sys.stderr,
            )
        return True


def _is_at(opened: IO[bytes], file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened.fileno()), file.stat())
    except FileNotFoundError:
        return False
