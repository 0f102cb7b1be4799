"""The page of a study: study.html, one file that needs no network, and study.md for a forge.

Everything is computed from the study's table alone, so the page can be made again without the runs.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gen_models.analysis import plots
from gen_models.analysis.metrics import ENCODER, FID, INVERSION, LATENT_DIM, metric
from gen_models.analysis.page import Picture, picture, render, write_files
from gen_models.analysis.runs import Run, missing_rule
from gen_models.analysis.statistics import LEAST, wilson_interval
from gen_models.runs.identity import model_title
from gen_models.study import words
from gen_models.study.answer import Answer, answers
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence, Side, agreement
from gen_models.study.table import Table, of_study, run_key

ENVIRONMENT = ("commit", "threads", "torch")
CODE = 8  # digits of a fingerprint
CPUS = ("DEFAULT", "NO AVX", "AVX2", "AVX512", "NEON", "SVE256", "Z VECTOR", "VSX")  # torch's names
BOUNDS = ("floor/", "gaussian/")  # that the plots show


def write_page(study: Study, table: Table, folder: Path) -> tuple[list[Answer], list[Path]]:
    """Decide the claims and write the page; returns the answers, and the files.

    Raises:
        UserError: The runs do not make a study, or the folder cannot be written.
    """
    content = page(study, table)
    files = render("gen_models.study", "study", content)
    files |= {content["slug"](name): each.png for name, each in content["pictures"]}
    return content["answers"], write_files(folder, files)


def page(study: Study, table: Table) -> dict[str, Any]:
    """Everything that the templates show."""
    evidence = Evidence(study, of_study(study, table))
    decided = answers(evidence)
    shown = study.shown or list(dict.fromkeys(a for c in study.claims for a in c.contrasts[0].arms))
    sides = evidence.sides(shown, FID)
    rows = evidence.table.rows
    by_epoch = sorted(rows, key=lambda row: study.arms[row.record["arm"]].end)
    # the last row of each: a run that is kept at two epochs is one training
    trainings = [*{(study.root(row.record["arm"]), row.seed): row for row in by_epoch}.values()]
    roots = {study.root(arm) for each in study.contrasts if each.decides for arm in each.arms}
    deciding = [row for row in trainings if study.root(row.record["arm"]) in roots]
    measured = {side.arm for side in sides}
    awaited = [arm for arm in shown if arm not in measured and study.root(arm) in roots]
    exact = [arm for arm in shown if evidence.exact(arm)]
    searched = [arm for arm in shown if arm not in exact]
    latent = ["numbers in z"] if any(LATENT_DIM in row.metrics for row in rows) else []
    return {
        "study": study,
        "counts": Counter(answer.outcome for answer in decided),
        "trainings": len(trainings),
        "deciding": len(deciding),
        "failed": sum(row.failed for row in deciding),
        "lost": [f"{len(s.lost)} of {len(s.values)} runs of {s.label}" for s in sides if s.lost],
        "sound": sum(len(side.sound) for side in sides),
        "awaited": [study.arms[arm].label for arm in awaited],
        "best": [] if awaited else _best(evidence, shown, FID),
        "recreated": [" ".join(each) for each in _best(evidence, searched, ENCODER, INVERSION)],
        "exact": [study.arms[arm].label for arm in exact],
        "latent": latent,
        "heads": [*latent, "recreation by encoder", "by search", "precision"],
        "answers": decided,
        "plots": [_claim_plots(answer, evidence) for answer in decided],
        "words": words,
        "pictures": _pictures(evidence),
        "rows": [_arm_cells(evidence, side, latent) for side in sides],
        "values": [" ".join(map(metric(FID).show, sorted(s.sound.values()))) for s in sides],
        "plot": _strip(evidence, sides, FID),
        "bounds": {name: metric(FID).show(evidence.bounds.get(name + FID)) for name in BOUNDS},
        "metric": metric(FID),
        "agreement": ", ".join(f"{k} {rank:.2f}" for k, rank in agreement(evidence).items()),
        "missing": missing_rule(table.rows),
        "unplanned": len(of_study(study, table, planned=False).rows),
        "devices": _devices(trainings),
        "environment": [
            (column, _tally(row.record[column] for row in trainings)) for column in ENVIRONMENT
        ],
        "arms": [_arm_counts(evidence, arm) for arm in study.arms],
        "slug": _slug,
    }


def _devices(trainings: Sequence[Run]) -> str:
    """Where the trainings of each model ran: "GAN on NVIDIA H100; VAE on CPU with AVX2"."""
    models: dict[str, list[str]] = {}
    for row in trainings:
        name = row.record["processor"]
        device = f"CPU with {name}" if name in CPUS else name
        models.setdefault(model_title(row.model), []).append(device)
    return "; ".join(f"{model} on {_tally(devices)}" for model, devices in sorted(models.items()))


def _best(evidence: Evidence, arms: Sequence[str], *keys: str) -> list[tuple[str, str]]:
    """The arm of the least median of each model, by each metric: its name and median, best first.

    Without a metric for which the search of an arm has not converged.
    """
    entries: dict[tuple[str, str], tuple[float, float, str, str]] = {}
    for key in keys:
        sides = evidence.sides(arms, key)
        left_out = {*arms} - {side.arm for side in sides}
        rows = [[key in row.metrics for row in evidence.rows(arm)] for arm in left_out]
        if any(len(own) >= LEAST and any(own) for own in rows):
            continue
        for side in (each for each in sides if each.sound):
            name = f"{side.label} {words.way(key)}".strip()
            entry = statistics.median(side.scores()), side.median, name, words.median(side)
            place = evidence.model(side.arm), key
            entries[place] = min(entries.get(place, entry), entry)
    return [(name, median) for *_, name, median in sorted(entries.values())]


def _arm_cells(evidence: Evidence, side: Side, latent: Sequence[str]) -> list[str]:
    """An arm's row of the first table: failures, median, numbers in z, recreation, precision."""
    recreated, rows = [], evidence.rows(side.arm)
    for key in (ENCODER, INVERSION):
        measured = evidence.sides([side.arm], key)
        absent = "not converged" if any(key in row.metrics for row in rows) else "-"
        recreated.append(words.median(measured[0]) if measured else absent)
    count, total = len(side.lost), len(side.values)
    _, low, high = wilson_interval(count, total)
    failed = f"{count} of {total} [{100 * low:.0f} to {100 * high:.0f} %]"
    sizes = [metric(LATENT_DIM).show(rows[0].metrics.get(LATENT_DIM)) for _ in latent]
    precision = rows[0].record["training_precision"]
    return [side.label, failed, words.median(side), *sizes, *recreated, precision]


