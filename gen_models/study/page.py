"""The page of a study: study.html, one file that needs no network, and study.md for a forge.

Everything is computed from the study's table alone, so the page can be made again without the runs.
"""

import base64
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from gen_models.comparison.metrics import ENCODER, FID, INVERSION, metric
from gen_models.comparison.pictures import Picture, grid
from gen_models.comparison.plots import PlotRow, runs_plot
from gen_models.comparison.report import render, write_files
from gen_models.comparison.statistics import superiority
from gen_models.study import words
from gen_models.study.answer import Answer, answers
from gen_models.study.collect import Table, of_other_seeds, of_study
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence, Missing, Side, agreement

WAYS = {ENCODER: "its encoder", INVERSION: "inversion"}
BOUNDS = ("floor", "gaussian")
ENVIRONMENT = ("commit", "threads", "processor", "torch")  # of all runs
CODE = 8  # digits of a fingerprint


class ArmRow(NamedTuple):
    """An arm in the first table."""

    side: Side
    median: str
    dots: Markup  # every run, tiny
    failed: str
    recreated: list[str]  # median by encoder, by inversion
    precision: str  # of the training


class Told(NamedTuple):
    """A claim as the page tells it."""

    answer: Answer
    verdict: str
    sentence: str
    plots: list[Markup]
    lines: list[words.Line]
    notes: list[str]


class Written(NamedTuple):
    """What `write_page` has decided, and its files."""

    claims: list[Told]
    paths: list[Path]


def write_page(study: Study, table: Table, folder: Path) -> Written:
    """Decide the claims and write the page.

    Raises:
        UserError: The runs do not make a study, or the folder cannot be written.
    """
    known = page(study, table)
    files: dict[str, str | bytes] = {
        f"study.{kind}": text for kind, text in render("gen_models.study", "study", known).items()
    }
    for name, picture in known["pictures"]:
        files[_slug(name)] = base64.b64decode(picture.uri.partition(",")[2])
    return Written(known["claims"], write_files(folder, files))


def page(study: Study, table: Table) -> dict[str, Any]:
    """Everything that the templates show."""
    found = answers(study, table)
    unplanned = len(of_other_seeds(study, table))
    table = of_study(study, table)
    evidence = Evidence(study, table)
    shown = study.shown or list(dict.fromkeys(a for c in found for a in c.claim.contrasts[0].arms))
    sides = _sides(evidence, shown, FID)
    return {
        "study": study,
        "answers": found,
        "sentences": [
            text
            for text in (
                _awaited(study, shown, sides),
                _new(evidence, sides) if len(sides) == len(shown) else "",
                _recreated(evidence, shown),
                _lost(sides),
            )
            if text
        ],
        "claims": [_told(answer, evidence) for answer in found],
        "pictures": _pictures(study, table),
        "rows": _rows(evidence, sides),
        "bounds": {name: _bound(table, f"{name}/{FID}") for name in BOUNDS},
        "metric": metric(FID),
        "agreement": ", ".join(f"{k} {rank:.2f}" for k, rank in agreement(evidence).items()),
        "unplanned": unplanned,
        "made": [_made(table, column) for column in ENVIRONMENT],
        "counts": [(arm, *_counts(evidence, name)) for name, arm in study.arms.items()],
        "slug": _slug,
    }


def _sides(evidence: Evidence, arms: Sequence[str], key: str) -> list[Side]:
    """The arms that have runs enough, by a metric."""
    found = []
    for arm in arms:
        try:
            found.append(evidence.side(arm, key))
        except Missing:
            continue
    return found


def _awaited(study: Study, arms: Sequence[str], sides: Sequence[Side]) -> str:
    """Which of the arms that are shown have too few runs to take part."""
    there = {side.arm for side in sides}
    awaited = [study.arms[arm].label for arm in arms if arm not in there]
    if not awaited:
        return ""
    return f"Interim: too few runs of {'; '.join(awaited)}, so the rest is of the others alone."


def _new(evidence: Evidence, sides: Sequence[Side]) -> str:
    """Which arm's new images are nearest to real ones, beside the next arm of another model."""
    ranked = words.advantage(FID, sides)
    if len(ranked) < 2:
        return ""
    known = metric(FID)
    first = ranked[0]
    others = [side for side in ranked[1:] if evidence.color(side.arm) != evidence.color(first.arm)]
    second = (others or ranked[1:])[0]
    theta = superiority(first.scores(FID), second.scores(FID))
    return (
        f"New images: {first.label} comes nearest to real ones, with a median {FID} of "
        f"{known.show(first.median)} against {known.show(second.median)} of {second.label}; it is "
        f"better in {words.percent(theta)} of pairs of runs, a failed run counting as the worst."
    )


def _recreated(evidence: Evidence, arms: Sequence[str]) -> str:
    """Which arm recreates given images best, and how each model does it."""
    best: dict[str, tuple[float, str]] = {}
    for arm in arms:
        rows = evidence.rows(arm)
        key = ENCODER if any(ENCODER in row.metrics for row in rows) else INVERSION
        for side in _sides(evidence, [arm], key):
            model = rows[0].made["model"]
            text = f"{side.label} by {WAYS[key]} {metric(key).show(side.median)}"
            best[model] = min(best.get(model, (math.inf, "")), (side.median, text))
    told = [text for _, text in sorted(best.values()) if text]
    return f"Recreating given images, median squared error: {', '.join(told)}." if told else ""


def _lost(sides: Sequence[Side]) -> str:
    """How many runs of each arm failed."""
    failed = [side for side in sides if side.failed]
    rest = sum(len(side.seeds) for side in sides if not side.failed)
    if not sides:
        return ""
    if not failed:
        return f"Reliability: none of {rest} runs failed."
    told = "; ".join(
        f"{len(side.failed)} of {len(side.seeds)} runs of {side.label} failed "
        f"({words.percent(words.rate(side))})"
        for side in failed
    )
    return f"Reliability: {told}; none of the other {rest}." if rest else f"Reliability: {told}."


