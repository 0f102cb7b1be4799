"""What a training tells its user: on the terminal, in TensorBoard, as pictures."""

import platform
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from textwrap import indent
from typing import Any

import lightning.pytorch as pl
import torch
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gen_models import figures
from gen_models.metrics.pixels import as_bytes
from gen_models.models.interface import Encoder, GenerativeModel, draw_fixed, reconstruct
from gen_models.runs.directory import RunDirectory
from gen_models.runs.fingerprint import commit
from gen_models.runs.identity import identity, model_name
from gen_models.terminal import say, show
from gen_models.training.callbacks import SampleGrid
from gen_models.training.experiment import Experiment
from gen_models.training.gallery import write_gallery

PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]
MEANING = {
    "loss": "nats per image; recon + beta x kl, or a bound",
    "recon": "one posterior sample, nats per image",
    "kl": "posterior to prior, nats per image",
    "d_loss": "of real and new images",
    "g_loss": "neither loss tells quality",
    "d_real": "mean D(x) of test images, 1: sure of real",
    "d_fake": "mean D(x) of new images, 0: sure of fake",
}


def machine() -> dict[str, Any]:
    """What metrics may depend on: versions, threads, processor, system."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {
        "versions": versions | {package: version(package) for package in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
        "machine": platform.platform(),
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(line.split(":")[1].strip() for line in file if "model name" in line)
    return platform.processor()


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the type of any other device: "cpu", "mps"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def environment(trainer: pl.Trainer) -> dict[str, Any]:
    """What the metrics of a run may depend on: `machine`, the devices that train, the commit."""
    device = device_name(trainer.strategy.root_device)
    devices = {"device": device, "devices": trainer.world_size}
    return machine() | devices | {"commit": commit()}


def peak_memory() -> dict[str, float]:
    """Most memory this process has held so far: resident and, with CUDA, allocated there; MiB.

    Jobs of a multirun that share a process share its peak. Windows does not say what is resident.
    """
    peaks = {}
    with suppress(ImportError):
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        peaks["peak_memory_mib"] = round(resident, 1)
    if torch.cuda.is_available():
        peaks["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks


def architecture(model: pl.LightningModule) -> str:
    """The networks as printed, with their parameter counts."""
    parts = []
    for name, network in model.named_children():
        count = sum(parameter.numel() for parameter in network.parameters())
        parts.append(f"{name}: {count:,} parameters\n{network}\n")
    return "\n".join(parts)


def announce(config: dict[str, Any], experiment: Experiment) -> None:
    """Say what is about to be trained, and where."""
    model, datamodule = experiment.model, experiment.datamodule
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    images = len(datamodule.splits["train"].images)
    extends = experiment.origin is not experiment.directory
    verb = "Resuming" if experiment.checkpoint and not extends else "Training"
    steps = config["max_steps"]
    length = f"{config['trainer']['max_epochs']} epochs" if steps == -1 else f"{steps:,} batches"
    say(
        f"{verb} {run_title(config)} on "
        f"{datamodule.name}: {count:,} parameters, {images:,} images in batches of "
        f"{datamodule.batch_size}, {length}"
    )
    say(f"  in {experiment.directory.path}")
    if extends:
        say(f"  going on from {experiment.origin.path}")


def warn_of_slow_precision(trainer: pl.Trainer) -> None:
    """Say so where the processor only emulates bfloat16."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if trainer.precision == "bf16-mixed" and on_cpu and not fast:
        say("  bf16-mixed will be slow: this processor has neither AVX512-BF16 nor AMX")


def describe(trainer: pl.Trainer, directory: RunDirectory) -> None:
    """Show in TensorBoard what is being trained."""
    logger: Any = trainer.logger
    for file in (directory.architecture, directory.config):
        as_code = indent(file.read_text(encoding="utf-8"), "    ")  # Markdown
        logger.experiment.add_text(file.stem, as_code, 0)


def record(config: dict[str, Any], experiment: Experiment, metrics: dict[str, float]) -> None:
    """Write the run's last words to TensorBoard, and draw its pictures."""
    logger: Any = experiment.trainer.logger
    hparams = {key: _plain(value) for key, value in identity(config).items()}
    on_test = {key: value for key, value in metrics.items() if key.startswith("test/")}
    steps = experiment.trainer.global_step
    logger.log_hyperparams(hparams | {"phase": config["phase"]}, on_test, steps)
    logger.save()
    experiment.model.cpu()
    write_figures(experiment, title=run_title(config))


def write_figures(experiment: Experiment, *, title: str) -> None:
    """The pictures of a trained model, in `figures/`."""
    model, datamodule, _, directory, *_ = experiment
    assert isinstance(model, GenerativeModel)
    test, labels = datamodule.splits["test"]
    real = test[:100].squeeze(1).numpy()
    with figures.drawing(directory.figures / "data.png") as path:
        picture = figures.picture(figures.tile(real, 10), title=f"{datamodule.name}: test images")
        figures.save(picture, path)
    with figures.drawing(directory.figures / "samples.png") as path:
        new = as_bytes(draw_fixed(model, 100)).numpy()
        figures.save(figures.picture(figures.tile(new, 10), title=f"{title}: new images"), path)
    with figures.drawing(directory.figures / "curves.png") as path:
        if curves := read_curves(directory.path):  # there are none without a logger
            figures.save(figures.curves(curves, title=title), path)
    if isinstance(model, Encoder):
        with figures.drawing(directory.figures / "reconstructions.png") as path:
            made = as_bytes(reconstruct(model, test[:40].float() / 255, labels[:40])).numpy()
            picture = figures.picture(
                figures.tile_pairs(real[:40], made, 20),
                title=f"{title}: test images above, their reconstructions below",
            )
            figures.save(picture, path)
    for callback in experiment.trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SampleGrid):
            with figures.drawing(directory.figures / "training.webp") as path:
                write_gallery(
                    directory.path,
                    epochs=experiment.trainer.current_epoch,
                    every_n_epochs=callback.every_n_epochs,
                    path=path,
                )


def read_curves(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Every training and validation curve of a run: key -> (training batches, values)."""
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    curves = {}
    for key in events.Tags()["scalars"]:
        if key.startswith(("train/", "val/")):
            points = {event.step: event.value for event in events.Scalars(key)}
            curves[key] = (list(points), list(points.values()))
    return curves


def summarise(directory: RunDirectory, metrics: dict[str, float], seconds: float) -> None:
    """What was measured on the terminal, and where the pictures are."""
    table = Table("on the test images", "", "")
    for name, value in metrics.items():
        if name.startswith("test/"):
            short = name.removeprefix("test/")
            table.add_row(short, f"{value:.4f}", MEANING.get(short, ""))
    table.add_row("seconds", f"{seconds:.1f}", "of training and validation")
    show(table)
    for picture in sorted(directory.figures.glob("*.*")):
        say(f"  {picture}")


def run_title(config: dict[str, Any]) -> str:
    """Model and phase, as titles of pictures have them: "GAN final"."""
    return f"{model_name(config).upper()} {config['phase']}"


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
