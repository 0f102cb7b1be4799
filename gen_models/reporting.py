"""What a run tells its user: on the terminal, in TensorBoard, as pictures."""

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gen_models import runs
from gen_models.callbacks import reconstruct, sample_fixed
from gen_models.data import MNISTDataModule
from gen_models.runs import RunDirectory

PACKAGES = ["gen-models", "torchvision", "lightning", "hydra-core", "numpy"]
MEANING = {
    "loss": "recon + beta x kl, nats per image",
    "recon": "one posterior sample, nats per image",
    "kl": "posterior to prior, nats per image",
    "d_loss": "nats; real and fake",
    "g_loss": "nats; neither loss tells quality",
    "d_real": "mean D(x) of test images, 1: sure of real",
    "d_fake": "mean D(x) of new images, 0: sure of fake",
}


def say(line: str) -> None:
    """One line on the terminal, never wrapped."""
    Console(highlight=False).print(line, soft_wrap=True, markup=False)


def machine() -> dict[str, Any]:
    """What figures may depend on beside a configuration: versions, threads, processor, system."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {
        "versions": versions | {package: version(package) for package in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.platform(),
    }


def environment(trainer: pl.Trainer) -> dict[str, Any]:
    """What the figures of a run may depend on: `machine`, and the devices that train."""
    device = trainer.strategy.root_device
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return machine() | {"device": gpu or device.type, "devices": trainer.world_size}


def peak_memory() -> dict[str, float]:
    """Most memory this process has held so far: resident and, with CUDA, allocated there; MiB.

    Jobs of a multirun that share a process share its peak.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    peaks = {"peak_memory_mib": round(resident, 1)}
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


def announce(
    config: dict[str, Any],
    directory: RunDirectory,
    model: pl.LightningModule,
    datamodule: MNISTDataModule,
    *,
    resumed: bool,
) -> None:
    """Say what is about to be trained, and where."""
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    images = len(datamodule.splits["train"].images)
    say(
        f"{'Resuming' if resumed else 'Training'} {runs.model_name(config).upper()} "
        f"{config['phase']} on {datamodule.name}: {count:,} parameters, {images:,} images in "
        f"batches of {datamodule.batch_size}, {config['trainer']['max_epochs']} epochs"
    )
    say(f"  in {directory.path}")


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
        logger.experiment.add_text(file.stem, _as_code(file.read_text()), 0)


def record(
    trainer: pl.Trainer,
    directory: RunDirectory,
    model: Any,
    datamodule: MNISTDataModule,
    config: dict[str, Any],
    metrics: dict[str, float],
) -> None:
    """Write the run's last words to TensorBoard, and its figures."""
    logger: Any = trainer.logger
    hparams = {key: _plain(value) for key, value in runs.identity(config).items()}
    on_test = {key: value for key, value in metrics.items() if key.startswith("test/")}
    logger.log_hyperparams(hparams | {"phase": config["phase"]}, on_test, trainer.global_step)
    logger.save()
    model.cpu()
    write_figures(directory, model, datamodule, title=run_title(config))


def write_figures(
    directory: RunDirectory, model: Any, datamodule: MNISTDataModule, *, title: str
) -> None:
    """The pictures of a trained model, in `figures/`."""
    from gen_models import figures  # matplotlib takes a second to import

    test = datamodule.splits["test"].images[:100].float() / 255
    written = {
        "data": figures.image_grid(test, columns=10, title=f"{datamodule.name}: test images"),
        "samples": figures.image_grid(
            sample_fixed(model, 100), columns=10, title=f"{title}: new images"
        ),
        "curves": figures.curves(read_curves(directory.path), title=title),
    }
    if hasattr(model, "encode"):
        written["reconstructions"] = figures.pairs(
            test[:40],
            reconstruct(model, test[:40]),
            columns=20,
            title=f"{title}: test images above, their reconstructions below",
        )
    for name, figure in written.items():
        figures.save(figure, directory.figures / f"{name}.png")


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
    Console(highlight=False).print(table)
    for picture in sorted(directory.figures.glob("*.png")):
        say(f"  {picture}")


