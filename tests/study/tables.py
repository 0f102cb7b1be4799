"""Tables of a study's runs, made up: the final GANs are best, some of them collapsed."""

import shlex
import zlib

import numpy as np

from gen_models.analysis.runs import Run
from gen_models.study.definition import Study
from gen_models.study.table import RECORD, Table, run_key

IMAGES = 32
GAUSSIAN = {"gaussian/fid_lenet": 59.4, "gaussian/coverage": 0.03, "floor/fid_lenet": 0.2}
LEVELS = {  # arm -> fid_lenet, inversion/mse, encoder/mse, test/loss
    "gan_final": (8.0, 0.014, None, None),
    "gan_final_50": (12.0, 0.013, None, None),
    "gan_baseline": (36.0, 0.025, None, None),
    "gan_lr_5e_4": (9.0, 0.012, None, None),
    "gan_best": (0.5, 0.004, None, None),
    "vae_best": (8.0, 0.0035, 0.006, 95.0),
    "vae_final": (26.0, 0.0043, 0.0075, 102.7),
    "vae_baseline": (28.5, 0.0048, 0.0081, 104.2),
    "vae_longer": (27.5, 0.0045, 0.0078, 103.4),
    "vae_leaky": (27.6, 0.0046, 0.0079, 103.6),
}


def made_up(study: Study, *, collapsed: tuple[int, ...] = (22, 27), seeds: int = 99) -> Table:
    """A table of every run of the study.

    Args:
        study: Its arms.
        collapsed: Seeds of the final GAN that failed, at epoch 50 already.
        seeds: How many seeds of each arm are there.
    """
    rows, images = [], {}
    for arm, planned in study.arms.items():
        model = "vae" if arm.startswith("vae") else "gan"
        fid, inversion, encoder, loss = LEVELS.get(
            arm, (28.6, 0.0048, 0.0081, 104.3) if model == "vae" else (15.0, 0.02, None, None)
        )
        for seed in planned.seeds[:seeds]:
            rng = np.random.default_rng([zlib.crc32(arm.encode()), seed])
            noise = 1 + 0.03 * rng.standard_normal(4)
            lost = arm in ("gan_final", "gan_final_50") and seed in collapsed
            metrics = {"fid_lenet": fid * noise[0], "coverage": 0.9 - fid * noise[0] / 50}
            metrics |= {"missing_digits": 0.0, "inversion/mse": inversion * noise[1]}
            metrics |= {"precision": 0.9, "inversion/control_share": 0.01}
            if encoder and loss:
                metrics |= {"encoder/mse": encoder * noise[2], "test/loss": loss + noise[3] - 1}
            if lost:
                metrics |= {"fid_lenet": 98.9, "missing_digits": 9.0, "coverage": 0.0}
            for space in ("lenet_1", "random_lenet"):
                metrics[f"features/{space}"] = metrics["fid_lenet"] * (1 + 0.01 * noise[2])
            values = [
                arm,
                seed,
                shlex.join(study.overrides(arm)),
                model,
                "done",
                "2026-01-01",
                "2026-01-01",
                "abc",
                model,
            ]
            precision = "bf16-mixed" if "bf16" in planned.label else "32-true"
            processor = "AVX2" if model == "vae" else "NVIDIA H100"
            values += [precision, 1, processor, "2.14.1", 60.0]
            made = dict(zip(RECORD, map(str, values), strict=True))
            rows.append(Run(made, metrics | GAUSSIAN))
            spread = 1 + 0.1 * rng.random(IMAGES)
            for key in study.metrics_by_image().get(arm, ()):
                images[f"{arm}/{seed}/{key}"] = (metrics[key] * spread).astype(np.float32)
    rows.sort(key=run_key)
    digits = np.zeros((20, 28, 28), np.uint8)
    digits[:, 8:20, 8:20] = np.linspace(50, 255, 20)[:, None, None]
    shown = {"real", "gan_final/21/new", "vae_final/11/new", "gan_final/22/new"}
    return Table(rows, images, dict.fromkeys(shown, digits))
