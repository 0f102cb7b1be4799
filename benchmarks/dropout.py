"""Times a step of the final GAN with torch's dropout, with ours, and without any.

    python benchmarks/dropout.py [--steps 60]

In one process and in turn, on random images, so that a busy machine slows all three alike; CPU
seconds of this process, medians of five.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from torch import nn
from train_speed import gan_epoch

from gen_models.data.loader import Batch
from gen_models.machine import machine
from gen_models.models.gan import GAN
from gen_models.models.layers import Dropout


def with_torchs_dropout(model: GAN) -> GAN:
    """The same model with nn.Dropout."""
    for name, layer in model.discriminator.named_children():
        if isinstance(layer, Dropout):
            model.discriminator[int(name)] = nn.Dropout(layer.p)
    return model


def main() -> None:
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=60, help="steps a timing")
    steps: int = parser.parse_args().steps
    torch.manual_seed(0)
    batches = [Batch(torch.rand(128, 1, 28, 28)) for _ in range(steps)]
    epochs: dict[str, Any] = {
        "torch's dropout": gan_epoch(with_torchs_dropout(GAN())),
        "our dropout": gan_epoch(GAN()),
        "no dropout": gan_epoch(GAN(dropout=0.0)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for turn in range(6):
        for name, epoch in epochs.items():
            begin = time.process_time()
            epoch(batches, [])
            if turn > 0:  # the first is a warm-up
                seconds[name].append(time.process_time() - begin)
    print(f"{machine()['processor']}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    least = statistics.median(seconds["no dropout"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:16} {1000 * middle / steps:7.1f} ms a step   {middle / least:.2f}")


if __name__ == "__main__":
    main()
