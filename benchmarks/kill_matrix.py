"""Kills a run in every way at every place, starts it again and compares it with the whole run.

    python benchmarks/kill_matrix.py [--pairwise]

Each run is a process of its own that does what `python train.py ...` does and gets real signals;
processes are forked from one that has imported everything, so that a case takes seconds. A run is
stopped once, started again by the same command, and then must have, to the bit, the weights, the
optimizers' state, the figures and the curves (as TensorBoard's EventAccumulator reads them) of the
run that was left alone. The exit code is 1 if any case differs.
"""

import argparse
import functools
import gc
import itertools
import logging
import os
import runpy
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# Imported before the first fork, so that no process need do it again:
from gen_models import evaluation, training  # noqa: F401
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.runs import identity
from gen_models.runs.weights import BEST, LATEST
from gen_models.training import reporting

TRAIN = Path(__file__).parent.parent / "train.py"
EPOCHS, BATCHES, STEPS = 3, 4, 10  # of the runs; STEPS ends the third epoch half way

FACTORS: dict[str, tuple[str, ...]] = {
    "stop": ("exception", "SIGTERM", "SIGINT", "SIGKILL"),
    "place": ("first", "middle", "last", "validation", "write", "rename"),
    "epoch": ("1", "3"),
    "model": ("gan+ema", "vae", "vae+vamp", "flow"),
    "length": ("epochs", "steps"),
}
OPTIONS = {
    "gan+ema": ["model.ema_decay=0.9"],
    "vae+vamp": [
        "model.conditional=true",
        "model.likelihood=gaussian",
        "model.prior=vamp",
        "model.vamp_components=5",
        "model.iwae_samples=2",
    ],
    "flow": ["model.conditional=true", "model.coupling=ot"],
}
EXIT_CODES = {"exception": 1, "SIGTERM": 143, "SIGINT": 130, "SIGKILL": -signal.SIGKILL}


class Case(NamedTuple):
    """One value of each factor."""

    stop: str
    place: str
    epoch: str
    model: str
    length: str


class StopOnce(pl.Callback):
    """Stops this process at the place of a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        first = (int(case.epoch) - 1) * BATCHES
        end = first + BATCHES if case.length == "epochs" else min(first + BATCHES, STEPS)
        steps = {"first": first, "middle": (first + end) // 2, "last": end - 1}
        self.step = steps.get(case.place, end)
        self.stopped = False

    def at(self, place: str, step: int) -> None:
        """Stop, if this is the place."""
        if self.stopped or (place, step) != (self.case.place, self.step):
            return
        self.stopped = True
        if self.case.stop == "exception":
            raise Injected
        os.kill(os.getpid(), getattr(signal, self.case.stop))

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        """Within a batch: after the first backward pass, before any update."""
        if self.case.place in ("first", "middle", "last"):
            self.at(self.case.place, trainer.global_step)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """After a batch of the validation."""
        self.at("validation", trainer.global_step)

    def patch(self, trainer: pl.Trainer) -> None:
        """Stop half way through a checkpoint's bytes, or between its two renamings."""
        save, replace = torch.save, os.replace

        def half_saved(content: Any, file: Any) -> None:
            if trainer.training and Path(file.name).name.startswith(LATEST):
                file.write(b"PK half of a file")
                file.flush()
                self.at("write", trainer.global_step)
                file.seek(0)
                file.truncate()
            save(content, file)

        def replaced(source: Any, target: Any) -> None:
            if Path(target).name == LATEST:
                self.at("rename", trainer.global_step)
            replace(source, target)

        torch.save, os.replace = half_saved, replaced  # type: ignore[assignment]


class Injected(Exception):
    """A fault of no kind that the project knows."""


def arguments(case: Case, output_dir: str) -> list[str]:
    """The options of the case's run."""
    return [
        "data=digits",
        "phase=baseline",
        f"model={case.model.partition('+')[0]}",
        *OPTIONS.get(case.model, []),
        "hidden_dims=[32]",
        f"trainer.limit_train_batches={BATCHES}",
        "trainer.limit_val_batches=2",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
        "callbacks.validation_distance.every_n_epochs=1",
        "evaluate=none",
        *(
            [f"max_epochs={EPOCHS}"]
            if case.length == "epochs"
            else ["max_epochs=50", f"max_steps={STEPS}"]
        ),
        f"output_dir={output_dir}",
    ]


