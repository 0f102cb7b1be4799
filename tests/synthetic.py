"""Run directories as training and evaluation leave them, without training."""

import copy
import functools
import json
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from conftest import composed

from gen_models.files import write_json
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import Job, model_name

BOUNDS = {
    f"{bound}/{key}": value
    for bound, values in {
        "floor": (0.2, 0.95, 0.0),
        "gaussian": (59.4, 0.03, 1.0),
        "noise": (77.1, 0.01, 9.0),
    }.items()
    for key, value in zip(("fid_lenet", "coverage", "missing_digits"), values, strict=True)
}
IMAGES = 64

configured = functools.cache(composed)


def make_run(
    folder: Path,
    *overrides: str,
    fid: float | None = 10.0,
    coverage: float = 0.5,
    mse: float = 0.01,
    loss: float = 100.0,
    status: str = "done",
    metrics: dict[str, float] | None = None,
    pictures: bool = False,
    **fields: Any,
) -> RunDirectory:
    """Write the run of `python train.py OVERRIDES`, evaluated, below `folder`.

    Args:
        folder: The output directory.
        overrides: As on the command line.
        fid: None for a run that was not evaluated.
        coverage: Of the new images; 0 where their distance is that of the crude Gaussian or more.
        mse: By inversion; a VAE's encoder has as much again.
        loss: A VAE's test loss.
        status: As in status.json.
        metrics: Further figures.
        pictures: Whether evaluation.npz has pictures too.
        fields: Further entries of status.json.
    """
    seed = next((int(text[5:]) for text in overrides if text.startswith("seed=")), 0)
    overrides = tuple(text for text in overrides if not text.startswith("seed="))
    config = copy.deepcopy(configured(*overrides)) | {"output_dir": str(folder), "seed": seed}
    config["data"]["seed"] = seed
    groups = [text for text in overrides if text.split("=")[0] in ("data", "model", "phase")]
    defaults = configured(*groups)
    run = RunDirectory(Job(config, defaults).path)
    run.path.mkdir(parents=True)
    run.write_config(config)
    versions = {"gen-models": version("gen-models"), "python": "3.11.7", "torch": "2.15.0"}
    model = model_name(config)
    run.write_status(
        **{"status": status, "fingerprint": f"code of {model}", "seconds": 60.0, "steps": 429}
        | {"versions": versions, "threads": 1, "device": "cpu", "machine": "Linux"}
        | {"cpu_capability": "AVX2"}
        | fields
    )
    if status != "done":
        return run
    measured: dict[str, float] = {"test/loss": loss} if model == "vae" else {"test/g_loss": 1.0}
    if fid is not None:
        seen = coverage if fid < BOUNDS["gaussian/fid_lenet"] else 0.0
        measured |= {"fid_lenet": fid, "coverage": seen, "missing_digits": 0.0} | BOUNDS
        ways = {"inversion": mse, "pca": 0.007, "nearest": 0.024, "mean_image": 0.066}
        if model == "vae":
            ways["encoder"] = 2 * mse
        arrays = {}
        for way, value in ways.items():
            noise = np.random.default_rng(zlib.crc32(way.encode())).normal(0, 0.1, IMAGES)
            errors = value * (1 + noise - noise.mean())
            arrays[f"{way}_mse"] = errors.astype(np.float32)
            measured[f"{way}/mse"] = float(errors.mean())
        if pictures:
            arrays |= draw()
        np.savez(run.path / "evaluation.npz", **arrays)  # type: ignore[arg-type]
    write_json(run.metrics, measured | (metrics or {}))
    return run


def make_study(folder: Path, *, seeds: int = 3, pictures: bool = False) -> Path:
    """The four models of the report: the final GAN best at new images, the VAE at recreation."""
    for seed in range(seeds):
        noise = 0.3 * (seed - 1)
        for model, phase, fid, mse in (
            ("gan", "baseline", 37.0, 0.029),
            ("gan", "final", 8.0, 0.022),
            ("vae", "baseline", 29.0, 0.0048),
            ("vae", "final", 26.0, 0.0043),
        ):
            make_run(
                folder,
                f"model={model}",
                f"phase={phase}",
                f"seed={seed}",
                fid=fid + noise,
                coverage=0.9 - fid / 50,
                mse=mse + noise / 1e4,
                loss=100 + fid / 10 + noise / 10,
                pictures=pictures,
            )
    return folder


def draw() -> dict[str, np.ndarray]:
    """Pictures as evaluation keeps them: squares of growing brightness."""
    made = {}
    for name, count in (("samples", 100), ("test", 40), ("recreated", 40)):
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        images[:, 8:20, 8:20] = np.linspace(50, 255, count)[:, None, None]
        made[f"pictures_{name}"] = images
    return made


def edit(file: Path, **fields: Any) -> None:
    """Change entries of a JSON file; None takes one out."""
    content = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
