"""A network as a list of operations that the page can carry out (`page/ops.js`).

torch.export writes down what a function of a model does, whatever its class: ATen operations on
tensors of known shapes. Each becomes an entry of a list that JSON can hold. To carry one more
operation: an entry in `OPERATIONS`, and one of the same name in `page/ops.js`.
"""

import logging
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node

from gen_models.errors import UserError, first_line

aten = torch.ops.aten


class Operation(NamedTuple):
    """What the page understands of an operation: the arguments by their names in ATen.

    All others must have their defaults, but for those in `ignored`.
    """

    name: str  # in ops.js
    inputs: tuple[str, ...] = ("self",)  # tensors that were computed, or plain numbers
    weights: tuple[str, ...] = ()  # parameters and buffers
    options: tuple[str, ...] = ()  # numbers, or lists of them
    ignored: tuple[str, ...] = ()  # those that say nothing of a trained network


_affine = ("weight", "bias")
OPERATIONS = {
    aten.linear.default: Operation("linear", ("input",), _affine),
    aten.conv2d.default: Operation("conv2d", ("input",), _affine, ("stride", "padding")),
    aten.conv_transpose2d.input: Operation(
        "conv_transpose2d", ("input",), _affine, ("stride", "padding"), ("output_padding",)
    ),
    aten.max_pool2d.default: Operation("max_pool2d", options=("kernel_size", "stride")),
    aten.upsample_nearest2d.vec: Operation(
        "upsample_nearest2d", ("input",), ignored=("output_size", "scale_factors")
    ),
    aten.batch_norm.default: Operation(
        "batch_norm",
        ("input",),
        (*_affine, "running_mean", "running_var"),
        ("eps",),
        ("training", "momentum", "cudnn_enabled"),  # eval mode
    ),
    aten.group_norm.default: Operation(
        "group_norm", ("input",), _affine, ("num_groups", "eps"), ("cudnn_enabled",)
    ),
    aten.relu.default: Operation("relu"),
    aten.leaky_relu.default: Operation("leaky_relu", options=("negative_slope",)),
    aten.elu.default: Operation("elu", options=("alpha",)),
    aten.selu.default: Operation("selu"),
    aten.gelu.default: Operation("gelu"),
    aten.silu.default: Operation("silu"),
    aten.tanh.default: Operation("tanh"),
    aten.sigmoid.default: Operation("sigmoid"),
    aten.add.Tensor: Operation("add", ("self", "other")),
    aten.sub.Tensor: Operation("sub", ("self", "other")),
    aten.mul.Tensor: Operation("mul", ("self", "other")),
    aten.div.Tensor: Operation("div", ("self", "other")),
    aten.cat.default: Operation("cat", ("tensors",), options=("dim",)),
    aten.one_hot.default: Operation("one_hot", options=("num_classes",)),
}
# The same values in the same order: nothing to do.
SAME = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unflatten.int,
    aten.squeeze.dim, aten.unsqueeze.default, aten.to.dtype, aten.clone.default,
    aten.contiguous.default, aten.dropout.default, aten.detach.default, aten.alias.default,
}  # fmt: skip
PARTS = {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default}


