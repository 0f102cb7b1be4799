"""Times one thread against two, on an idle machine and beside other work.

    python benchmarks/threads.py [--data-root FOLDER]

Seconds of training and validation, without the start: a VAE 784-400-20 in batches of 128, and a GAN
of PyTorch-GAN's widths in batches of 64. Each row is one process that trains both: on the idle
machine, beside a process that keeps one core busy, and twice side by side. The plain script trains
the same networks without Lightning, with torchvision's data set, ToTensor, a DataLoader and torch's
own threads. Run it where nothing else runs; it takes about ten minutes on two cores.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

from gen_models.machine import COUNT

MODELS = {
    "vae": ["phase=baseline", "hidden_dims=[400]", "model.latent_dim=20"],
    "gan": ["phase=baseline", "data.batch_size=64", "model.dropout=0",
            "model.generator_dims=[128,256,512,1024]", "model.discriminator_dims=[512,256]"],
}  # fmt: skip
AUTO, PLAIN = "auto", "plain script"
WAYS: dict[str, dict[str, str]] = {
    AUTO: {},
    "two threads": {COUNT: "2"},
    PLAIN: {},
}
MACHINES = {
    "idle": list(WAYS),
    "one core busy": list(WAYS),
    "two side by side": [way for way in WAYS if way != PLAIN],
}


def train_here(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each model, trained by this project."""
    from gen_models.composition import compose_job, story

    result: dict[str, Any] = {}
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        shared = [f"data={options.data}", f"data.root='{options.data_root}'", "evaluate=none"]
        shared += [f"output_dir='{folder}'", "trainer.accelerator=cpu"]
        for model, own in MODELS.items():
            length = [f"max_steps={options.batches[model]}"]
            job = compose_job([f"model={model}", *own, *shared, *length])
            from gen_models import figures
            from gen_models.terminal import quiet_libraries

            quiet_libraries()
            figures.DPI = 20  # pictures are drawn after what is timed
            run = story().train(job)
            assert run is not None
            result[model] = run.read_status()["seconds"]
    return result


def train_plainly(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each model in a plain script."""
    from hydra.utils import instantiate
    from train_speed import bare_epoch, composed, plain_loaders

    result = {}
    for model, own in MODELS.items():
        config = composed(model, "baseline", options.data_root, None, *own[1:])
        train, val = plain_loaders(options.data_root, config["data"]["batch_size"])
        epoch = bare_epoch(instantiate(config["model"]))
        begin = time.perf_counter()
        epoch(islice(train(), options.batches[model]), val())
        result[model] = time.perf_counter() - begin
    return result


def start(way: str, words: list[str]) -> subprocess.Popen[str]:
    """A process that trains both models, without the user's own choice of threads."""
    by_user = {k: v for k, v in os.environ.items() if k != COUNT}
    command = [sys.executable, __file__, *words, "--worker", "plain" if way == PLAIN else "here"]
    environment = by_user | WAYS[way]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


@contextmanager
def other_work(machine: str) -> Iterator[None]:
    """A process that keeps a core busy, where the machine is to have one."""
    if machine != "one core busy":
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(machine: str, way: str, words: list[str]) -> list[dict[str, Any]]:
    """What each process of a row has measured: one, or two side by side."""
    with other_work(machine):
        processes = [start(way, words) for _ in range(2 if machine == "two side by side" else 1)]
        return [json.loads(process.communicate()[0]) for process in processes]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="mnist", help="digits: no plain script")
    parser.add_argument("--data-root", default=os.environ.get("GEN_MODELS_DATA", "data"))
    parser.add_argument("--vae-batches", type=int, default=429, help="429: an epoch")
    parser.add_argument("--gan-batches", type=int, default=300)
    parser.add_argument("--machines", nargs="+", choices=MACHINES, default=list(MACHINES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--worker", choices=["here", "plain"], help="one process; prints JSON")
    options = parser.parse_args()
    options.batches = {"vae": options.vae_batches, "gan": options.gan_batches}
    if options.worker:
        result = (train_here if options.worker == "here" else train_plainly)(options)
        print(json.dumps(result))
        return
    begin = time.perf_counter()
    ways = [way for way in options.ways if way != PLAIN or options.data == "mnist"]
    rows: dict[str, list[str]] = {way: [] for way in ways}
    for machine in options.machines:
        for way, cells in rows.items():
            results = measure(machine, way, sys.argv[1:]) if way in MACHINES[machine] else []
            for model in MODELS:
                cells.append(", ".join(f"{result[model]:.1f}" for result in results))
    head = [f"{machine}: {name.upper()}" for machine in options.machines for name in MODELS]
    print(f"\n| seconds | {' | '.join(head)} |\n{'|---' * (1 + len(head))}|")
    for way, cells in rows.items():
        print(f"| {way} | {' | '.join(cells)} |")
    print(f"\nmeasured in {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
