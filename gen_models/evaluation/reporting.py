"""What an evaluation shows its user on the terminal."""

from rich.table import Table

from gen_models.files import read_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.features import TRAINED, features_in_words, features_of
from gen_models.runs.sampler import sampler_measured_with
from gen_models.terminal import say, show

UNINFORMATIVE = ("precision", "density", "samples")  # pixel noise has a precision of 0.85


def show_evaluation(directory: RunDirectory, metrics: dict[str, float]) -> None:
    """A run's measurements, next to the floor and the ceilings of the distances."""
    bounds = ["floor", "gaussian", "noise"]
    table = Table("generation", "this run", "real images", "crude Gaussian", "pixel noise")
    for name in [key.removeprefix("floor/") for key in metrics if key.startswith("floor/")]:
        if name not in UNINFORMATIVE and not name.endswith(("/low", "/high")):
            row = [metrics.get(key) for key in (name, *(f"{bound}/{name}" for bound in bounds))]
            table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in row))
    show(table)
    ways = [key.removesuffix("/mse") for key in metrics if key.endswith("/mse")]
    table = Table("reconstruction", "mse", "psnr, dB", "ssim", "numbers in z")
    for way in ways:
        errors = [f"{metrics[f'{way}/{name}']:.4g}" for name in ("mse", "psnr", "ssim")]
        with_z = way not in ("nearest", "mean_image")
        table.add_row(way, *errors, f"{int(metrics['latent_dim']):,}" if with_z else "-")
    show(table)
    others = [
        key for key in metrics if key.startswith(("likelihood/", "grey_pixels/", "grey_density/"))
    ]
    inversion = [f"inversion/{name}" for name in ("radius", "control_mse", "control_share")]
    for key in ["class_accuracy", "real/class_accuracy", *others, "active_units", *inversion]:
        if key in metrics:
            say(f"  {key} {metrics[key]:.4f}")
    for key in [key for key in metrics if key.startswith("cost/")]:
        say(f"  {key} {metrics[key]:,.6g}")
    say(
        f"  {int(metrics['samples']):,} new images against as many test images; "
        f"the floor: {int(metrics['floor/samples']):,}"
    )
    say(f"  distances are measured in {features_in_words(directory.read_status()['evaluation'])}")
    if sampler := sampler_measured_with(directory.read_status()):
        say(f"  new images were drawn by its sampler, {sampler}")
    say(f"  {directory.metrics}")
    for picture in sorted(directory.figures.glob("*.*")):
        say(f"  {picture}")


def show_quick_evaluation(directory: RunDirectory) -> None:
    """One line: a sweep has many runs."""
    metrics = read_json(directory.metrics)
    shown = [f"{name} {metrics[f'quick/{name}']:.4g}" for name in ("fid_lenet", "coverage")]
    if "quick/encoder/mse" in metrics:
        shown.append(f"encoder mse {metrics['quick/encoder/mse']:.4g}")
    record = directory.read_status()["quick"]
    sampler = sampler_measured_with({"quick": record})
    by = f" by its sampler, {sampler}" if sampler else ""
    by += "" if features_of(record) == TRAINED else f", in features of {features_of(record)}"
    say(f"  {int(metrics['quick/samples']):,} new images{by}: {', '.join(shown)}")
