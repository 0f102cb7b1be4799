"""The end of a run on the terminal: a screen for one run, a line for a run of a sweep.

All of it is read from the run's directory, so that a run that was just trained, one that was
trained earlier and one that is measured again look alike.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from gen_models.files import read_json
from gen_models.places import COMMAND
from gen_models.runs.directory import (
    FID,
    MISSING,
    RANDOM,
    RunDirectory,
    features_in_words,
    find_runs,
    why_failed,
)
from gen_models.runs.identity import model_name, run_title
from gen_models.runs.listing import DISTANCES
from gen_models.terminal import counted, say
from gen_models.training.validation import EARLY, saturated

VALIDATION = "val/"
GOOD, FAIR = 0.2, 0.5  # of the way from real images to a crude Gaussian (docs/numbers.md)
ENOUGH = 4  # seeds with which two groups can differ significantly
CONVERGED = 0.05  # at most, of inversion/control_share
FIRST_PICTURES = ("samples.png", "curves.png", "recreated.png", "training.webp")
KEPT = re.compile(  # options that any model takes
    r"[+~]*(data|phase|trainer|seed|output_dir|evaluate|threads|model\.conditional)[.=]"
)


class Row(NamedTuple):
    """A measure of new images in the table."""

    words: str
    name: str  # with an arrow that points to where it is better
    key: str
    format: str
    real: str = "floor/"  # before the key, of the best that can be expected


ROWS = (
    Row("realism", "fid ↓", FID, ".2f"),
    Row("variety", "coverage ↑", "coverage", ".3f"),
    Row("missing", "digits ↓", "missing_digits", ".0f"),
    Row("missing", "classes ↓", "missing_classes", ".0f"),
    Row("class asked", "accuracy ↑", "class_accuracy", ".3f", "real/"),
)


class Result:
    """What a run has achieved, as its directory has it.

    Attributes:
        metrics: All of them, with the keys of the most new images that were measured (all, fewer,
            or those compared with validation images) as if those were all.
        record: What the status says of that measurement.
        is_limit: Whether the search for z has stopped too early: its error is an upper limit.
        failure: Why the run failed, with a line more if it was so short that it had to; or [].
    """

    def __init__(self, run: RunDirectory) -> None:
        measured, status, config = read_json(run.metrics), run.read_status(), run.read_config()
        key = next((key for key in DISTANCES if key in measured), VALIDATION + FID)
        prefix = key.removesuffix(FID)
        keys = [key for key in measured if key.startswith(prefix)]
        best = {key.removeprefix(prefix): measured[key] for key in keys}
        self.metrics: dict[str, float] = measured | best
        self.count, self.whole, self.on_validation = len(measured), not prefix, prefix == VALIDATION
        self.is_limit = measured.get("inversion/control_share", 0.0) > CONVERGED
        self.record: dict[str, Any] = status.get(DISTANCES[key][1], {})
        reason, steps = why_failed(measured), status.get("steps", EARLY)
        self.failure = [reason] if reason else []
        if reason and steps < EARLY:
            few = counted(steps, "batch is", "batches are")
            self.failure += [f"{few} too few to learn from: this only tests the setup"]
        self.config, self.length = config, _length(status, config)
        self.title = f"{run_title(config)} on {config['data']['name']}"


def show_run(run: RunDirectory, typed: Sequence[str] | None = None) -> None:
    """Show what a finished run has achieved, where its pictures are, and what to type next.

    Args:
        run: Finished; it need not be measured.
        typed: The options of the command that trained it; None: it was not trained just now.
    """
    result = Result(run)
    title = f"{result.title}, seed {result.config['seed']}: {result.length}"
    say("")
    if result.failure:
        say(f"✗ FAILED: {result.failure[0]}", style="bold red")
        for line in (title, *result.failure[1:]):
            say(f"  {line}")
    else:
        say(f"✓ {title}", style="green")
    say("")
    say(_table(result))
    for line in ["", *_remarks(result), *_seeds(run, result.config["seed"]), ""]:
        say(line)
    names = sorted(path.name for path in run.figures.glob("*.*"))
    first = [name for name in FIRST_PICTURES if name in names]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    say(f"Pictures  {run.figures}")
    say(f"          {' '.join(first)}{more}")
    say(f"Numbers   {run.metrics} (all {result.count})")
    say("")
    say("Next")
    for word, command in _next_commands(run, result, typed):
        say(f"  {word:9} {command}")


def show_line(run: RunDirectory) -> None:
    """Show in a line what a run of a sweep has achieved."""
    result = Result(run)
    metrics, record = result.metrics, result.record
    shown = [
        f"{row.name} {metrics[row.key]:{row.format}}" for row in ROWS[:2] if row.key in metrics
    ]
    if "encoder/mse" in metrics:
        shown.append(f"encoder mse ↓ {metrics['encoder/mse']:.5f}")
    images = " on validation images" if result.on_validation else ""
    if "samples" in metrics:
        images = f" of {metrics['samples']:,.0f} images"
    by = f", drawn by the sampler {name}" if (name := record.get("sampler")) else ""
    by += f", in features of {RANDOM}" if record.get("features") == RANDOM else ""
    results = f"; {', '.join(shown)}{images}{by}" if shown else ""
    text = f"{result.title}, {run.path.name}: {result.length}{results}"
    if result.failure:
        say(f"✗ FAILED: {'; '.join([text, *result.failure])}", style="red")
    else:
        say(f"✓ {text}")


def _length(status: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    planned, seconds = config["trainer"]["max_epochs"], status.get("seconds")
    trained = status.get("epoch", planned)
    length = counted(planned, "epoch")
    if config["max_steps"] != -1 and "steps" in status:
        length = counted(status["steps"], "batch", "batches")
    elif trained < planned:  # stopped early
        length = f"{trained} of {length}"
    if seconds is None:
        return length
    if seconds < 120:
        return f"{length} in {seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{length} in {hours} h {minutes} min" if hours else f"{length} in {minutes} min"


def _table(result: Result) -> Table:
    """A row for each measure, between the best to be expected and a crude baseline."""
    metrics = result.metrics
    count = metrics.get("samples")
    corner = f"{count:,.0f} new images" if count else "on validation images"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in (corner, ""):
        table.add_column(name, no_wrap=True)
    for name in ("this run", "real images", "crude Gaussian"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in ROWS:
        if row.key in metrics:
            known = [metrics.get(bound + row.key) for bound in ("", row.real, "gaussian/")]
            texts = ("" if each is None else format(each, row.format) for each in known)
            rated = rating(*known, smaller="↓" in row.name)
            table.add_row(row.words, row.name, *texts, rated)
    crude = f"{metrics['pca/mse']:.5f}" if "pca/mse" in metrics else ""
    width = f"z of {metrics['latent_dim']:,.0f}" if "latent_dim" in metrics else ""
    for way, words in (("encoder", "encoder"), ("inversion", "search")):
        if (error := metrics.get(f"{way}/mse")) is not None:
            sign = "≤" if way == "inversion" and result.is_limit else ""
            table.add_row(f"recreate by {words}", "mse ↓", f"{sign}{error:.5f}", "0", crude, width)
    if "likelihood/iwae" in metrics:
        table.add_row("likelihood", "nats ↓", f"≤{metrics['likelihood/iwae']:.2f}")
    if "likelihood/bits_per_dim" in metrics:
        table.add_row("likelihood", "bits/dim ↓", f"{metrics['likelihood/bits_per_dim']:.3f}")
    return table


def rating(value: float | None, real: float | None, crude: float | None, *, smaller: bool) -> str:
    """How far a measure is from real images, on the way to a crude Gaussian: good, fair or poor.

    "" if one of them is not known, or if the Gaussian is no worse than real images, as can be where
    few of them are compared. `smaller`: a smaller value is better.
    """
    if value is None or real is None or crude is None:
        return ""
    if crude <= real if smaller else crude >= real:
        return ""
    way = (value - real) / (crude - real)
    return "good" if way <= GOOD else "fair" if way <= FAIR else "poor"


def _remarks(result: Result) -> Iterator[str]:
    """Sentences about the run's health, and about how it was measured."""
    metrics, record = result.metrics, result.record
    good, bad = list[str](), list[str]()
    for key in MISSING:
        if key in metrics:
            count, missing = int(metrics.get("real/classes", 10)), int(metrics[key])
            what = key.removeprefix("missing_")
            words = f"{missing} of {count} {what} {'is' if missing == 1 else 'are'} missing"
            (bad if missing else good).append(words if missing else f"all {count} {what} appear")
    if "val/d_real" in metrics:
        sure = saturated(*(metrics[f"val/{key}"] for key in ("d_loss", "d_real", "d_fake")))
        word = "is sure of every image" if sure else "is not saturated"
        (bad if sure else good).append(f"the discriminator {word}")
    if "active_units" in metrics:
        units = int(metrics["active_units"])
        (good if units else bad).append(f"the encoder uses {units or 'no'} latent dimensions")
    bad = [problem for problem in bad if problem not in "".join(result.failure)]
    if bad:
        yield f"Not healthy: {'; '.join(bad)}."
    elif good and not result.failure:
        yield f"Healthy: {'; '.join(good)}."
    if result.is_limit:
        yield "≤ is an upper limit: the search has not converged (docs/inversion.md)."
    if record.get("features") == RANDOM:
        yield f"Distances are measured in {features_in_words(record)}."
    if name := record.get("sampler"):
        yield f"New images are drawn by its sampler, {name}."
    if result.on_validation:
        yield "The test images were left alone (evaluate=none)."


