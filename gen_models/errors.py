"""Errors meant for the user: one clear line, never a traceback."""

# torch's CPU allocator raises a plain RuntimeError; so do sizes beyond any memory.
ON_CPU = ("can't allocate memory", "Storage size calculation overflowed")


class UserError(Exception):
    """Bad input; the message names the key or the file and says what to do."""


class DivergedError(UserError):
    """A loss stopped being finite."""


class StoppedEarly(UserError):
    """A run was ended because others do better; the same command resumes it."""


class BusyError(UserError):
    """Another process is at work on a run."""


def raise_if_out_of_memory(error: BaseException, remedy: str) -> None:
    """Raise a UserError with the remedy if `error` says that memory could not be had.

    Args:
        error: Of a GPU's allocator, of the CPU's or of Python's.
        remedy: What was being done, and what to make smaller.
    """
    name, message = type(error).__name__, str(error)
    if name in ("OutOfMemoryError", "MemoryError") or any(text in message for text in ON_CPU):
        raise UserError(f"out of memory {remedy}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def system_error(error: BaseException) -> OSError | None:
    """The system's error behind another: torch's writer hides that the disk is full; or None."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.strerror:
            return chain
        chain = chain.__cause__ or chain.__context__
    return None
