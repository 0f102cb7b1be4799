"""Times the four models of the report on an accelerator: full trainings, and where time goes.

    python benchmarks/gpu_speed.py [--accelerator gpu] [--compile] [--epochs N] [--data mnist]

For each model: seconds an epoch and for all its epochs, measured over a few of them after a first
one that is not counted; next to it a bare loop over the same batches on the same device, without
Lightning, log and pictures, and with --plain the same loop over torchvision's images through
ToTensor and a DataLoader. The best models have neither: their steps are not those of the bare loop.
With --compile the networks are compiled in place (`torch.compile`), the compilation stated apart;
--no-graphs launches a GAN's kernels one by one. On a CPU it runs too: `--accelerator cpu`.
"""

import argparse
import os
import platform
import time
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from train_speed import LastEpochClock, bare_epoch, composed, plain_loaders

from gen_models.data.loader import Batch
from gen_models.data.module import MNISTDataModule
from gen_models.machine import machine
from gen_models.training.loggers import TensorBoard
from gen_models.training.trainer import build_trainer

REPORT = [(model, phase) for model in ("gan", "vae") for phase in ("baseline", "final")]
BEST = [("gan", "best"), ("vae", "best")]


def build(config: dict[str, Any], *, compiled: bool) -> Any:
    """The model, its networks compiled in place where that is asked for."""
    model = instantiate(config["model"])
    model.cuda_graphs = config["cuda_graphs"]
    if compiled:
        for network in model.children():
            network.compile()
    return model


def through_lightning(
    config: dict[str, Any], datamodule: MNISTDataModule, *, compiled: bool
) -> tuple[float, float]:
    """Seconds of the first epochs, and of the last alone, as `python train.py` trains."""
    clock = LastEpochClock()
    watchers = [instantiate(node) for node in config["callbacks"].values()]
    model = build(config, compiled=compiled)
    with TemporaryDirectory() as folder:
        logger = TensorBoard(folder)
        trainer = build_trainer(config, folder, [*watchers, clock], [logger])
        begin = time.perf_counter()
        trainer.fit(model, datamodule)
        whole = time.perf_counter() - begin
        logger.close()
    return whole - clock.seconds, clock.seconds


def floor(
    config: dict[str, Any], datamodule: MNISTDataModule, device: torch.device, *, compiled: bool
) -> float:
    """Seconds of the second of two epochs of a bare loop, batches made on the device."""
    model = build(config, compiled=compiled).to(device)
    epoch = bare_epoch(model)
    loaders = datamodule.train_dataloader(), datamodule.val_dataloader()
    for loader in loaders:
        loader.images = loader.images.to(device)
        loader.labels = None  # no model here takes them
    limit = config["trainer"]["limit_train_batches"]
    batches = limit if isinstance(limit, int) else len(loaders[0])
    for _ in range(2):
        _wait(device)
        begin = time.perf_counter()
        train = (batch for _, batch in zip(range(batches), loaders[0], strict=False))
        with torch.autocast(device.type, torch.bfloat16, config["precision"] == "bf16-mixed"):
            epoch(train, loaders[1])
        _wait(device)
        seconds = time.perf_counter() - begin
    return seconds


def plain(config: dict[str, Any], device: torch.device, root: str) -> float:
    """Seconds of the second of two epochs of that loop as a plain script feeds it."""
    epoch = bare_epoch(build(config, compiled=False).to(device))
    loaders = plain_loaders(root, config["data"]["batch_size"])
    limit = config["trainer"]["limit_train_batches"]
    for _ in range(2):
        begin = time.perf_counter()
        train, val = ((Batch(batch.images.to(device)) for batch in loader()) for loader in loaders)
        epoch(islice(train, limit if isinstance(limit, int) else None), val)
        _wait(device)
        seconds = time.perf_counter() - begin
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Run the four models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--accelerator", default="gpu", choices=["gpu", "cpu"])
    parser.add_argument("--compile", action="store_true", help="the networks, in place")
    parser.add_argument("--no-graphs", action="store_true", help="without CUDA graphs")
    parser.add_argument("--plain", action="store_true", help="time a plain script's loader too")
    parser.add_argument("--best", action="store_true", help="the best models too")
    parser.add_argument("--precision", default="32-true", help="or bf16-mixed")
    parser.add_argument("--tf32", action="store_true", help="TF32 for products of float32")
    parser.add_argument("--epochs", type=int, default=3, help="of each model; the last is timed")
    parser.add_argument("--batches", type=int, help="of an epoch; default all")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-root", default=os.environ.get("GEN_MODELS_DATA", "data"))
    options = parser.parse_args()
    if options.tf32:
        torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if options.accelerator == "gpu" else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else machine()["processor"]
    print(
        f"{name}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, lightning {lightning.__version__}; {options.precision}"
        f"{', TF32' if options.tf32 else ''}{', compiled' if options.compile else ''}"
        f"{', no CUDA graphs' if options.no_graphs else ''}"
    )
    total = 0.0
    for model, phase in [*REPORT, *(BEST if options.best else [])]:
        choices = [f"data={options.data}", f"precision={options.precision}"]
        full = composed(model, phase, options.data_root, None, *choices)["max_epochs"]
        choices.append(f"trainer.accelerator={options.accelerator}")
        choices.append(f"cuda_graphs={not options.no_graphs}")
        if options.batches:
            choices.append(f"trainer.limit_train_batches={options.batches}")
        config = composed(model, phase, options.data_root, options.epochs, *choices)
        datamodule = MNISTDataModule(
            name=options.data, root=options.data_root, batch_size=config["data"]["batch_size"]
        )
        datamodule.prepare_data()
        datamodule.setup()
        beside = ""
        if (model, phase) in REPORT:
            beside = f"bare {floor(config, datamodule, device, compiled=options.compile):7.3f} s   "
            if options.plain:
                beside += f"plain {plain(config, device, options.data_root):7.3f} s   "
        first, epoch = through_lightning(config, datamodule, compiled=options.compile)
        steady = (options.epochs - 1) * epoch
        if (model, phase) in REPORT:
            total += full * epoch + max(0.0, first - steady)
        print(
            f"{model} {phase:9} epoch {epoch:7.3f} s   {beside}"
            f"{full} epochs {full * epoch:7.1f} s   start and compilation {first - steady:6.1f} s",
            flush=True,
        )
    print(f"the report's four: {total:.0f} seconds of training")


if __name__ == "__main__":
    main()