def suggest_comparison(swept: dict[Path, dict[str, Any]]) -> None:
    """What to type behind a sweep: the comparison of its runs, by the setting that it swept.

    Args:
        swept: Run directories and the runs' identities.
    """
    paths = [path for path in swept if RunDirectory(path).status.exists()]
    if len(paths) < 2:
        return
    from gen_models.comparison.table import short_name, varying  # pandas takes a while to import

    of_one_kind = len({path.parent for path in paths}) == 1
    settings = [swept[path] for path in paths]
    keys = [key for key in varying(settings) if key != "seed"] if of_one_kind else []
    by = f" --by {short_name(keys[0])}" if len(keys) == 1 else ""
    folder = Path(os.path.commonpath(paths))
    alone = {file.parent for file in folder.rglob("status.json")} == set(paths)
    say("Next:")
    say(f"  gen-models compare {folder if alone else ' '.join(map(str, paths))}{by}")


def suggest(directory: RunDirectory) -> None:
    """The last lines on the terminal: what to type next."""
    say("Next:")
    if "fid_lenet" in runs.read_json(directory.metrics):
        say(f"  gen-models compare {directory.path.parents[1]}")
    else:
        say(f"  gen-models evaluate {directory.path}")
    say(f"  gen-models sample {directory.path} --count 64 --output samples.png")
    say(f"  tensorboard --logdir {directory.path.parents[2]} --samples_per_plugin images=100")


def run_title(config: dict[str, Any]) -> str:
    """Model and phase, as titles of pictures have them: "GAN final"."""
    return f"{runs.model_name(config).upper()} {config['phase']}"


def _as_code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())  # Markdown


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)


def show_evaluation(directory: RunDirectory, metrics: dict[str, float]) -> None:
    """A run's measurements, beside the floor and the ceilings of the distances."""
    bounds = ["floor", "gaussian", "noise"]
    table = Table("generation", "this run", "real images", "PCA Gaussian", "pixel noise")
    for name in [key.removeprefix("floor/") for key in metrics if key.startswith("floor/")]:
        if "/" not in name:
            row = [metrics[name], *(metrics[f"{bound}/{name}"] for bound in bounds)]
            table.add_row(name, *(f"{value:.4g}" for value in row))
    console = Console(highlight=False)
    console.print(table)
    ways = [key.removesuffix("/mse") for key in metrics if key.endswith("/mse")]
    table = Table("reconstruction", "mse", "psnr, dB", "ssim")
    for way in ways:
        table.add_row(way, *(f"{metrics[f'{way}/{name}']:.4g}" for name in ("mse", "psnr", "ssim")))
    console.print(table)
    others = [key for key in metrics if key.startswith(("likelihood/", "grey_pixels/"))]
    inversion = [f"inversion/{name}" for name in ("radius", "control_mse", "control_median_mse")]
    for key in [*others, "active_units", *inversion]:
        if key in metrics:
            say(f"  {key} {metrics[key]:.4f}")
    for key in [key for key in metrics if key.startswith("cost/")]:
        say(f"  {key} {metrics[key]:,.6g}")
    say(f"  {int(metrics['samples']):,} new images against as many test images")
    say(f"  {directory.metrics}")
    for picture in sorted(directory.figures.glob("*.png")):
        say(f"  {picture}")


def show_quick_evaluation(directory: RunDirectory) -> None:
    """One line: a sweep has many runs."""
    metrics = runs.read_json(directory.metrics)
    shown = [f"{name} {metrics[f'quick/{name}']:.4g}" for name in ("fid_lenet", "coverage")]
    if "quick/encoder/mse" in metrics:
        shown.append(f"encoder mse {metrics['quick/encoder/mse']:.4g}")
    say(f"  {int(metrics['quick/samples']):,} new images: {', '.join(shown)}")
