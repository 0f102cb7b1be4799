"""Errors meant for the user: one clear line, never a traceback."""

import argparse
import os
import sys
import traceback

NOISE = ("To append to", "See https://", "full_key:", "object_type=", "reference_type=")


class UserError(Exception):
    """Bad input; the message names the key or the file and says what to do."""


class DivergedError(UserError):
    """A loss stopped being finite."""


class Reported(Exception):
    """Ends a job of a sweep whose error has been said already."""


def take_over() -> None:
    """Leave all errors of a command line to `report`: Hydra's own, and argparse's usage."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    argparse.ArgumentParser.print_usage = lambda *_: None  # type: ignore[method-assign]


def report(error: Exception, *, traceback_too: bool) -> None:
    """Say on stderr what went wrong: in one line, unless the traceback is wanted too."""
    if isinstance(error, Reported):
        return
    if traceback_too:
        traceback.print_exception(error)
    else:
        print(one_line(error), file=sys.stderr)


def one_line(error: Exception) -> str:
    """The message of an error; Hydra's and OmegaConf's take several lines, some of them noise."""
    text = str(error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    message = " ".join(line for line in lines if line and not line.startswith(NOISE))
    override = getattr(error, "override", None)  # Hydra's parser knows it, and may not say it
    if override:
        reason = message.replace(override, "").strip()
        message = f"{override}: {reason} (special characters need quotes: \"key='value'\")"
    if message.startswith("Config group override must be"):  # Hydra does not say which
        message = f"{message}, in: {' '.join(sys.argv[1:])}"
    return message or type(error).__name__