def run_train(options: list[str], folder: Path, stop: Case | None = None) -> int:
    """`python train.py OPTIONS` in a process of its own; the exit code, negative for a signal."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _child(options, folder, stop)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _child(options: list[str], folder: Path, stop: Case | None) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where this is in background
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if stop is not None:
        fit: Callable[..., None] = pl.Trainer.fit

        def stopped_fit(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
            callback = StopOnce(stop)
            callback.patch(trainer)
            trainer.callbacks.insert(0, callback)  # type: ignore[attr-defined]
            fit(trainer, *args, **kwargs)

        pl.Trainer.fit = stopped_fit  # type: ignore[assignment, method-assign]
    sys.argv = [str(TRAIN), *options]
    try:
        with chdir(folder):
            runpy.run_path(str(TRAIN), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def result(folder: Path) -> dict[str, Any]:
    """Everything of a finished run that must be the same to the bit, flat."""
    (status,) = folder.glob("out/*/*/*/status.json")
    run = status.parent
    found: dict[str, Any] = {"files": sorted(_files(run)), "metrics": _text(run / "metrics.json")}
    found |= _flat("weights", load_file(run / "model.safetensors"))
    for name in (LATEST, BEST):
        if (run / "checkpoints" / name).exists():
            content = torch.load(run / "checkpoints" / name, weights_only=True)
            for key in ("state_dict", "optimizer_states", "epoch", "global_step", "loops"):
                found |= _flat(f"{name}/{key}", content[key])
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    for tag in events.Tags()["scalars"]:
        points = [(event.step, struct.pack("d", event.value)) for event in events.Scalars(tag)]
        found[f"curves/{tag}"] = points
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Keys that differ, or that only one of the two has."""
    return [
        key
        for key in sorted(found.keys() | expected.keys())
        if key not in found or key not in expected or not _equal(found[key], expected[key])
    ]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return bool(a == b)


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in _flat(f"{prefix}/{key}", part).items()}
    return {prefix: value}


def _files(run: Path) -> Iterator[str]:
    for path in run.rglob("*"):
        if path.is_file() and not path.name.startswith("events."):
            yield str(path.relative_to(run))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def all_cases() -> list[Case]:
    """Every combination."""
    return [Case(*values) for values in itertools.product(*FACTORS.values())]


def pairwise_cases() -> list[Case]:
    """Few cases among which each two values of different factors meet; chosen greedily."""
    candidates = {case: set(pairs(case)) for case in all_cases()}
    missing = set().union(*candidates.values())
    chosen = []
    while missing:
        best = max(candidates, key=lambda case: len(candidates[case] & missing))
        chosen.append(best)
        missing -= candidates[best]
    return chosen


def pairs(case: Case) -> Iterator[tuple[tuple[str, str], ...]]:
    """Each two values of a case, with the names of their factors."""
    return itertools.combinations(zip(FACTORS, case, strict=True), 2)


def check(case: Case, whole: dict[str, Any], folder: Path) -> str:
    """Stop a run as the case says and start it again; "equal", or what is wrong."""
    options = arguments(case, "out")
    code = run_train(options, folder, case)
    if code != EXIT_CODES[case.stop]:
        return f"exit code {code} where stopped: {_last_line(folder)}"
    code = run_train(options, folder)
    if code != 0:
        return f"exit code {code} where started again: {_last_line(folder)}"
    found = differences(result(folder), whole)
    return f"DIFFERS in {len(found)}: {', '.join(found[:3])}" if found else "equal"


def _last_line(folder: Path) -> str:
    lines = (folder / "output.txt").read_text(encoding="utf-8").splitlines()
    return lines[-1] if lines else "no output"


def main() -> int:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairwise", action="store_true", help="only so many that all pairs meet")
    cases = pairwise_cases() if parser.parse_args().pairwise else all_cases()
    torch.set_num_threads(1)
    reporting.write_figures = lambda *_, **__: None  # pictures take half of the time
    identity.essence = functools.cache(identity.essence)
    for model in (GAN, VAE, Flow):  # the code is read once, for all processes
        identity.fingerprint(model)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each restart
    gc.freeze()  # what is imported stays: no process need look through it
    begin, equal = time.perf_counter(), 0
    wholes: dict[tuple[str, str], dict[str, Any]] = {}
    for case in cases:
        since = time.perf_counter()
        kind = case.model, case.length
        with tempfile.TemporaryDirectory() as name:
            if kind not in wholes:
                (Path(name) / "whole").mkdir()
                if run_train(arguments(case, "out"), Path(name) / "whole") != 0:
                    raise SystemExit(_last_line(Path(name) / "whole"))
                wholes[kind] = result(Path(name) / "whole")
            (Path(name) / "stopped").mkdir()
            said = check(case, wholes[kind], Path(name) / "stopped")
        equal += said == "equal"
        row = "".join(f"{value:11}" for value in case)
        print(f"{row}{said}  ({time.perf_counter() - since:.1f} s)", flush=True)
    seconds = time.perf_counter() - begin
    print(f"{equal} of {len(cases)} equal, {seconds:.0f} seconds; torch {torch.__version__}")
    return int(equal != len(cases))


if __name__ == "__main__":
    sys.exit(main())