def _claim_plots(answer: Answer, evidence: Evidence) -> list[plots.Strip]:
    """All runs of a claim's arms, a plot for each metric."""
    by_metric: dict[str, dict[tuple[str, str], Side]] = {}
    for part in (*answer.parts, *answer.others):
        if part.contrast.kind == "cheaper":  # its values follow from the arms that it compares
            by_metric.setdefault(part.metric, {}).update({(s.arm, s.key): s for s in part.sides})
    for contrast in (each for each in answer.claim.contrasts if each.kind != "cheaper"):
        for key in contrast.metrics:
            for arm, own in contrast.compared_by(key).items():
                for side in evidence.sides([arm], own):
                    by_metric.setdefault(key, {})[arm, own] = side
    strips = (_strip(evidence, [*sides.values()], key) for key, sides in by_metric.items())
    return [strip for strip in strips if strip]


def _strip(evidence: Evidence, sides: Sequence[Side], key: str) -> plots.Strip | None:
    """The runs of arms, each by its own metric, on the scale of one."""
    models = sorted({row.model for row in evidence.table.rows})
    rows = []
    for side in sides:
        way = "" if side.key == key else words.way(side.key) or side.key
        color = models.index(evidence.model(side.arm))
        rows.append(plots.Row(f"{side.label} {way}".rstrip(), color, side))
    limits = {name: value for name, value in evidence.bounds.items() if name.startswith(BOUNDS)}
    return plots.strip(rows, key, limits, words.PLAIN.get(key, ""))


def _pictures(evidence: Evidence) -> list[tuple[str, Picture]]:
    """Real images, the best run of each model, and one that failed."""
    pictures = evidence.table.pictures
    drawn = [("real", picture(pictures.get("real"), "Real test images"))]
    rows = evidence.table.rows
    for row in sorted(rows, key=lambda row: (row.failed, row.metrics.get(FID, math.inf))):
        arm, seed = run_key(row)
        label = f"{evidence.study.arms[arm].label} seed {seed}{' failed' if row.failed else ''}"
        new = pictures.get(f"{arm}/{seed}/new")
        drawn.append((label, picture(new, f"New images drawn by {label}")))
    return [(label, each) for label, each in drawn if each]


def _arm_counts(evidence: Evidence, name: str) -> list[str]:
    """An arm's row of the last table: how many runs, how many failed, precision, code."""
    arm, rows = evidence.study.arms[name], evidence.rows(name)
    count, failed = f"{len(rows)} of {len(arm.seeds)}", sum(row.failed for row in rows)
    record = rows[0].record if rows else {"training_precision": "", "code": ""}
    return [arm.label, count, str(failed), record["training_precision"], record["code"][:CODE]]


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