def _rows(evidence: Evidence, sides: Sequence[Side]) -> list[ArmRow]:
    values = {side.arm: _failed_values(evidence, side, FID) for side in sides}
    most = max((v for side in sides for v in (*side.sound, *values[side.arm])), default=1.0)
    rows = []
    for side in sides:
        recreated = []
        for key in WAYS:
            found = _sides(evidence, [side.arm], key)
            recreated.append(words.median(found[0], key) if found else "-")
        drawn = _dots(side.sound, values[side.arm], most, evidence.color(side.arm))
        failed = f"{len(side.failed)} of {len(side.seeds)}"
        precision = evidence.rows(side.arm)[0].made["training_precision"]
        rows.append(ArmRow(side, words.median(side, FID), drawn, failed, recreated, precision))
    return rows


def _dots(sound: Sequence[float], failed: Sequence[float], most: float, color: int) -> Markup:
    """Every run as a tiny dot between 0 and `most`, hollow if it failed."""
    marks = "".join(
        f'<circle cx="{4 + 112 * min(value / most, 1):.1f}" cy="8" r="3" {look}/>'
        for values, look in (
            (sound, f'fill="var(--c{color})" fill-opacity=".6"'),
            (failed, f'fill="none" stroke="var(--c{color})"'),
        )
        for value in values
        if math.isfinite(value)
    )
    return Markup(f'<svg class="dots" viewBox="0 0 120 16" aria-hidden="true">{marks}</svg>')


def _told(answer: Answer, evidence: Evidence) -> Told:
    parts = [*answer.parts, *answer.others]
    sides = [side for each in parts for side in (each.one, each.other) if side]
    notes = [
        words.seeds(sides),
        words.repeated(answer, evidence.study),
        words.depends(answer.parts),
    ]
    notes.append(answer.claim.note)
    if answer.missing and answer.outcome != "not answered":
        notes.append(f"Still missing: {'; '.join(answer.missing)}.")
    return Told(
        answer,
        words.verdict(answer),
        words.sentence(answer),
        _plots(answer, evidence),
        [
            *(words.line(each) for each in answer.parts),
            *(words.line(each, decides=False) for each in answer.others),
        ],
        [note for note in notes if note],
    )


def _plots(answer: Answer, evidence: Evidence) -> list[Markup]:
    """All runs of a claim's arms, a plot for each metric."""
    drawn = []
    by_metric: dict[str, dict[tuple[str, str], Side]] = {}
    for contrast in answer.claim.contrasts:
        for key in contrast.metrics:
            for arm in contrast.arms:
                own = contrast.other_metric if arm == contrast.arms[-1] else ""
                for side in _sides(evidence, [arm], own or key):
                    by_metric.setdefault(key, {})[arm, own or key] = side
    for key, sides in by_metric.items():
        rows = []
        for (_, own), side in sides.items():
            told = words.median(side, own)
            if side.failed:
                told += f" ({len(side.failed)} of {len(side.seeds)} failed)"
            lost = _failed_values(evidence, side, own)
            label = side.label if own == key else f"{side.label}, {own}"
            rows.append(PlotRow(label, told, evidence.color(side.arm), side.sound, lost))
        bounds = {f"{name}/{key}": _bound(evidence.table, f"{name}/{key}") for name in BOUNDS}
        known = {name: value for name, value in bounds.items() if value is not None}
        drawn.append(Markup(runs_plot(rows, key, known)))
    return drawn


def _failed_values(evidence: Evidence, side: Side, key: str) -> list[float]:
    rows = (row for row in evidence.rows(side.arm) if row.run[1] in side.failed)
    return [row.metrics[key] for row in rows if key in row.metrics]


def _pictures(study: Study, table: Table) -> list[tuple[str, Picture]]:
    """Real digits, the best run of each model, and one that failed."""
    found: list[tuple[str, Picture]] = []
    if (real := grid(table.pictures.get("real"), "Real test digits")) is not None:
        found.append(("real", real))
    for row in sorted(table.rows, key=lambda row: (row.failed, row.metrics.get(FID, math.inf))):
        arm, seed = row.run
        images = table.pictures.get(f"{arm}/{seed}/new")
        if arm in study.arms and images is not None:
            label = f"{study.arms[arm].label}, seed {seed}{', failed' if row.failed else ''}"
            picture = grid(images, f"New digits drawn by {label}")
            assert picture is not None
            found.append((label, picture))
    return found


def _counts(evidence: Evidence, arm: str) -> tuple[int, int, str, str]:
    """How many runs of an arm there are, how many failed, their precision and code."""
    rows = evidence.rows(arm)
    made = rows[0].made if rows else {"training_precision": "", "code": ""}
    failed = sum(row.failed for row in rows)
    return len(rows), failed, made["training_precision"], made["code"][:CODE]


def _bound(table: Table, key: str) -> float | None:
    return next((row.metrics[key] for row in table.rows if key in row.metrics), None)


def _made(table: Table, column: str) -> tuple[str, str]:
    """How the runs were made: the values of a column, with their counts where they differ."""
    counts = Counter(row.made[column] or "unknown" for row in table.rows)
    if len(counts) == 1:
        return column, next(iter(counts))
    return column, ", ".join(f"{value} ({count} runs)" for value, count in counts.most_common())


def _slug(label: str) -> str:
    """The file of a picture in study.md."""
    parts = "".join(letter if letter.isalnum() else " " for letter in label.lower()).split()
    return f"study-{'-'.join(parts)}.png"
