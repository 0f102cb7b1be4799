"""What is known of each metric: its name, unit, direction, format, and where it is shown."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

Better = Literal["lower", "higher", "real", ""]  # real: nearer to that of real images; "": neither
Place = Literal["verdicts", "plots", "terminal", "sweeps"]
DIVERGED = "diverged"
FID = "fid_lenet"
QUICK = "quick/"
BOUNDS = {
    "floor": "real images",
    "gaussian": "PCA Gaussian",
    "noise": "pixel noise",
    "real": "real test images",
}
ENCODER, INVERSION = "encoder/mse", "inversion/mse"
NOT_OF_NEW_IMAGES = (
    "encoder/", "inversion/", "test/", "val/loss", "val/recon", "val/kl", "val/d_", "val/g_",
    "grey_pixels/", "grey_density/", "likelihood/", "active_units", "cost/",
)  # fmt: skip
HEADLINES: dict[str, set[Place]] = {  # columns of the main table -> where else they are shown
    FID: {"verdicts", "plots", "terminal", "sweeps"},
    QUICK + FID: {"verdicts", "plots", "terminal", "sweeps"},
    "coverage": {"verdicts", "plots", "terminal"},
    QUICK + "coverage": {"verdicts", "terminal"},
    "missing_digits": {"verdicts"},
    QUICK + "missing_digits": {"verdicts"},
    ENCODER: {"verdicts", "plots", "terminal"},
    QUICK + ENCODER: {"verdicts", "terminal"},
    INVERSION: {"verdicts", "plots", "terminal"},
    "test/loss": {"verdicts", "plots", "sweeps"},
    "cost/seconds": set(),
}


class Metric(NamedTuple):
    """One measure of a run."""

    key: str  # as in metrics.json
    better: Better
    unit: str
    meaning: str
    format: str  # of `format`, or "si": three digits and a thousands' letter

    def show(self, value: float | None) -> str:
        """The value for a person, without its unit; "-" for none, "diverged" for NaN."""
        if value is None:
            return "-"
        if not math.isfinite(value):
            return DIVERGED
        return _si(value) if self.format == "si" else format(value, self.format)

    def rank(self, value: float, real: float | None = None) -> float:
        """A number that is smaller for a better value; 0 for all if nothing says which is better.

        Args:
            value: Of the metric.
            real: That of real images.
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

    @property
    def better_word(self) -> str:
        """How the best is called."""
        return {"lower": "lowest", "higher": "highest"}.get(self.better, "best")


def _si(value: float) -> str:
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 0.9995 * 10**power:
            return f"{value / 10**power:.3g} {letter}"
    return f"{value:.3g}"


