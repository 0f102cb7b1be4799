"""Paths as users write them, files that are written whole or not at all, JSON, and locks on files.

Locks keep processes apart; the end of a process frees its own, after kill -9 too. Some file systems
have no locks (Lustre mounted without flock, NFS without its lock daemon): then a warning says once
that two processes are not kept apart, and the work continues.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from gen_models.errors import UserError

PATIENCE = 0.5  # seconds: `is_locked` of another process holds the lock for an instant
LOOK = 0.02  # seconds: as long may two processes that call `is_locked` at once see one another
PAUSE = 0.01  # seconds between two tries

_warned: set[int] = set()  # devices of the file systems without locks


def expanded(path: str | Path) -> Path:
    """A path with `~` as the home directory: shells leave it in `--output=~/x` and `key=~/x`.

    Raises:
        UserError: There is no home directory, or the locale lacks a character of the path.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:  # Python replaced what it could not read
        raise UserError(
            f"{os.fspath(path).encode(errors='replace').decode()}: this locale "
            "lacks a character of it: PYTHONUTF8=1 lets Python read it"
        ) from error
    whole = Path(os.path.expanduser(path))
    if whole.parts[:1] == ("~",):
        raise UserError(f"{path}: there is no home directory: write the path in full")
    return whole


def name_of(path: str | None) -> str:
    """A name for what a path leads to, at most 40 letters, digits, dots, dashes or underscores.

    "images" if there is no path, or nothing of it can be in a name.
    """
    if not path:
        return "images"
    name = re.sub(r"[^\w.-]+", "_", expanded(path).absolute().stem).strip("._-")
    return name[:40] or "images"


def with_home(words: Iterable[str]) -> list[str]:
    """Words of a command line with the home directory for `~/x`, `key=~/x` and `sqlite:///~/x`."""
    home = r"(?:^|(?<==)|(?<=:///))~(?=/|$)"
    return [re.sub(home, lambda _: str(expanded("~")), word) for word in words]


def file_name(text: str) -> str:
    """A text as part of a file's name: at most 40 characters, none of them special."""
    return re.sub(r"[^\w.-]", "_", text)[:40]


def cache_folder() -> Path | None:
    """The user's folder of what can be made anew; None for a user without a home directory."""
    with suppress(UserError):
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gen-models"
    return None


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if os.path.exists(each))


def can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not exist; nothing is left there."""
    try:
        with tempfile.TemporaryFile(dir=nearest_existing(folder)):
            return True
    except OSError:
        return False


@contextmanager
def writing(
    place: str | Path, remedy: str = "free some space, or choose another"
) -> Iterator[None]:
    """Turn an error of the system into a UserError that `place` cannot be written.

    Args:
        place: The file or folder, with the option that names it: `--output x.png`.
        remedy: What the user can do.
    """
    try:
        yield
    except OSError as error:  # Pillow's and NumPy's have no strerror
        reason = error.strerror or error
        raise UserError(f"{place}: cannot be written ({reason}): {remedy}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one of our JSON files; a UserError if it cannot be read, or is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not one of our files")
    return content


def read_yaml(file: Path, folder: Path, missing: str) -> Any:
    """Read a YAML file that a user names; a UserError if it cannot be read.

    Args:
        file: The file.
        folder: Where those that come with the package are.
        missing: What is said if there is no such file, before the names of those.
    """
    from omegaconf import OmegaConf

    try:
        return OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except FileNotFoundError as error:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise UserError(f"{file}: {missing} {known}") from error
    except Exception as error:  # of the system, of YAML, of OmegaConf
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML: {reason}") from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file next to `path` to be written, which then takes its place: whole, or not at all."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")  # with the same ending
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all, while other processes may write the same file."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def other_version(file: Path, which: str = "") -> UserError:
    """The error of a run's file of another version of gen-models: `which`, if that is known."""
    wrote = f" ({which})" if which else ""
    return UserError(
        f"{file}: not a run's, or of another version of gen-models{wrote}: train the run again "
        "(overwrite=true)"
    )


@contextmanager
def locked(file: Path, *, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock of an empty file, made if it does not exist; False if another process holds it.

    Args:
        file: The file; a UserError if it cannot be made.
        patience: Seconds to wait for the other process to free it.
    """
    until = time.monotonic() + patience
    while True:
        with writing(file.parent, "choose another output_dir"):
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = file.open("ab")
        with opened:
            free = _try_lock(opened, file)
            here = False  # unless the process that held it until now has removed it
            with suppress(FileNotFoundError):
                here = os.path.samestat(os.fstat(opened.fileno()), file.stat())
            if here and (free or time.monotonic() >= until):
                yield free
                return
        time.sleep(PAUSE)


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


def is_locked(file: Path) -> bool:
    """Whether another process holds the lock of a file; False if that cannot be found out."""
    writable = os.access(file, os.W_OK)  # NFS locks no file that is only read
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
