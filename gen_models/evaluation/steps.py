"""Quality against cost of a model that makes an image in steps: fewer are faster, more are better.

Metrics "steps/SOLVER-N/...", or "steps/dopri5/..." of a solver that picks its steps itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.table import Table

from gen_models.errors import UserError
from gen_models.evaluation.cost import sample_flops, sampling_seconds
from gen_models.evaluation.device import measuring
from gen_models.evaluation.evaluate import add_metrics, real_images, unmeasurable
from gen_models.evaluation.measure import draw_evaluated, prefixed
from gen_models.evaluation.reference import Reference
from gen_models.files import read_json
from gen_models.machine import device_name, machine
from gen_models.metrics.distribution import frechet_distance
from gen_models.models.interface import Density, GenerativeModel
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.runs.weights import load_model
from gen_models.terminal import Say
from gen_models.terminal import say as echo

ADAPTIVE = "dopri5"  # the solver that picks its steps itself

Way = tuple[str, int | None]  # a solver and its number of steps


def measure_steps(
    run: str | Path,
    *,
    solvers: Sequence[str] = (),
    steps: Sequence[int] = (),
    data_root: str | Path | None = None,
    say: Say,
) -> dict[str, float]:
    """Measure a run with each solver in each number of steps; the numbers join its metrics.

    Args:
        run: A finished run's directory.
        solvers: Names of solvers; none: the model's own.
        steps: Numbers of steps, for all solvers but `ADAPTIVE`.
        data_root: Folder of the data sets; None means the run's.
        say: Called with a line before each part.

    Raises:
        UserError: Not a finished run, or its model, a solver or a number of steps does not fit.
    """
    directory = RunDirectory(run)
    model = require_steps(load_model(run), run)
    ways = _check_ways(model, list(dict.fromkeys(solvers)) or [model.solver], steps)
    with directory.lock(), measuring(directory) as device:
        read_json(directory.metrics)  # if it is damaged, fail now and not after minutes
        _, real = real_images(directory, device, None, data_root, say)
        try:
            metrics = measure_ways(model, real.equal, ways, say)
        except ValueError as error:  # a feature is not finite
            raise unmeasurable(directory, error) from error
        record = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": device_name(device),
        }
        add_metrics(directory, metrics)
        directory.write_status(solver_steps=record | features_record(real.classifier) | machine())
    return metrics


@torch.no_grad()
def measure_ways(
    model: Density, real: Reference, ways: Sequence[Way], say: Say
) -> dict[str, float]:
    """The distance of as many new images as test images, and what they cost, for each way.

    The noise is an evaluation's; seconds and FLOPs are counted on the CPU, as in "cost/...".

    Args:
        model: In eval mode; afterwards on the CPU, and with its own solver again.
        real: The images to compare with.
        ways: Solvers with their numbers of steps.
        say: Called with a line before each way.
    """
    metrics: dict[str, float] = {}
    for solver, steps in ways:
        name = solver if steps is None else f"{solver}-{steps}"
        say(f"drawing {len(real.test):,} images with {name}")
        with _solver_restored(model):
            model.set_solver(solver, steps)
            images = draw_evaluated(model.to(real.test.device), len(real.test))
            new = real.classifier.read(images).features
            measured = {
                "fid_lenet": frechet_distance(real.reading.features, new),
                "sampling_seconds": sampling_seconds(model.cpu()),
                "flops_per_sample": float(sample_flops(model)),
            }
        metrics |= prefixed(f"steps/{name}", measured)
    return metrics


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
        fid, seconds = (metrics[f"steps/{name}/{key}"] for key in ("fid_lenet", "sampling_seconds"))
        flops = metrics[f"steps/{name}/flops_per_sample"]
        table.add_row(name, f"{fid:.2f}", f"{seconds:.3g}", f"{flops / 1e6:,.4g}")
    echo(table)
    echo(f"  {directory.metrics}")


def _check_ways(model: Density, solvers: Sequence[str], steps: Sequence[int]) -> list[Way]:
    """Each solver with each number of steps, after a check that the model takes them."""
    ways = []
    with _solver_restored(model):
        for solver in solvers:
            alone = solver != ADAPTIVE or len(solvers) == 1
            counts: list[int | None] = list(dict.fromkeys(steps)) if alone else []
            for count in counts or [None]:
                choose_solver(model, solver, count)
                ways.append((model.solver, model.steps))
    return ways


@contextmanager
def _solver_restored(model: Density) -> Iterator[None]:
    """Give the model its own solver back at the end."""
    own = model.solver, model.steps
    try:
        yield
    finally:
        model.set_solver(*own)
