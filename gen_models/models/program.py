"""A function of a model as a program of torch.export, for the explorer's page and for files."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn


class Call(nn.Module):
    """A function of a model as the module that torch.export needs."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """Call the function."""
        return self.function(*inputs)


def to_program(
    call: nn.Module, inputs: tuple[Tensor, ...], *, any_number: bool = False
) -> torch.export.ExportedProgram:
    """Export a `Call`.

    Args:
        call: In eval mode.
        inputs: Examples; their values do not matter.
        any_number: Whether the program takes any number of rows, or as many as the examples have.

    Raises:
        Exception: torch.export cannot read it: a model's code may raise anything.
    """
    number = torch.export.Dim("n")
    shapes = {"inputs": tuple({0: number} for _ in inputs)} if any_number else None
    with quiet():
        return torch.export.export(call, inputs, dynamic_shapes=shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch logs and prints about an operation that it cannot export."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
