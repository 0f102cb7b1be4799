"""Times training through this project against a bare PyTorch loop and a plain script's loader.

    python benchmarks/train_speed.py [--epochs 5] [--data-root FOLDER]

In one process, in turn, so that a busy machine slows all three alike: (a) this project, as
`python train.py` runs it, with its callbacks and logger; (b) a bare loop over the same in-memory
tensor with the same model, optimizer and validation; (c) the bare loop over torchvision's data set
with ToTensor through a DataLoader without workers. Each is timed over whole epochs, training and
validation, after one epoch that is not counted; medians, and their ratios, are printed.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import lightning.pytorch as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import datasets
from torchvision.transforms import ToTensor

from gen_models.data.loader import Batch
from gen_models.data.module import MNISTDataModule
from gen_models.machine import machine
from gen_models.models.gan import GAN
from gen_models.models.losses import (
    bernoulli_nll,
    discriminator_loss,
    generator_loss,
    kl_to_standard_normal,
)
from gen_models.models.vae import VAE
from gen_models.training.loggers import TensorBoard
from gen_models.training.trainer import build_trainer

Batches = Callable[[], Iterable[Batch]]

CASES = [("vae", "baseline"), ("gan", "baseline"), ("gan", "final")]


def composed(
    model: str, phase: str, root: str, epochs: int | None, *options: str
) -> dict[str, Any]:
    """What `python train.py model=MODEL phase=PHASE OPTIONS` would train; None: all its epochs."""
    conf = Path(__file__).parent.parent / "conf"
    overrides = [f"model={model}", f"phase={phase}", f"data.root='{root}'", *options]
    if epochs is not None:
        overrides.append(f"max_epochs={epochs}")
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


class LastEpochClock(pl.Callback):
    """Times the last epoch, its validation, pictures and checkpoints included."""

    seconds = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins."""
        self._begin = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        """All is written."""
        self.seconds = time.perf_counter() - self._begin


def through_lightning(config: dict[str, Any], datamodule: MNISTDataModule) -> float:
    """Seconds of the second of two epochs through the project."""
    clock = LastEpochClock()
    model = instantiate(config["model"])
    watchers = [instantiate(node) for node in config["callbacks"].values()]
    with tempfile.TemporaryDirectory() as folder:
        logger = TensorBoard(folder)
        trainer = build_trainer(config, folder, [*watchers, clock], [logger])
        trainer.fit(model, datamodule)
        logger.close()
    return clock.seconds


def bare_loop(
    config: dict[str, Any],
    train: Batches,
    val: Batches,
) -> float:
    """Seconds of the second of two epochs of a loop without Lightning."""
    model = instantiate(config["model"])
    epoch = bare_epoch(model)
    for _ in range(2):
        begin = time.perf_counter()
        epoch(train(), val())
        seconds = time.perf_counter() - begin
    return seconds


def bare_epoch(model: GAN | VAE) -> Callable[[Iterable[Batch], Iterable[Batch]], None]:
    """An epoch of training and validation without Lightning."""
    return vae_epoch(model) if isinstance(model, VAE) else gan_epoch(model)


def vae_epoch(model: VAE) -> Callable[[Iterable[Batch], Iterable[Batch]], None]:
    """An epoch of the VAE, written out."""
    optimizer = model.configure_optimizers()

    def loss(images: Tensor) -> Tensor:
        mu, logvar = model.encode(images)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        recon = bernoulli_nll(model.network.decode(z), images.flatten(1)).mean()
        return recon + kl_to_standard_normal(mu, logvar).sum(1).mean()

    def epoch(train: Iterable[Batch], val: Iterable[Batch]) -> None:
        for images, _ in train:
            optimizer.zero_grad()
            loss(images).backward()
            optimizer.step()
        with torch.no_grad():
            sum(loss(images) for images, _ in val)

    return epoch


def gan_epoch(model: GAN) -> Callable[[Iterable[Batch], Iterable[Batch]], None]:
    """An epoch of the GAN, written out."""
    g, d = model.generator, model.discriminator
    optimizer_g, optimizer_d = model.configure_optimizers()

    def epoch(train: Iterable[Batch], val: Iterable[Batch]) -> None:
        d.train()
        for images, _ in train:
            real = 2 * images.flatten(1) - 1
            fake = g(model.prior(len(real)))
            real_logits, fake_logits = d(torch.cat([real, fake.detach()])).chunk(2)
            optimizer_d.zero_grad()
            discriminator_loss(real_logits, fake_logits).backward()
            optimizer_d.step()
            d.requires_grad_(False)
            g_loss = generator_loss(d(fake))
            d.requires_grad_(True)
            optimizer_g.zero_grad()
            g_loss.backward()
            optimizer_g.step()
        d.eval()
        with torch.no_grad():
            for images, _ in val:
                discriminator_loss(d(2 * images.flatten(1) - 1), d(g(model.prior(len(images)))))

    return epoch


def plain_loaders(root: str, batch_size: int) -> list[Batches]:
    """A plain script's way to the same number of training and validation images."""
    whole = datasets.MNIST(root, train=True, transform=ToTensor())
    train = Subset(whole, range(5_000, 60_000))
    val = Subset(whole, range(5_000))
    loaders = [
        DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=batch_size),
    ]
    return [partial(_batches, loader) for loader in loaders]


def _batches(loader: DataLoader[Any]) -> Iterator[Batch]:
    for images, labels in loader:
        yield Batch(images, labels)


def main() -> None:
    """Run all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs of each")
    parser.add_argument("--data-root", default=os.environ.get("GEN_MODELS_DATA", "data"))
    arguments = parser.parse_args()
    print(
        f"{machine()['processor']}, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"lightning {lightning.__version__}"
    )
    datamodule = MNISTDataModule(root=arguments.data_root)
    datamodule.prepare_data()
    datamodule.setup()
    plain_train, plain_val = plain_loaders(arguments.data_root, datamodule.batch_size)
    print("seconds an epoch: (a) this project, (b) bare loop, (c) plain script")
    for model, phase in CASES:
        config = composed(model, phase, arguments.data_root, epochs=2)
        rows = []
        for _ in range(arguments.epochs):
            a = through_lightning(config, datamodule)
            b = bare_loop(config, datamodule.train_dataloader, datamodule.val_dataloader)
            c = bare_loop(config, plain_train, plain_val)
            rows.append((a, b, c, a / b, c / a))
        a, b, c, a_to_b, c_to_a = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{model} {phase:9}  a {a:6.2f}  b {b:6.2f}  c {c:6.2f}   "
            f"a/b {a_to_b:.2f}   c/a {c_to_a:.2f}"
        )


if __name__ == "__main__":
    main()
