"""A network as a list of operations that the page can carry out (`page/ops.js`).

torch.export writes down what a function of a model does, whatever its class: ATen operations on
tensors of known shapes. Each becomes an entry of a list that JSON can hold. A new operation needs
an entry in `OPERATIONS` and one of the same name in `page/ops.js`.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from gen_models.errors import UserError, first_line
from gen_models.models.program import Call, to_program

aten = torch.ops.aten

WEIGHTS = ("weight", "bias", "running_mean", "running_var")  # arguments that training sets
# The operations of ops.js, with those of their other arguments that need not be the defaults.
OPERATIONS: dict[Any, tuple[str, ...]] = {
    aten.linear.default: (),
    aten.conv2d.default: ("stride", "padding"),
    aten.conv_transpose2d.input: ("stride", "padding", "output_padding"),
    aten.max_pool2d.default: ("kernel_size", "stride"),
    aten.upsample_nearest2d.vec: ("output_size", "scale_factors"),
    aten.batch_norm.default: ("training", "momentum", "eps", "cudnn_enabled"),  # in eval mode
    aten.group_norm.default: ("num_groups", "eps", "cudnn_enabled"),
    aten.relu.default: (),
    aten.leaky_relu.default: ("negative_slope",),
    aten.elu.default: ("alpha",),
    aten.selu.default: (),
    aten.gelu.default: (),
    aten.silu.default: (),
    aten.tanh.default: (),
    aten.sigmoid.default: (),
    aten.sin.default: (),
    aten.cos.default: (),
    aten.add.Tensor: ("other",),
    aten.sub.Tensor: ("other",),
    aten.mul.Tensor: ("other",),
    aten.div.Tensor: ("other",),
    aten.cat.default: ("dim",),
    aten.argmax.default: ("dim",),
    aten.one_hot.default: ("num_classes",),
    aten.expand.default: ("size",),
    aten.pixel_unshuffle.default: ("downscale_factor",),
    aten.pixel_shuffle.default: ("upscale_factor",),
}
PAIRWISE = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}
# The same values in the same order: nothing to do.
SAME = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unflatten.int,
    aten.squeeze.dim, aten.unsqueeze.default, aten.to.dtype, aten.to.device, aten.clone.default,
    aten.contiguous.default, aten.dropout.default, aten.detach.default, aten.alias.default,
}  # fmt: skip
PARTS = {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default}


class Weights:
    """The numbers of all networks, one after the other as 16-bit floats."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def add(self, tensor: Tensor) -> dict[str, Any]:
        """Append a tensor; returns where it is and its shape.

        Raises:
            UserError: A number is too large for 16 bits, or not finite.
        """
        half = tensor.detach().cpu().contiguous().to(torch.float16)
        if not half.isfinite().all():
            raise UserError(
                "a weight is above 65,504 or not finite, and the page holds 16-bit floats: leave "
                "this run out"
            )
        offset = sum(part.numel() for part in self._parts)
        self._parts.append(half)
        return {"offset": offset, "shape": list(tensor.shape)}

    def to_bytes(self) -> bytes:
        """The numbers as they were added, two bytes each."""
        return b"".join(part.numpy().tobytes() for part in self._parts)


def lower(
    model: nn.Module,
    function: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    weights: Weights,
) -> dict[str, Any]:
    """List the operations that a function carries out on one row of its inputs.

    Args:
        model: The model whose weights the function uses, in eval mode.
        function: Takes tensors with one row and returns one such tensor.
        inputs: Example inputs with one row; their values do not matter.
        weights: The numbers of the network are appended to these.

    Returns:
        "nodes", in order, each with its operation ("op"), the places of its inputs among the
        function's inputs and the nodes before it, the shape of a row of the first input ("from")
        and of the result ("shape"), weights and options; and the place of the "output".

    Raises:
        UserError: The page cannot carry out one of the operations.
    """
    try:
        exported = to_program(Call(model, function), inputs)
    except Exception as error:  # a model's code may raise anything on tensors without values
        raise UserError(
            f"torch.export cannot read {type(model).__name__} for the page ({first_line(error)}): "
            "leave this run out"
        ) from error
    lowering = _Lowering(type(model).__name__, exported, weights)
    (output,) = exported.graph.output_node().args[0]
    place = lowering.place(output)
    return {"inputs": len(inputs), "nodes": lowering.nodes, "output": place}


