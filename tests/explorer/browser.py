"""The explorer's networks in Chromium."""

import base64
from collections.abc import Callable
from typing import Any

import torch
from conftest import ROOT
from torch import Tensor, nn

from gen_models.explorer.graph import Weights, lower

PAGE = ROOT / "gen_models" / "explorer" / "page"


class Networks:
    """The page's own code for networks, in an empty page."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page()
        for name in ("ops.js", "ops_images.js", "latent.js", "worker.js"):
            self.page.add_script_tag(path=PAGE / name)

    def load(self, model: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        """Carry a function into the page."""
        weights = Weights()
        program = lower(model, function, tuple(row[:1].detach() for row in inputs), weights)
        packed = base64.b64encode(weights.to_bytes()).decode()
        script = "([p, packed]) => { globalThis.program = withWeights(p, unpack(packed)); }"
        self.page.evaluate(script, [program, packed])

    def forward(self, *inputs: Tensor) -> Tensor:
        """The function's values of all rows of the inputs."""
        script = """([inputs, n]) => Array.from(
            forward(program, inputs.map((x) => Float32Array.from(x)), n)[program.output])"""
        rows = [[x.flatten().tolist() for x in inputs], len(inputs[0])]
        return torch.tensor(self.page.evaluate(script, rows)).view(len(inputs[0]), -1)

    def backward(self, slopes: Tensor, *inputs: Tensor) -> Tensor:
        """The gradient of the first input, given that of the values."""
        script = """([slopes, inputs, n]) => {
            const values = forward(program, inputs.map((x) => Float32Array.from(x)), n);
            return Array.from(backward(program, values, Float32Array.from(slopes), n)); }"""
        rows = [slopes.flatten().tolist(), [x.flatten().tolist() for x in inputs], len(slopes)]
        return torch.tensor(self.page.evaluate(script, rows)).view_as(inputs[0])


def rounded(model: nn.Module) -> nn.Module:
    """The model with weights that 16 bits hold, in eval mode."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return model.eval()
