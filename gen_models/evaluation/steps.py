"""Quality against cost of a model that makes an image in steps: fewer are faster, more are better.

Metrics "steps/SOLVER-N/...", or "steps/dopri5/..." of a solver that picks its steps itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.table import Table

from gen_models.errors import UserError
from gen_models.evaluation.cost import sample_flops, sampling_seconds
from gen_models.evaluation.evaluate import add_metrics, measuring
from gen_models.evaluation.measure import draw_evaluated, prefixed
from gen_models.files import read_json
from gen_models.machine import device_name, machine
from gen_models.metrics.distribution import frechet_distance
from gen_models.models.interface import Density, GenerativeModel
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.runs.weights import load_model
from gen_models.terminal import Say
from gen_models.terminal import say as echo

ADAPTIVE = "dopri5"  # the solver that picks its steps itself


@torch.no_grad()
def measure_steps(
    run: str | Path,
    *,
    solvers: Sequence[str] = (),
    steps: Sequence[int] = (),
    data_root: str | Path | None = None,
    say: Say,
) -> dict[str, float]:
    """Measure a run with each solver in each number of steps; the numbers join its metrics.

    They are the distance of as many new images as test images, of an evaluation's noise, and their
    cost: seconds and FLOPs on the CPU, as in "cost/...".

    Args:
        run: A finished run's directory.
        solvers: Names of solvers; none: the model's own.
        steps: Numbers of steps, for all solvers but `ADAPTIVE`; none: the model's own.
        data_root: Folder of the data sets; None means the run's.
        say: Called with a line before each part.

    Raises:
        UserError: Not a finished run, or its model, a solver or a number of steps does not fit.
    """
    directory = RunDirectory(run)
    model = require_steps(load_model(run), run)
    ways = _ways(model, solvers, steps)
    metrics: dict[str, float] = {}
    with directory.lock():
        read_json(directory.metrics)  # if it is damaged, fail now and not after minutes
        with measuring(directory, None, data_root, say) as (_, whole):
            real = whole.equal
            for solver, count in ways:
                name = solver if count is None else f"{solver}-{count}"
                say(f"drawing {len(real.test):,} images with {name}")
                model.set_solver(solver, count)
                images = draw_evaluated(model.to(real.test.device), len(real.test))
                new = real.classifier.read(images).features
                measured = {
                    "fid_lenet": frechet_distance(real.reading.features, new),
                    "sampling_seconds": sampling_seconds(model.cpu()),
                    "flops_per_sample": float(sample_flops(model)),
                }
                metrics |= prefixed(f"steps/{name}", measured)
        record = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": device_name(real.test.device),
        }
        add_metrics(directory, metrics)
        directory.write_status(solver_steps=record | features_record(real.classifier) | machine())
    return metrics


def _ways(
    model: Density, solvers: Sequence[str], steps: Sequence[int]
) -> list[tuple[str, int | None]]:
    """Each solver with each number of steps, after a check that the model takes them."""
    own, ways = model.steps, []
    for solver in dict.fromkeys(solvers or [model.solver]):
        counts: list[int | None] = list(dict.fromkeys(steps))
        if solver == ADAPTIVE and len(solvers) > 1:  # the steps are those of the others
            counts = []
        for count in counts or [None if solver == ADAPTIVE else own]:
            choose_solver(model, solver, count)
            ways.append((solver, count))
    return ways


def require_steps(model: GenerativeModel, run: str | Path) -> Density:
    """Return a run's model; raise UserError unless it makes an image in steps."""
    if not isinstance(model, Density):
        raise UserError(
            f"{run}: a {type(model).__name__} draws an image in one pass, so it has no --steps and "
            "no --solver: leave them out, or name a run of model=flow"
        )
    return model


def choose_solver(model: Density, solver: str | None, steps: int | None) -> None:
    """Set the solver and its steps from the options --solver and --steps.

    Args:
        model: The model.
        solver: None: the model's own.
        steps: None: the model's own number, or none for `ADAPTIVE`.

    Raises:
        UserError: One of them does not fit; the message names the option.
    """
    solver = solver or model.solver
    if solver != ADAPTIVE:
        steps = model.steps if steps is None else steps
    elif steps is not None:
        raise UserError(
            f"--steps: {ADAPTIVE} picks its steps itself: leave --steps out, or name another "
            "solver with --solver"
        )
    try:
        model.set_solver(solver, steps)
    except ValueError as error:
        raise UserError(f"--{error}") from error


def show_steps(directory: RunDirectory, metrics: dict[str, float]) -> None:
    """The quality of new images and what they cost, a row for each solver and number of steps."""
    table = Table("steps", "fid_lenet", "seconds per 1,000 images", "MFLOPs per image")
    for name in dict.fromkeys(key.split("/")[1] for key in metrics):
        keys = ("fid_lenet", "sampling_seconds", "flops_per_sample")
        fid, seconds, flops = (metrics[f"steps/{name}/{key}"] for key in keys)
        table.add_row(name, f"{fid:.2f}", f"{seconds:.3g}", f"{flops / 1e6:,.4g}")
    echo(table)
    echo(f"  {directory.metrics}")
