"""What is said on the terminal: lines, tables; and what libraries need not say."""

import logging
import os
import sys
import warnings

from rich.console import Console
from rich.table import Table

OF_TERMINAL = "PYTHONIOENCODING"

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


def say(line: str) -> None:
    """One line on the terminal, never wrapped."""
    _console().print(line, soft_wrap=True, markup=False)


def show(table: Table) -> None:
    """A table on the terminal."""
    _console().print(table)


def _console() -> Console:
    """Standard output; told of it, Rich draws tables of the characters that it can show."""
    return Console(file=sys.stdout, highlight=False)


def substitute_characters() -> None:
    """Let a terminal show a `?` for what its encoding lacks, as an arrow, and no work end by it.

    Called once by each front door; processes that are started from here do the same.
    """
    if reconfigure := getattr(sys.stdout, "reconfigure", None):  # a notebook's has none
        reconfigure(errors="replace")
    encoding = os.environ.get(OF_TERMINAL, "").partition(":")[0]
    os.environ[OF_TERMINAL] = f"{encoding}:replace"


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
