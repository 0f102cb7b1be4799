"""The report of a comparison: report.html, report.md, results.csv and results.json."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gen_models.comparison import fairness, pictures, plots, table
from gen_models.comparison.compare import Comparison
from gen_models.comparison.metrics import BOUNDS, FID, QUICK, metric
from gen_models.comparison.statistics import Estimate
from gen_models.comparison.table import Group
from gen_models.comparison.verdicts import Verdict
from gen_models.errors import UserError

TOLD = [FID, "coverage", "missing_digits", "encoder/mse", "inversion/mse", "test/loss"]
PLOTTED = [FID, QUICK + FID, "coverage", "encoder/mse", "inversion/mse", "test/loss"]
COSTS = ["cost/seconds", "cost/training_flops"]


class Cell(NamedTuple):
    """One figure of a table."""

    text: str
    ends: str  # of its interval, "8.10 to 16.50"; "" without one
    half: str  # half the interval's width
    sort: str  # the figure itself; "" where there is none


def write_report(comparison: Comparison, output: Path) -> list[Path]:
    """Write the four files; returns their paths.

    Raises:
        UserError: The folder cannot be written, or a run's pictures are not ours.
    """
    known = page(comparison)
    environment = Environment(
        loader=PackageLoader("gen_models.comparison"),
        autoescape=lambda name: bool(name) and str(name).endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    written = {
        f"report.{kind}": environment.get_template(f"report.{kind}.j2").render(known)
        for kind in ("html", "md")
    }
    written["results.csv"] = table.long_table(comparison.groups).to_csv(index=False, na_rep="nan")
    written["results.json"] = json.dumps(results(comparison), indent=1, allow_nan=False) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (output / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}): choose another --output"
        ) from error
    return [output / name for name in written]


def page(comparison: Comparison) -> dict[str, Any]:
    """Everything that the templates show."""
    groups, bounds = comparison.groups, comparison.bounds
    have = table.measured(groups)
    quality = next((key for key in (FID, QUICK + FID) if key in have), FID)
    real, albums = pictures.albums(groups)
    drawn = [album for album in albums if album.samples or album.recreated]
    main = {group.label for group in comparison.main}
    return {
        "comparison": comparison,
        "groups": groups,
        "metric": metric,
        "headlines": [metric(key) for key in comparison.headlines],
        "models": " and ".join(dict.fromkeys(group.model.upper() for group in groups)),
        "main": [(group, [cell(group, key) for key in comparison.headlines]) for group in groups],
        "beside": beside(comparison),
        "plots": _svgs(plots.seeds_plot(groups, key, bounds) for key in PLOTTED if key in have),
        "costs": _svgs(plots.cost_plot(groups, cost, quality) for cost in COSTS),
        "sweeps": [(sweep, Markup(plots.sweep_plot(sweep))) for sweep in comparison.sweeps],
        "real": real,
        "albums": [album for album in drawn if album.group in main],
        "more_albums": [album for album in drawn if album.group not in main],
        "without": [album for album in albums if album not in drawn],
        "verdicts": [
            (one, other, [v for v in all_ if is_told(v)], [v for v in all_ if not is_told(v)])
            for one, other, all_ in comparison.verdicts
        ],
        "full": [
            (metric(key), [cell(group, key) for group in groups], _limits(key, bounds))
            for key in have
        ],
        "bounds": BOUNDS,
        "card": fairness.card(groups),
        "settings": fairness.other_settings(groups),
    }


def cell(group: Group, key: str) -> Cell:
    """Mean and interval of a metric, marked where runs diverged."""
    found = group.summary(key)
    if found is None:
        return Cell("-", "", "", "")
    of = metric(key)
    if found.estimate is None:
        return Cell(of.show(math.nan), "", "", "")
    text = of.show(found.estimate.value)
    if found.diverged:
        text += f" ({found.diverged} of {len(found.values)} diverged)"
    value, low, high = found.estimate
    ends = half = ""
    if low is not None and high is not None:
        ends, half = f"{of.show(low)} to {of.show(high)}", of.show((high - low) / 2)
    return Cell(text, ends, half, repr(value))


def beside(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Floor, ceilings and what recreates images without a model: the main table's last rows."""
    rows = []
    for name, words in BOUNDS.items():
        rows.append((words, [metric(k).show(comparison.bounds.get(f"{name}/{k}"))
                             for k in comparison.headlines]))  # fmt: skip
    for words, value in comparison.recreations().items():
        shown = [metric(k).show(value) if k in ("encoder/mse", "inversion/mse") else "-"
                 for k in comparison.headlines]  # fmt: skip
        rows.append((words, shown))
    return [row for row in rows if any(text != "-" for text in row[1])]


def is_told(verdict: Verdict) -> bool:
    """Whether a verdict stands on the page unfolded."""
    return verdict.key.removeprefix(QUICK) in TOLD


def results(comparison: Comparison) -> dict[str, Any]:
    """Everything that was found, for other programs; NaN is null."""
    return {
        "data": comparison.data,
        "groups": {group.label: _group(group) for group in comparison.groups},
        "bounds": {key: _finite(value) for key, value in comparison.bounds.items()},
        "recreated_without_a_model": comparison.recreations(),
        "verdicts": [
            {
                "group": verdict.one,
                "against": verdict.other,
                "metric": verdict.key,
                "difference": _estimate(verdict.difference),
                "better": verdict.better or None,
                "text": verdict.text,
            }
            for _, _, told in comparison.verdicts
            for verdict in told
        ],
        "claims": [
            {
                "claim": answer.claim,
                "says": answer.says,
                "outcome": answer.outcome,
                "summary": answer.summary,
                "parts": [
                    part._asdict() | {"difference": _estimate(part.difference)}
                    for part in answer.parts
                ],
                "missing": answer.missing,
                "commands": answer.commands,
            }
            for answer in comparison.claims
        ],
        "sweeps": [
            {
                "by": sweep.key,
                "metric": sweep.metric,
                "lines": [
                    {"line": line.label, "best": line.best_value or None, "text": line.best}
                    for line in sweep.lines
                ],
            }
            for sweep in comparison.sweeps
        ],
        "notes": comparison.notes,
    }


def _group(group: Group) -> dict[str, Any]:
    metrics = {}
    for key in table.measured([group]):
        found = group.summary(key)
        assert found is not None
        metrics[key] = (_estimate(found.estimate) or {"mean": None, "low": None, "high": None}) | {
            "n": len(found.finite),
            "diverged": found.diverged,
            "values": {str(seed): _finite(value) for seed, value in found.values.items()},
        }
    return {
        "settings": group.settings,
        "runs": {str(run.seed): str(run.path) for run in group.runs},
        "fingerprints": sorted({str(run.status["fingerprint"]) for run in group.runs}),
        "metrics": metrics,
    }


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {"mean": estimate.value, "low": estimate.low, "high": estimate.high}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _limits(key: str, bounds: dict[str, float]) -> list[str]:
    return [metric(key).show(bounds.get(f"{name}/{key}")) for name in BOUNDS]


def _svgs(drawn: Sequence[str] | Any) -> list[Markup]:
    return [Markup(svg) for svg in drawn if svg]
