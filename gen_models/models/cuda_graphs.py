"""A training step launched as CUDA graphs.

A step of a small network is some two hundred kernels of a few microseconds each, and launching
them one by one takes a GPU's host several times as long as running them does.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

Logged = dict[str, Tensor]

WARM_UP = 3  # steps that run as they are, in which libraries choose and allocate


class GraphedSteps:
    """Steps in parts, each part recorded once and from then on replayed.

    The same kernels on the same numbers: what they draw follows from the device's generator, which
    may be seeded before each step, as it does without graphs.

    Args:
        step: From a batch's tensors, of the same shapes every time, to an iterator that yields
            what is logged after each of its parts. The caller changes weights between the parts;
            nothing in a part may depend on values that the host has read.
        parts: How many parts a step has.
        parameters: Those whose gradients the parts leave.
    """

    def __init__(
        self,
        step: Callable[..., Iterator[Logged]],
        *,
        parts: int,
        parameters: Iterable[nn.Parameter],
    ) -> None:
        self.step = step
        self.parts = parts
        self.parameters = list(parameters)
        self._steps = 0
        self._inputs: tuple[Tensor, ...] = ()
        self._gradients: list[Tensor | None] = []
        self._recorded: list[tuple[torch.cuda.CUDAGraph, Logged]] = []

    def __call__(self, *inputs: Tensor) -> Iterator[Logged]:
        """One step; what it yields is overwritten by the next one."""
        self._steps += 1
        if self._steps <= WARM_UP:
            yield from self.step(*inputs)
            return
        if not self._recorded:
            self._record(*inputs)
        for recorded, current in zip(self._inputs, inputs, strict=True):
            recorded.copy_(current)
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = gradient  # Lightning drops them before each validation
        for graph, logged in self._recorded:
            graph.replay()
            yield logged

    def _record(self, *inputs: Tensor) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        step = self.step(*self._inputs)
        pool = torch.cuda.graph_pool_handle()
        for _ in range(self.parts):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                logged = next(step)
            self._recorded.append((graph, logged))
        self._gradients = [parameter.grad for parameter in self.parameters]