_KNOWN = [
    Metric(FID, "lower", "", "Fréchet distance to the test images in LeNet features", ".2f"),
    Metric(
        FID + "/within_class", "lower", "", "mean of that distance within each digit asked", ".2f"
    ),
    Metric("kid_lenet", "lower", "", "kernel distance in the same features", ".4f"),
    Metric("coverage", "higher", "", "share of test images with a new image near by", ".3f"),
    Metric("recall", "higher", "", "share of test images among the new ones", ".3f"),
    Metric("precision", "", "", "new images near test images; says little: noise 0.85", ".3f"),
    Metric("density", "", "", "how many test images are near a new one; says little", ".3f"),
    Metric(
        "features/lenet_1", "lower", "", "the distance in a second classifier's features", ".2f"
    ),
    Metric("features/lenet_2", "lower", "", "in a third's", ".2f"),
    Metric("features/lenet_3", "lower", "", "in a fourth's", ".2f"),
    Metric("features/pixels_50", "lower", "", "in 50 principal components of pixels", ".2f"),
    Metric("features/random_lenet", "lower", "", "in features of an untrained LeNet", ".2f"),
    Metric("label_kl", "lower", "nats", "digits drawn against digits in the test set", ".3f"),
    Metric("missing_digits", "lower", "", "digits that are (almost) never drawn", ".3g"),
    Metric("class_accuracy", "higher", "", "share of images that show the digit asked", ".3f"),
    Metric("confidence", "real", "", "classifier's mean confidence in its label", ".3f"),
    Metric("laplacian_variance", "real", "", "sharpness: variance of the Laplacian", ".3f"),
    Metric("grey_share", "real", "", "share of pixels in (0.1, 0.9)", ".3f"),
    Metric("memorisation", "real", "", "distance to the nearest training over test image", ".3f"),
    Metric(ENCODER, "lower", "", "squared error of encoded, decoded test images", ".5f"),
    Metric("encoder/psnr", "higher", "dB", "the same as signal to noise", ".2f"),
    Metric("encoder/ssim", "higher", "", "the same as structural similarity", ".3f"),
    Metric(INVERSION, "lower", "", "squared error of the nearest image found by z", ".5f"),
    Metric("inversion/psnr", "higher", "dB", "the same as signal to noise", ".2f"),
    Metric("inversion/ssim", "higher", "", "the same as structural similarity", ".3f"),
    Metric("inversion/control_mse", "", "", "what the search misses of own images, mean", ".5f"),
    Metric("inversion/control_median_mse", "", "", "the same, median", ".5f"),
    Metric(
        "inversion/control_share", "lower", "", "that mean over inversion/mse: at most 0.05", ".3f"
    ),
    Metric("inversion/radius", "", "", "root mean square of the z that were found", ".3f"),
    Metric("test/loss", "lower", "nats", "recon + beta x KL of a test image", ".2f"),
    Metric("test/recon", "lower", "nats", "reconstruction part of the loss", ".2f"),
    Metric("test/kl", "", "nats", "KL part of the loss", ".2f"),
    Metric("val/loss", "lower", "nats", "the loss of a validation image", ".2f"),
    Metric("val/recon", "lower", "nats", "reconstruction part of the loss", ".2f"),
    Metric("val/kl", "", "nats", "KL part of the loss", ".2f"),
    Metric("grey_pixels/negative_elbo", "lower", "nats", "-ELBO on grey pixels", ".2f"),
    Metric("grey_pixels/recon", "lower", "nats", "its reconstruction part", ".2f"),
    Metric("grey_pixels/kl", "", "nats", "its KL part", ".2f"),
    Metric("grey_density/negative_elbo", "lower", "nats", "-ELBO on grey pixels' density", ".2f"),
    Metric("grey_density/recon", "lower", "nats", "its reconstruction part", ".2f"),
    Metric("grey_density/kl", "", "nats", "its KL part", ".2f"),
    Metric("likelihood/negative_elbo", "lower", "nats", "-ELBO on binarised pixels", ".2f"),
    Metric("likelihood/recon", "lower", "nats", "its reconstruction part", ".2f"),
    Metric("likelihood/kl", "", "nats", "its KL part", ".2f"),
    Metric(
        "likelihood/iwae", "lower", "nats", "importance weighted bound, of the same images", ".2f"
    ),
    Metric("active_units", "", "", "latents that the encoder uses", ".3g"),
    Metric("cost/parameters", "", "", "trained parameters, all networks", ",.0f"),
    Metric("cost/sampling_parameters", "", "", "parameters of generator or decoder", ",.0f"),
    Metric("cost/flops_per_step", "", "", "operations of one training batch", "si"),
    Metric("cost/flops_per_sample", "", "", "operations of one new image", "si"),
    Metric("cost/training_flops", "", "", "operations of the whole training", "si"),
    Metric("cost/seconds", "", "s", "training and validation", ",.0f"),
    Metric("cost/images_per_second", "", "", "training images a second", ",.0f"),
    Metric("cost/peak_memory_mib", "", "MiB", "most memory held", ",.0f"),
    Metric("cost/sampling_seconds", "", "s", "drawing 1,000 new images", ".3g"),
]
_BY_KEY = {metric.key: metric for metric in _KNOWN}
_OTHER_SAMPLES = {QUICK: "at most 2,000 new images", "val/": "against validation images"}


def metric(key: str) -> Metric:
    """What is known of `key`; a key of another sample size is its own metric, of the same kind."""
    prefix, base = _split(key)
    known = _BY_KEY.get(base)
    if known is None:
        return Metric(key, "", "", "", ".4g")
    samples = f" ({_OTHER_SAMPLES[prefix]})" if prefix else ""
    return known._replace(key=key, meaning=known.meaning + samples)


def headlines(place: Place, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that are shown in a place, in the order of the main table."""
    have = set(keys)
    return [key for key, places in HEADLINES.items() if place in places and key in have]


def order(key: str) -> tuple[bool, int, str]:
    """Sorts keys as they stand above; unknown ones follow by name, other sample sizes last."""
    prefix, base = _split(key)
    keys = list(_BY_KEY)
    return bool(prefix), keys.index(base) if base in keys else len(keys), key


def of_new_images(key: str) -> bool:
    """Whether `key` measures new images: not given ones, a loss, or what a run costs."""
    return not key.removeprefix(QUICK).startswith(NOT_OF_NEW_IMAGES)


def _split(key: str) -> tuple[str, str]:
    """The prefix of another sample size, "" for none, and the rest."""
    known = () if key in _BY_KEY else _OTHER_SAMPLES
    prefix = next((prefix for prefix in known if key.startswith(prefix)), "")
    return prefix, key.removeprefix(prefix)


def is_measure(key: str) -> bool:
    """Whether `key` is a measure of the run, not the end of an interval nor a bound."""
    parts = key.split("/")
    return parts[-1] not in ("low", "high") and not set(parts[:-1]) & set(BOUNDS)
