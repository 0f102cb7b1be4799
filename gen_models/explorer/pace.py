"""How fast a page makes images with a model that solves an equation for each."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from gen_models.models.interface import Density

STEPS = (8, 4)  # at most
# Of one image. A free core carries out 2 GFLOPs a second in the page: 5 images.
MOST_FLOPS = 4e8


@torch.no_grad()
def set_page_steps(model: Density) -> bool:
    """Set the steps that a page takes, not more than the model's own; False if all are too slow."""
    own, solver = model.steps, model.solver if model.steps else "midpoint"
    z = model.prior(1)
    for steps in STEPS:
        model.set_solver(solver, min(steps, own or steps))
        with FlopCounterMode(display=False) as counter:
            model.decode(z)
        if counter.get_total_flops() <= MOST_FLOPS:
            return True
    return False
