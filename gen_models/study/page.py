"""The page of a study: study.html, one file that needs no network, and study.md for a forge.

Everything is computed from the study's table alone, so the page can be made again without the runs.
"""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.comparison.metrics import ENCODER, FID, INVERSION, metric
from gen_models.comparison.pictures import Picture, grid
from gen_models.comparison.report import render, write_files
from gen_models.comparison.statistics import LEVEL, probability_of_superiority, wilson_interval
from gen_models.study import words
from gen_models.study.answer import Answer, answers
from gen_models.study.chart import BOUNDS, Chart, ChartRow, chart
from gen_models.study.collect import Row, Table, of_other_seeds, of_study
from gen_models.study.definition import Study
from gen_models.study.evidence import LEAST, Evidence, Missing, Side, agreement

ENVIRONMENT = ("commit", "threads", "torch")
CODE = 8  # digits of a fingerprint
CPUS = ("DEFAULT", "NO AVX", "AVX2", "AVX512", "NEON", "SVE256", "Z VECTOR", "VSX")  # torch's names


class ClaimSection(NamedTuple):
    """A claim on the page."""

    answer: Answer
    verdict: str
    sentence: str
    beside: list[str]  # what decides nothing, a sentence each
    notes: list[str]
    charts: list[Chart]
    statistics: str
    lines: list[words.Line]


class Written(NamedTuple):
    """What `write_page` has decided, and its files."""

    claims: list[ClaimSection]
    paths: list[Path]


def write_page(study: Study, table: Table, folder: Path) -> Written:
    """Decide the claims and write the page.

    Raises:
        UserError: The runs do not make a study, or the folder cannot be written.
    """
    content = page(study, table)
    files: dict[str, str | bytes] = {
        f"study.{kind}": text for kind, text in render("gen_models.study", "study", content).items()
    }
    for name, picture in content["pictures"]:
        files[_slug(name)] = base64.b64decode(picture.uri.partition(",")[2])
    return Written(content["claims"], write_files(folder, files))


def page(study: Study, table: Table) -> dict[str, Any]:
    """Everything that the templates show."""
    decided = answers(study, table)
    unplanned = len(of_other_seeds(study, table))
    table = of_study(study, table)
    evidence = Evidence(study, table)
    shown = study.shown or list(dict.fromkeys(a for c in study.claims for a in c.contrasts[0].arms))
    sides = _sides(evidence, shown, FID)
    trainings = _trainings(study, table.rows)
    bounds = _bounds(table, FID)
    best, recreated = _best(evidence, sides), _recreated(evidence, shown)
    roots = {
        study.root(arm) for c in study.claims for p in c.contrasts if p.decides for arm in p.arms
    }
    deciding = [row for row in trainings if study.root(row.run[0]) in roots]
    there = {side.arm for side in sides}
    return {
        "study": study,
        "counts": Counter(answer.outcome for answer in decided),
        "trainings": len(trainings),
        "deciding": len(deciding),
        "failed": sum(row.failed for row in deciding),
        "awaited": [
            study.arms[a].label for a in shown if a not in there and study.root(a) in roots
        ],
        "best": [(side.label, words.median(side, FID)) for side in best],
        "recreated": recreated,
        "failures": ", ".join(
            f"{len(side.failed)} of {len(side.seeds)} runs of {side.label}"
            for side in sides
            if side.failed
        ),
        "sound": sum(len(side.seeds) for side in sides if not side.failed),
        "claims": [_section(answer, evidence) for answer in decided],
        "pictures": _pictures(study, table),
        "rows": [_arm_cells(evidence, side) for side in sides],
        "values": [" ".join(map(metric(FID).show, sorted(side.sound))) for side in sides],
        "chart": _chart(evidence, [(side, FID) for side in sides], FID),
        "bounds": {name: metric(FID).show(value) for name, value in bounds.items()},
        "metric": metric(FID),
        "agreement": ", ".join(f"{k} {rank:.2f}" for k, rank in agreement(evidence).items()),
        "unplanned": unplanned,
        "device_list": _devices(trainings),
        "environment": [
            (column, _tally(row.record[column] for row in trainings)) for column in ENVIRONMENT
        ],
        "arms": [_arm_counts(evidence, arm) for arm in study.arms],
        "slug": _slug,
    }


def _sides(evidence: Evidence, arms: Sequence[str], key: str) -> list[Side]:
    """The arms that have runs enough, by a metric."""
    sides = []
    for arm in arms:
        try:
            sides.append(evidence.side(arm, key))
        except Missing:
            continue
    return sides


def _trainings(study: Study, rows: Iterable[Row]) -> list[Row]:
    """The last row of each training: a run that is kept at two epochs is one."""
    last: dict[tuple[str, int], Row] = {}
    for row in sorted(rows, key=lambda row: study.arms[row.run[0]].at_epoch or math.inf):
        last[study.root(row.run[0]), row.run[1]] = row
    return list(last.values())


def _devices(trainings: Sequence[Row]) -> str:
    """Where the trainings of each model ran: "GAN on NVIDIA H100; VAE on CPU with AVX2"."""
    models: dict[str, list[str]] = {}
    for row in trainings:
        name = row.record["processor"]
        device = f"CPU with {name}" if name in CPUS else name
        models.setdefault(row.record["model"].upper(), []).append(device)
    return "; ".join(f"{model} on {_tally(devices)}" for model, devices in sorted(models.items()))


def _best(evidence: Evidence, sides: Sequence[Side]) -> list[Side]:
    """The arm that is better than the others in most pairs of runs, and the best of another model.

    Empty if there is none of another model.
    """
    sound = [side for side in sides if side.values]

    def won(side: Side) -> float:
        scores = side.scores(FID)
        return sum(probability_of_superiority(scores, other.scores(FID)) for other in sound)

    ranked = sorted(sound, key=won, reverse=True)
    others = [s for s in ranked if evidence.color(s.arm) != evidence.color(ranked[0].arm)]
    return [ranked[0], others[0]] if others else []


