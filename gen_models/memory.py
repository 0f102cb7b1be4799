"""Memory: given back when it is free, and one line where there is not enough."""

import ctypes
from contextlib import suppress

from gen_models.errors import UserError

# torch's CPU allocator raises a plain RuntimeError; so do sizes beyond any memory.
ON_CPU = ("can't allocate memory", "Storage size calculation overflowed")


def raise_if_out_of_memory(error: BaseException, remedy: str) -> None:
    """Raise a UserError with the remedy if `error` says that memory could not be had.

    Args:
        error: Of a GPU's allocator, of the CPU's or of Python's.
        remedy: What was being done, and what to make smaller.
    """
    name, message = type(error).__name__, str(error)
    if name in ("OutOfMemoryError", "MemoryError") or any(words in message for words in ON_CPU):
        raise UserError(f"out of memory {remedy}") from error


def give_back_freed_memory() -> None:
    """Let glibc return each freed block of a MiB or more at once.

    By itself it keeps blocks of up to 32 MiB, and evaluating a GAN then holds 600 MiB for nothing.
    """
    with suppress(OSError, AttributeError):  # another system, another allocator
        ctypes.CDLL("libc.so.6").mallopt(-3, 2**20)  # M_MMAP_THRESHOLD of malloc.h
