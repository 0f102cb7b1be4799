"""How cost grows: with jobs at once, runs in a comparison, images of a data set, samples measured.

    python benchmarks/scale.py jobs       eight small jobs one after the other, and by joblib
    python benchmarks/scale.py runs       `gen-models compare` of 12, 100 and 1,000 runs
    python benchmarks/scale.py images     a batch of 60,000 to 6,000,000 synthetic images
    python benchmarks/scale.py samples    the distances of 10,000 to 100,000 new images

The load of the machine (programs that want a core, before the benchmark begins) is said with each.
"""

import argparse
import os
import time
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from start_and_memory import CLI, TRAIN, call

ROOT = Path(__file__).parent.parent
IN_MEMORY = 2**30  # bytes; a larger data set is mapped from its file


def jobs(small: bool) -> None:
    """Seconds of a sweep of eight VAEs, by launcher."""
    options = ["-m", "model=vae", "phase=baseline", "data=digits", "evaluate=none"]
    options += [f"max_epochs={1 if small else 30}", f"seed={'0,1' if small else '0,1,2,3,4,5,6,7'}"]
    seconds = {}
    for name, launcher in (("one after the other", "basic"), ("side by side", "joblib")):
        with TemporaryDirectory() as folder:
            command = [TRAIN, *options, f"hydra/launcher={launcher}", f"output_dir='{folder}'"]
            seconds[name] = call(*command).seconds
        print(f"{name}: {seconds[name]:.1f} s", flush=True)
    one, other = seconds.values()
    print(f"ratio: {one / other:.2f}")


def runs(small: bool) -> None:
    """Seconds and memory of a comparison, by the number of run directories."""
    # The runs are made by a process of their own: this one's memory would count as a child's.
    make = "import sys; from pathlib import Path; from synthetic import make_study; "
    make += "make_study(Path(sys.argv[1]), seeds=int(sys.argv[2]), pictures=True)"
    os.environ["PYTHONPATH"] = str(ROOT / "tests")
    for count in (4, 8) if small else (12, 100, 1000):
        with TemporaryDirectory() as folder:
            call("-c", make, f"{folder}/runs", str(count // 4))
            output = f"{folder}/comparison"
            used = call(*CLI, "compare", f"{folder}/runs", "--output", output)
        print(
            f"{count:5} runs: {used.seconds:.1f} s, {used.cpu_seconds:.1f} of a core, "
            f"{used.peak:.0f} MiB",
            flush=True,
        )


def images(small: bool) -> None:
    """Seconds of a core a batch of 128, and the first in an epoch, by the number of images."""
    import torch

    from gen_models.data.datasets import IMAGE_SIZE
    from gen_models.data.loader import InMemoryLoader

    for count in (6_000,) if small else (60_000, 600_000, 6_000_000):
        shape = (count, 1, IMAGE_SIZE, IMAGE_SIZE)
        with TemporaryDirectory() as folder:
            size = count * IMAGE_SIZE**2
            if size > IN_MEMORY:
                file = f"{folder}/images"
                flat = torch.from_file(file, shared=True, size=size, dtype=torch.uint8)
            else:
                flat = torch.empty(size, dtype=torch.uint8)
            for part in flat.split(60_000 * IMAGE_SIZE**2):
                part.random_()
            loader = InMemoryLoader(flat.view(shape), batch_size=128, shuffle_seed=0)
            begin = time.process_time()
            batches = iter(loader)
            next(batches)
            first = time.process_time() - begin
            begin = time.process_time()
            number = sum(1 for _ in islice(batches, 400))
            each = (time.process_time() - begin) / number
            where = "mapped" if size > IN_MEMORY else "in memory"
        print(
            f"{count:9,} images, {where}: {1000 * each:.2f} ms a batch, the first of an epoch "
            f"{first:.2f} s",
            flush=True,
        )


def samples(small: bool) -> None:
    """Seconds of drawing, of reading and of each distance, by the number of new images."""
    from gen_models.data.module import MNISTDataModule
    from gen_models.evaluation.sampling import draw_images
    from gen_models.metrics import distribution
    from gen_models.models.gan import GAN
    from gen_models.runs.classifier import find_classifier

    data = MNISTDataModule(name="digits" if small else "mnist", batch_size=1)
    data.setup()
    classifier = find_classifier(data, print)
    real = classifier.read(data.splits["test"].images).features
    model = GAN().eval()
    for count in (300,) if small else (10_000, 30_000, 100_000):
        clock = [time.perf_counter()]
        made = draw_images(model, count, 0)
        clock.append(time.perf_counter())
        features = classifier.read(made).features
        clock.append(time.perf_counter())
        for distance in (
            distribution.frechet_distance,
            distribution.kernel_distance,
            distribution.precision_recall_density_coverage,
        ):
            distance(real, features)
            clock.append(time.perf_counter())
        names = ("drawing", "reading", "Frechet", "kernel", "overlap")
        spans = [end - begin for begin, end in pairwise(clock)]
        parts = [f"{name} {span:.1f} s" for name, span in zip(names, spans, strict=True)]
        print(f"{count:7,} new images: {', '.join(parts)}", flush=True)


PARTS = {"jobs": jobs, "runs": runs, "images": images, "samples": samples}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--small", action="store_true", help="seconds, to see that it works")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    for name in arguments.parts or PARTS:
        PARTS[name](arguments.small)


if __name__ == "__main__":
    main()