def _recreated(evidence: Evidence, arms: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each model's arm that recreates images best, in each way: label, way, median; best first.

    Empty if the search of an arm has not converged.
    """
    best: dict[tuple[str, str], tuple[float, tuple[str, str, str]]] = {}
    for arm in arms:
        rows = evidence.rows(arm)
        for key in (ENCODER, INVERSION):
            measured = _sides(evidence, [arm], key)
            if not measured and len(rows) >= LEAST and any(key in row.metrics for row in rows):
                return []
            for side in measured:
                model, text = rows[0].record["model"], metric(key).show(side.median)
                entry = side.median, (side.label, words.WAYS[key], text)
                best[model, key] = min(best.get((model, key), entry), entry)
    return [entry for _, entry in sorted(best.values())]


def _arm_cells(evidence: Evidence, side: Side) -> list[str]:
    """An arm's row of the first table: failures, median, recreation, precision."""
    recreated, rows = [], evidence.rows(side.arm)
    for key in (ENCODER, INVERSION):
        measured = _sides(evidence, [side.arm], key)
        lacking = "not converged" if any(key in row.metrics for row in rows) else "-"
        recreated.append(words.median(measured[0], key) if measured else lacking)
    count, total = len(side.failed), len(side.seeds)
    _, low, high = wilson_interval(count, total)
    failed = f"{count} of {total} [{100 * low:.0f} to {100 * high:.0f} %]"
    precision = rows[0].record["training_precision"]
    return [side.label, failed, words.median(side, FID), *recreated, precision]


def _section(answer: Answer, evidence: Evidence) -> ClaimSection:
    return ClaimSection(
        answer,
        words.verdict(answer),
        words.sentence(answer),
        [words.plain(part, known=part.test.p < LEVEL) for part in answer.others],
        words.notes(answer),
        _charts(answer, evidence),
        words.statistics(answer),
        [
            *(words.line(part, decides=True) for part in answer.parts),
            *(words.line(part, decides=False) for part in answer.others),
        ],
    )


def _charts(answer: Answer, evidence: Evidence) -> list[Chart]:
    """All runs of a claim's arms, a chart for each metric."""
    by_metric: dict[str, dict[tuple[str, str], Side]] = {}
    for contrast in answer.claim.contrasts:
        for key in contrast.metrics:
            for arm in contrast.arms:
                own = (contrast.other_metric if arm == contrast.arms[-1] else "") or key
                for side in _sides(evidence, [arm], own):
                    by_metric.setdefault(key, {})[arm, own] = side
    charts = (
        _chart(evidence, [(side, own) for (_, own), side in sides.items()], key)
        for key, sides in by_metric.items()
    )
    return [each for each in charts if each]


def _chart(evidence: Evidence, sides: Sequence[tuple[Side, str]], key: str) -> Chart | None:
    """The runs of arms, each by its own metric, on the scale of one."""
    rows = []
    for side, own in sides:
        median = words.median(side, own)
        if side.failed:
            median += f" ({len(side.failed)} of {len(side.seeds)} failed)"
        failed = [
            row.metrics[own]
            for row in evidence.rows(side.arm)
            if row.run[1] in side.failed and own in row.metrics
        ]
        label = side.label if own == key else f"{side.label} {words.WAYS.get(own, own)}"
        middle = side.median if side.values else None
        color = evidence.color(side.arm)
        rows.append(ChartRow(label, median, color, side.sound, failed, middle))
    return chart(rows, key, words.PLAIN.get(key, key), _bounds(evidence.table, key))


def _bounds(table: Table, key: str) -> dict[str, float]:
    """What real images and a crude Gaussian have, as far as it is measured."""
    names = {name: f"{name}/{key}" for name in BOUNDS}
    return {
        name: value
        for name, bound in names.items()
        if (value := next((r.metrics[bound] for r in table.rows if bound in r.metrics), None))
        is not None
    }


def _pictures(study: Study, table: Table) -> list[tuple[str, Picture]]:
    """Real digits, the best run of each model, and one that failed."""
    drawn: list[tuple[str, Picture]] = []
    if (real := grid(table.pictures.get("real"), "Real test digits")) is not None:
        drawn.append(("real", real))
    for row in sorted(table.rows, key=lambda row: (row.failed, row.metrics.get(FID, math.inf))):
        arm, seed = row.run
        label = f"{study.arms[arm].label} seed {seed}{' failed' if row.failed else ''}"
        picture = grid(table.pictures.get(f"{arm}/{seed}/new"), f"New digits drawn by {label}")
        if picture is not None:
            drawn.append((label, picture))
    return drawn


def _arm_counts(evidence: Evidence, name: str) -> list[str]:
    """An arm's row of the last table: how many runs, how many failed, precision, code."""
    arm, rows = evidence.study.arms[name], evidence.rows(name)
    record = rows[0].record if rows else {"training_precision": "", "code": ""}
    there, failed = f"{len(rows)} of {len(arm.seeds)}", sum(row.failed for row in rows)
    return [arm.label, there, str(failed), record["training_precision"], record["code"][:CODE]]


def _tally(values: Iterable[str]) -> str:
    """The values of trainings, with their counts where they differ."""
    counts = Counter(value or "unknown" for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count} trainings)" for value, count in counts.most_common())


def _slug(label: str) -> str:
    """The file of a picture in study.md."""
    parts = "".join(letter if letter.isalnum() else " " for letter in label.lower()).split()
    return f"study-{'-'.join(parts)}.png"