def _seeds(run: RunDirectory, seed: int) -> Iterator[str]:
    """A warning, while there are too few runs that differ from this one by their seed alone."""
    others = re.escape(run.path.name.removeprefix(f"seed{seed}"))
    names = [path.name for path in run.path.parent.glob("seed*")]
    count = sum(bool(re.fullmatch(rf"seed\d+{others}", name)) for name in names)
    if count < ENOUGH:
        few = "One seed says" if count == 1 else f"{count} seeds say"
        yield f"{few} little: train at least four (-m seed=0,1,2,3) before comparing."


def _next_commands(
    run: RunDirectory, result: Result, typed: Sequence[str] | None
) -> Iterator[tuple[str, str]]:
    """What to type next, each with a word for it."""
    own, group, siblings, everything = run.path, *run.path.parents[:3]
    yield "play", f"gen-models explore {shlex.quote(str(own))}"
    if not result.whole:
        yield "measure", f"gen-models evaluate {shlex.quote(str(own))}"
    compare = f"gen-models compare {shlex.quote(str(siblings))}"
    if typed is None or any(group not in path.parents for path in find_runs(siblings)):
        yield "compare", compare
    else:
        other = "gan" if model_name(result.config) == "vae" else "vae"
        kept = [text for text in typed if KEPT.match(text)]
        yield "compare", f"{COMMAND} {shlex.join([f'model={other}', *kept])}"
        yield "", compare
    yield "watch", f"tensorboard --logdir {shlex.quote(str(everything))}"