class Weights:
    """The numbers of all networks, one after the other as 16-bit floats."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, tensor: Tensor) -> dict[str, Any]:
        """Append a tensor; returns where it is and its shape.

        Raises:
            UserError: A number is too large for 16 bits, or not finite.
        """
        half = tensor.detach().cpu().contiguous().to(torch.float16)
        if not half.isfinite().all():
            raise UserError("a weight is above 65,504 or not finite: the page cannot hold it")
        place = {"offset": self._length, "shape": list(tensor.shape)}
        self._parts.append(half.numpy().tobytes())
        self._length += tensor.numel()
        return place

    def to_bytes(self) -> bytes:
        """All of them."""
        return b"".join(self._parts)


class _Call(nn.Module):
    """A function of a model as a module, which torch.export wants."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def lower(
    model: nn.Module,
    function: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    weights: Weights,
) -> dict[str, Any]:
    """Write down what a function does to a row of its inputs.

    Args:
        model: Whose weights it uses, in eval mode.
        function: Of tensors with one row, to one such tensor.
        inputs: Such tensors; their values do not matter.
        weights: Takes up the numbers of the network.

    Returns:
        "nodes", in order, each with its operation ("op"), the places of its inputs among the
        function's inputs and the nodes before it, the shape of a row of the first input ("from")
        and of the result ("shape"), weights and options; and the place of the "output".

    Raises:
        UserError: It does something that the page cannot.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch's log of what it could not export: pages of it
    try:
        exported = torch.export.export(_Call(model, function), inputs)
    except Exception as error:  # whatever a model's code raises on tensors without values
        raise UserError(
            f"a {type(model).__name__} cannot be carried into the page: torch.export says: "
            f"{first_line(error)}: leave this run out"
        ) from error
    finally:
        logging.disable(before)
    signature = exported.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    tensors = {**exported.state_dict, **exported.constants}
    lowering = _Lowering(
        model=type(model).__name__,
        held={name: tensors[target] for name, target in names.items()},
        weights=weights,
        inputs=[str(name) for name in signature.user_inputs],
    )
    (output,) = exported.graph.output_node().args[0]
    assert isinstance(output, Node)
    place = lowering.place(output)
    return {"inputs": len(inputs), "nodes": lowering.nodes, "output": place}


class _Lowering:
    """The nodes on the way to an output; what leads nowhere is never looked at."""

    def __init__(
        self, model: str, held: dict[str, Tensor], weights: Weights, inputs: list[str]
    ) -> None:
        self.model = model
        self.held = held  # parameters and buffers, by the names of their placeholders
        self.weights = weights
        self.inputs = len(inputs)
        self.places = {name: place for place, name in enumerate(inputs)}
        self.nodes: list[dict[str, Any]] = []

    def place(self, node: Node) -> int:
        """Where a node's value is; what it needs is written down first."""
        if node.name not in self.places:
            self.places[node.name] = self._write(node)
        return self.places[node.name]

    def _write(self, node: Node) -> int:
        shape = self._row(node)
        if node.target in SAME:
            return self.place(self._source(node))
        if node.target is operator.getitem and self._source(node).target in PARTS:
            entry = self._part(node)
        elif node.target == aten.slice.Tensor:
            options = {name: value for name, value, _ in _arguments(node)}
            if options["step"] != 1:
                raise self._unknown(node, f" with step={options['step']}")
            entry = self._slice(self._source(node), options["dim"], options["start"] or 0)
        elif node.target in OPERATIONS:
            entry = self._operation(node, OPERATIONS[node.target])
        else:
            raise self._unknown(node)
        self.nodes.append(entry | {"shape": shape})
        return self.inputs + len(self.nodes) - 1

    def _operation(self, node: Node, known: Operation) -> dict[str, Any]:
        entry: dict[str, Any] = {"op": known.name, "inputs": [], "weights": {}}
        for name, value, usual in _arguments(node):
            if name in known.inputs and not isinstance(value, int | float):
                sources = value if isinstance(value, list | tuple) else [value]
                if any(source.name in self.held for source in sources):
                    raise self._unknown(node, f" with a weight as {name}")
                entry["inputs"] += [self.place(source) for source in sources]
                entry.setdefault("from", self._row(sources[0]))
                if known.name != "cat" and self._row(sources[0]) != entry["from"]:
                    raise self._unknown(node, " of two shapes")
            elif name in known.inputs or name in known.options:
                entry[name] = value
            elif name in known.weights:
                if value is not None and value.name not in self.held:
                    raise self._unknown(node, f" with a {name} that is computed")
                entry["weights"][name] = value and self.weights.add(self.held[value.name])
            elif name not in known.ignored and value != usual:
                raise self._unknown(node, f" with {name}={value}")
        return entry

    def _part(self, node: Node) -> dict[str, Any]:
        """One of the parts into which chunk or split cuts a tensor, as a slice of it."""
        cut = self._source(node)
        whole, index = self._source(cut), int(node.args[1])  # type: ignore[arg-type]
        options = {name: value for name, value, _ in _arguments(cut)}
        dim = options["dim"]
        start = sum(part.shape[dim] for part in cut.meta["val"][:index])
        return self._slice(whole, dim, start)

    def _slice(self, whole: Node, dim: int, start: int) -> dict[str, Any]:
        shape = whole.meta["val"].shape
        return {
            "op": "slice", "inputs": [self.place(whole)], "weights": {},
            "from": self._row(whole), "dim": dim % len(shape), "start": start % shape[dim],
        }  # fmt: skip

    def _row(self, node: Node) -> list[int]:
        """The shape of one row of a node's value: without its first dimension, which is 1."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or value.shape[:1] != (1,):
            raise self._unknown(node, " that mixes the images of a batch")
        return list(value.shape[1:])

    def _source(self, node: Node) -> Node:
        source = node.args[0]
        assert isinstance(source, Node)
        return source

    def _unknown(self, node: Node, how: str = "") -> UserError:
        return UserError(
            f"a {self.model} has an operation that the page cannot carry out: {node.target}{how}: "
            "leave this run out"
        )


def _arguments(node: Node) -> list[tuple[str, Any, Any]]:
    """Name, value and default of each argument of an ATen operation."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    given |= node.kwargs
    return [
        (known.name, given.get(known.name, known.default_value), known.default_value)
        for known in schema
    ]
