"""What is known of each metric: its unit, direction and format (`metrics.csv`).

The same metric with another number of samples or of a solver's steps is a metric of its own:
`quick/fid_lenet`, `val/fid_lenet`, `steps/heun-4/fid_lenet`, `steps/dopri5/fid_lenet`.
"""

import csv
import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from gen_models.runs.directory import FID, QUICK

Better = Literal["lower", "higher", "real", ""]  # real: nearer to that of real images; "": neither
BOUNDS = {
    "floor": "real images",
    "gaussian": "crude Gaussian",
    "noise": "pixel noise",
    "real": "real test images",
}
ENCODER, INVERSION = "encoder/mse", "inversion/mse"
RECREATION = re.compile("(quick/)?(encoder|inversion)/(mse|psnr|ssim)")
LATENT_DIM = "latent_dim"
CONTROL, CONVERGED = "inversion/control_share", 0.05  # at most: the search has found its end
TINY = 1e-3  # where two significant digits are shown
NOT_OF_NEW_IMAGES = (
    "encoder/", "inversion/", "test/", "val/loss", "val/recon", "val/kl", "val/d_", "val/g_",
    "grey_pixels/", "grey_density/", "likelihood/", "active_units", "cost/", LATENT_DIM,
)  # fmt: skip
HEADLINES = {  # columns of the main table, of a quick evaluation too -> the words over them
    FID: "distance to real images",
    "coverage": "variety",
    "missing_digits": "missing digits",
    "missing_classes": "missing classes",
    ENCODER: "error of images recreated by its encoder",
    INVERSION: "error of images recreated by a search for z",
    "test/loss": "loss of test images",
    "cost/seconds": "seconds of training",
}


class Metric(NamedTuple):
    """One measure of a run."""

    key: str  # as in metrics.json
    better: Better
    unit: str
    meaning: str
    format: str  # of `format`, "si": three digits and a thousands' letter, or "loss"

    def show(self, value: float | None) -> str:
        """The value for a person, without its unit; "-" for none, "diverged" for NaN."""
        if value is None:
            return "-"
        if not math.isfinite(value):
            return "diverged"
        if self.format == "si":
            return _si(value)
        if self.format == "loss":  # nats of an image are many, errors of a pixel below 2
            return format(value, ".2f" if abs(value) >= 2 else ".4f")
        text = format(value, self.format)
        if not 0 < abs(value) < TINY or len(text.lstrip("-0.")) > 1:
            return text
        decimals = 1 - math.floor(math.log10(abs(value)))  # "0.000081", "8.1e-12"
        return f"{value:.{decimals}f}" if decimals <= 7 else f"{value:.1e}"

    def rank(self, value: float, real: float | None = None) -> float:
        """A number that is smaller for a better value; 0 for all if nothing says which is better.

        Where the nearer to real images is the better, `real` is their value.
        """
        if self.better == "real":
            return 0.0 if real is None else abs(value - real)
        return {"lower": value, "higher": -value}.get(self.better, 0.0)

    @property
    def title(self) -> str:
        """The key with the direction of better: "fid_lenet ↓"."""
        return f"{self.key} {self.arrow}".rstrip()

    @property
    def words(self) -> str:
        """The meaning with its unit."""
        return f"{self.meaning}, {self.unit}" if self.unit else self.meaning

    @property
    def arrow(self) -> str:
        """The direction of better, as one sign."""
        return {"lower": "↓", "higher": "↑", "real": "≈", "": ""}[self.better]


def _si(value: float) -> str:
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 0.9995 * 10**power:
            return f"{value / 10**power:.3g} {letter}"
    return f"{value:.3g}"


_LINES = (Path(__file__).parent / "metrics.csv").read_text(encoding="utf-8").splitlines()
_BY_KEY = {row["key"]: Metric(**row) for row in csv.DictReader(_LINES)}  # type: ignore[arg-type]
_OTHER_SAMPLES = {QUICK: "at most 2,000 new images", "val/": "against validation images"}
_OF_SOLVER = re.compile(r"steps/(\w+?)(?:-(\d+))?/(\w+)")


def metric(key: str) -> Metric:
    """The description of `key`, with what is particular to its samples."""
    prefix, base = _split(key)
    known = _BY_KEY.get(base)
    if known is None and base.startswith("features/"):
        known = Metric(base, "lower", "", "the distance in other features", ".2f")
    if known is None:
        return Metric(key, "", "", "", ".4g")
    samples = _OTHER_SAMPLES.get(prefix, "")
    if solved := solver_and_steps(key):
        solver, steps = solved
        samples = f"{solver}, {steps} step{'s' * (steps > 1)}" if steps else solver
    meaning = f"{known.meaning} ({samples})" if samples else known.meaning
    return known._replace(key=key, meaning=meaning)


def is_known(key: str) -> bool:
    """Whether runs can have this metric."""
    return _split(key)[1] in _BY_KEY


def order(key: str) -> tuple[bool, int, str]:
    """Sorts keys as in `metrics.csv`; unknown ones follow by name, other samples last."""
    prefix, base = _split(key)
    keys = list(_BY_KEY)
    solver, steps = solver_and_steps(key) or (key, 0)
    return bool(prefix), keys.index(base) if base in keys else len(keys), f"{solver}{steps:9}"


def of_new_images(key: str) -> bool:
    """Whether `key` measures new images: not given ones, a loss, or what a run costs."""
    base = _split(key)[1] if solver_and_steps(key) else key.removeprefix(QUICK)
    return not base.startswith(NOT_OF_NEW_IMAGES)


def solver_and_steps(key: str) -> tuple[str, int] | None:
    """Of "steps/heun-4/fid_lenet" "heun" and 4, 0 for an adaptive solver; None of another key."""
    match = _OF_SOLVER.fullmatch(key)
    return (match[1], int(match[2] or 0)) if match else None


def _split(key: str) -> tuple[str, str]:
    """The prefix of other samples, "" for none, and the metric that it is."""
    if match := _OF_SOLVER.fullmatch(key):
        name = match[3]
        return key.removesuffix(name), f"cost/{name}" if f"cost/{name}" in _BY_KEY else name
    known = () if key in _BY_KEY else _OTHER_SAMPLES
    prefix = next((prefix for prefix in known if key.startswith(prefix)), "")
    return prefix, key.removeprefix(prefix)


def is_measure(key: str) -> bool:
    """Whether `key` is a measure of the run, not the end of an interval nor a bound."""
    parts = key.split("/")
    return parts[-1] not in ("low", "high") and not set(parts[:-1]) & set(BOUNDS)
