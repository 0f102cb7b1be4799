"""What is said on the terminal: lines, tables; and what libraries need not say."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]  # as `say`: called with a line

OF_TERMINAL = "PYTHONIOENCODING"
# A thread of TensorBoard's, whose error its next call raises.
EVENT_WRITER = "tensorboard.summary.writer.event_file_writer"

NEEDLESS = (
    # Lightning 2.6.6 calls what torch 2.15 has deprecated.
    r"`isinstance\(treespec, LeafSpec\)`",
    # Every epoch's last batch is logged too, so that no data set is too small for the interval.
    "The number of training batches .* is smaller than",
    "Checkpoint directory .* exists and is not empty",
    # The cost of a step is counted by a trainer that does nothing else.
    "GPU available but not used",
    "The .*dataloader.* does not have many workers",
)


def say(what: str | Table, style: str | None = None) -> None:
    """Print a line, never wrapped, or a table, of the characters that the output can show."""
    line = isinstance(what, str)
    console = Console(file=sys.stdout, highlight=False)
    console.print(what, style=style, soft_wrap=line, markup=not line)


def counted(count: int, one: str, more: str = "") -> str:
    """A number with its noun, "1 epoch", "2 epochs"; `more` is a plural that is not `one` and s."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


class LogFile(logging.FileHandler):
    """A log that ends no training, and fills no terminal, where it cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out: whatever needs a disk that is full will fail with a message."""


class LogLines(logging.StreamHandler[TextIO]):
    """Log lines on standard output, above a progress bar while there is one.

    The bar takes the place of `sys.stdout`, so that is looked up for each line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, with a word that sets it apart from what a run says."""
        return f"{record.levelname.capitalize()}: {super().format(record)}"

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line to standard output as it is now."""
        self.stream = sys.stdout
        super().emit(record)


def quiet_libraries() -> None:
    """Silence advice of libraries that does not hold here.

    Called once by each front door, after Lightning's import, which sets its own log level.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):  # no tips, no list of absent devices
        logging.getLogger(name).setLevel(logging.WARNING)
    # A stopped run writes some events again, and TensorBoard says that it drops the first.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    for message in NEEDLESS:
        warnings.filterwarnings("ignore", message=message)
    shown = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if type(failed.thread).__module__ != EVENT_WRITER:
            shown(failed)

    threading.excepthook = hook


def protect_output() -> None:
    """Let no work end because of what it prints: a character, a reader that left, a full disk.

    A terminal shows a `?` for what its encoding lacks, as an arrow. Nobody may read the output, as
    in `| head`, or its disk may be full. Called once by each front door; processes that are
    started from here do the same.
    """
    if reconfigure := getattr(sys.stdout, "reconfigure", None):  # a notebook's has none
        reconfigure(errors="replace")
    encoding = os.environ.get(OF_TERMINAL, "").partition(":")[0]
    os.environ[OF_TERMINAL] = f"{encoding}:replace"
    if sys.stdout is not None and not isinstance(sys.stdout, _Output):
        sys.stdout = cast(TextIO, _Output(sys.stdout))


def output_failed() -> bool:
    """Whether part of the output could not be written; not, that its reader has left."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return isinstance(sys.stdout, _Output) and sys.stdout.failed


class _Output:
    """Standard output that says once on stderr that it cannot be written, and is silent then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it once the output is gone."""
        with self._ended_by_errors():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what is written, unless the output is gone."""
        with self._ended_by_errors():
            self._stream.flush()

    @contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = not isinstance(error, BrokenPipeError)
            streams = [self._stream]
            reason = f"{error.strerror}: what follows is not shown, but the work continues"
            try:
                print(f"standard output: {reason}", file=sys.stderr, flush=True)
            except OSError:  # as in `2>&1 | head`
                streams.append(sys.stderr)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in streams:  # for what is buffered, and for other processes
                os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