class _Lowering:
    """The nodes that an output depends on; all others are left out."""

    def __init__(self, model: str, exported: ExportedProgram, weights: Weights) -> None:
        signature = exported.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        names |= signature.inputs_to_lifted_tensor_constants
        tensors = {**exported.state_dict, **exported.constants}
        self.held = {name: tensors[target] for name, target in names.items()}
        self.model = model
        self.weights = weights
        self.inputs = len(signature.user_inputs)
        self.places = {str(name): place for place, name in enumerate(signature.user_inputs)}
        self.nodes: list[dict[str, Any]] = []
        self.constants = _constants(exported.graph)

    def place(self, node: Node) -> int:
        """The place of a node's value; the nodes that it depends on are listed first."""
        if node.name not in self.places:
            shape = self._row(node)
            self.places[node.name] = (
                self.place(node.all_input_nodes[0])
                if node.target in SAME and node not in self.constants
                else self._add(self._operation(node) | {"shape": shape})
            )
        return self.places[node.name]

    def _add(self, entry: dict[str, Any]) -> int:
        """Append an operation; returns the place of its value."""
        self.nodes.append({"inputs": [], "weights": {}} | entry)
        return self.inputs + len(self.nodes) - 1

    def _operation(self, node: Node) -> dict[str, Any]:
        if node in self.constants:
            values = self.constants[node].flatten().tolist()  # 16 bits are too coarse for a time
            return {"op": "constant", "values": values}
        part = node.target is operator.getitem and node.all_input_nodes[0].target in PARTS
        if part or node.target == aten.slice.Tensor:
            return self._slice(node)
        if node.target not in OPERATIONS:
            raise self._unknown(node)
        name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
        entry: dict[str, Any] = {"op": name, "inputs": [], "weights": {}}
        for argument, (value, default) in _arguments(node).items():
            parts = value if isinstance(value, list | tuple) else [value]
            sources = [part for part in parts if isinstance(part, Node)]
            if any((source.name in self.held) != (argument in WEIGHTS) for source in sources):
                kind = "computed" if argument in WEIGHTS else "a weight"
                raise self._unknown(node, f", whose {argument} is {kind}")
            if argument in WEIGHTS:
                for source in sources:  # none without a bias
                    entry["weights"][argument] = self.weights.add(self.held[source.name])
            elif sources:
                shape = self._row(node) if node.target in PAIRWISE else None
                entry["inputs"] += [self._expanded(source, shape) for source in sources]
                entry.setdefault("from", self._row(sources[0]))
            elif argument in OPERATIONS[node.target]:
                entry[argument] = value
            elif value != default:
                raise self._unknown(node, f" with {argument}={value}")
        return entry

    def _expanded(self, source: Node, shape: list[int] | None) -> int:
        """The place of a value; of its repetitions if a row of it shall have another shape."""
        place, row = self.place(source), self._row(source)
        if shape in (None, row):
            return place
        return self._add({"op": "expand", "inputs": [place], "from": row, "shape": shape})

    def _slice(self, node: Node) -> dict[str, Any]:
        """A part of a tensor: a slice, or one of those into which chunk or split cuts it."""
        if node.target is operator.getitem:
            cut, index = node.all_input_nodes[0], node.args[1]
            whole, (dim, _) = cut.all_input_nodes[0], _arguments(cut)["dim"]
            start = sum(part.shape[dim] for part in cut.meta["val"][:index])
        else:
            whole, options = node.all_input_nodes[0], _arguments(node)
            dim, start, step = (options[name][0] for name in ("dim", "start", "step"))
            if step != 1:
                raise self._unknown(node, f" with step={step}")
        shape = whole.meta["val"].shape
        return {
            "op": "slice", "inputs": [self.place(whole)],
            "from": self._row(whole), "dim": dim % len(shape), "start": (start or 0) % shape[dim],
        }  # fmt: skip

    def _row(self, node: Node) -> list[int]:
        """The shape of one row of a node's value: without its first dimension, which is 1.

        A constant may have no such dimension: all rows share it.
        """
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.shape[:1] == (1,):
            return list(value.shape[1:])
        if node in self.constants:
            return list(self.constants[node].shape)
        raise self._unknown(node, ", which mixes the images of a batch")

    def _unknown(self, node: Node, how: str = "") -> UserError:
        return UserError(
            f"the page cannot run an operation of {self.model}: {node.target}{how}: leave this run "
            "out"
        )


def _constants(graph: Graph) -> dict[Node, Tensor]:
    """The values of the nodes that depend on no input, weight or random number."""
    values: dict[Node, Tensor] = {}
    for node in graph.nodes:
        if node.target == aten.zeros_like.default:
            values[node] = torch.zeros(node.meta["val"].shape)
        elif (
            isinstance(node.target, OpOverload)
            and torch.Tag.nondeterministic_seeded not in node.target.tags
            and all(source in values for source in node.all_input_nodes)
        ):
            args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    return values


def _arguments(node: Node) -> dict[str, tuple[Any, Any]]:
    """The value and the default of each argument of an ATen operation, by its name."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    values = dict(zip((known.name for known in schema), node.args, strict=False)) | node.kwargs
    return {
        known.name: (values.get(known.name, known.default_value), known.default_value)
        for known in schema
    }
