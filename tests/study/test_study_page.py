"""Every figure of a study's page, computed again from its runs.csv, without the study's code."""

import csv
import functools
import html
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium, visit
from conftest import ROOT
from scipy import stats
from tables import made_up
from typer.testing import CliRunner

from gen_models.analysis.runs import Run
from gen_models.cli import app
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence, agreement
from gen_models.study.load import load_study
from gen_models.study.page import write_page
from gen_models.study.table import Table, read_table, run_key, write_table

DOCS = ROOT / "docs" / "study"
NEW_IMAGES = ("fid_lenet", "coverage")
COLUMNS = ("compared", "metric", "medians", "better", "p", "change", "failed", "says")
HEAD = "| " + " | ".join(COLUMNS[:2])
INTERVAL = r"([\d.-]+) % \[([\d.-]+), ([\d.-]+)\]"
BETTER = re.compile(
    r"(?P<theta>\d+) % \[(?P<low>\d+), (?P<high>\d+)\] of (?P<of>runs|pairs of runs|pairs of the "
    r"same seed|comparisons of one image)(?: by (?P<margin>\d+) % or more)?"
)
VALUE = r"([\d.]+|all failed)"
GAUSSIAN = "a crude Gaussian"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of made-up runs, with eight seeds of the ten there."""
    folder = tmp_path_factory.mktemp("study")
    study = load_study("wanare")
    write_table(made_up(study, collapsed=(22,), seeds=8), folder)
    write_page(study, read_table(folder), folder)
    return folder


def with_claims(*names: str) -> Study:
    """The study with some of its claims alone, which is sooner decided."""
    study = load_study("wanare")
    study.claims = [claim for claim in study.claims if claim.name in names]
    return study


class Runs:
    """The values of an arm as runs.csv has them."""

    def __init__(self, folder: Path, study: Study) -> None:
        with (folder / "runs.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.labels = {arm.label.lower(): name for name, arm in study.arms.items()}

    def arm(self, label: str) -> list[dict[str, str]]:
        return [row for row in self.rows if row["arm"] == self.labels[label.lower()]]

    @staticmethod
    def failed(row: dict[str, str], key: str = "fid_lenet") -> bool:
        """Whether a run counts as the worst by a metric."""
        if row["status"] == "diverged" or not key.startswith(NEW_IMAGES):
            return row["status"] == "diverged"
        far = float(row["fid_lenet"]) >= float(row["gaussian/fid_lenet"])
        narrow = float(row["coverage"]) <= float(row["gaussian/coverage"])
        return float(row["missing_digits"]) >= 5 or (far and narrow)

    def sound(self, label: str, key: str) -> dict[str, float]:
        rows = self.counted(label, key)
        return {r["seed"]: float(r[key]) for r in rows if not self.failed(r, key)}

    def counted(self, label: str, key: str) -> list[dict[str, str]]:
        """Without the runs whose search for codes has not converged, if it is of that."""
        rows = self.arm(label)
        if not key.startswith("inversion/"):
            return rows
        return [r for r in rows if self.failed(r) or float(r["inversion/control_share"]) <= 0.05]

    def scores(self, label: str, key: str, scale: float = 1.0) -> dict[str, float]:
        """By seed, the lower the better, a failure the worst."""
        sign = -1 if key == "coverage" else 1
        return {
            r["seed"]: math.inf if self.failed(r, key) else sign * scale * float(r[key])
            for r in self.counted(label, key)
        }

    def gaussian(self, key: str) -> float:
        return next(float(r[f"gaussian/{key}"]) for r in self.rows if r[f"gaussian/{key}"])

    def split(self, label: str, key: str) -> tuple[str, str]:
        """An arm with the way in which it recreates images -> the arm, and the metric."""
        for words, own in ((" by its encoder", "encoder/mse"), (" by search", "inversion/mse")):
            if label.endswith(words):
                return label.removesuffix(words), own
        return label, key


@functools.lru_cache
def p_of_ranks(ranks: tuple[float, ...], n: int) -> float:
    """SciPy's permutation test of all splits, by the statistic as its paper defines it."""

    def statistic(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        n, m = one.shape[-1], other.shape[-1]
        both = stats.rankdata(np.concatenate([one, other], axis=-1), axis=-1)
        places = [
            both[..., :n] - stats.rankdata(one, axis=-1),
            both[..., n:] - stats.rankdata(other, axis=-1),
        ]
        spread = places[0].var(axis=-1, ddof=1) / m**2 / n
        spread = spread + places[1].var(axis=-1, ddof=1) / n**2 / m
        away = places[1].mean(axis=-1) / n - 0.5
        return away / np.sqrt(np.maximum(spread, 1e-9))

    groups = (np.array(ranks[:n]), np.array(ranks[n:]))
    test = stats.permutation_test(groups, statistic, vectorized=True, n_resamples=np.inf)
    return float(test.pvalue)


def p_of(one: list[float], other: list[float], paired: bool) -> float:
    ranks = stats.rankdata(one + other)
    first, second = ranks[: len(one)], ranks[len(one) :]
    if not paired:
        return p_of_ranks((*sorted(first), *sorted(second)), len(one))
    difference = second - first
    won = sum((a < b) - (a > b) for a, b in zip(one, other, strict=True))
    if difference.sum() * won <= 0:
        return 1.0
    signs = np.array(list(itertools.product((-1, 1), repeat=len(one))))
    return float((abs(signs @ difference) >= abs(difference.sum()) - 1e-9).mean())


def wilson(share: float, n: int) -> tuple[float, float]:
    z = stats.norm.ppf(0.975)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(theta: float, n: int, m: int) -> tuple[float, float]:
    """The ends on a fine grid: as far as z of their own standard errors."""
    t = np.linspace(1e-6, 1 - 1e-6, 200_001)
    more = (n + m) / 2 - 1
    variance = t * (1 - t) * (1 + more * (1 - t) / (2 - t) + more * t / (1 + t)) / (n * m)
    inside = t[(theta - t) ** 2 <= stats.norm.ppf(0.975) ** 2 * variance]
    return float(inside[0]), float(inside[-1])


def check_part(line: dict[str, str], runs: Runs) -> None:
    """One row of a claim's statistics."""
    metric = line["metric"].strip("`")
    found = BETTER.fullmatch(line["better"])
    assert found, line
    sides = [runs.split(label, metric) for label in line["compared"].split(" against ")]
    by_image = found["of"] == "comparisons of one image"
    paired = found["of"] == "pairs of the same seed"
    labels = [side for side in sides if side[0] != GAUSSIAN]
    one = runs.scores(*labels[0])
    common: set[str] = set()
    gaussian = runs.gaussian(metric) if len(labels) == 1 else math.nan
    if len(labels) == 1:
        pairs = [(value, gaussian * (-1 if metric == "coverage" else 1)) for value in one.values()]
        p = stats.binomtest(sum(a < b for a, b in pairs), len(pairs)).pvalue
    else:
        other = runs.scores(*labels[1], 1 - float(found["margin"] or 0) / 100)
        common = one.keys() & other.keys()
        if paired:
            pairs = [(one[seed], other[seed]) for seed in sorted(common)]
            p = p_of([a for a, _ in pairs], [b for _, b in pairs], paired=True)
        else:
            pairs = list(itertools.product(one.values(), other.values()))
            p = 1.0 if by_image else p_of(list(one.values()), list(other.values()), paired=False)
    theta = float(np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs]))
    if not by_image:  # the shares of images have a test of their own
        assert int(found["theta"]) == pytest.approx(100 * theta, abs=0.5001)
        assert_rounds(line["p"], p, relative=0.06)
        fewer = len(pairs) if paired or len(labels) == 1 else min(len(one), len(other))
        ends = [wilson(theta, fewer)]
        if not paired and len(labels) == 2:
            ends.append(newcombe(theta, len(one), len(other)))
        low, high = max(ends, key=lambda interval: interval[1] - interval[0])
        assert [int(found["low"]), int(found["high"])] == pytest.approx(
            [100 * low, 100 * high], abs=0.51
        )
    sound = [runs.sound(label, key) for label, key in labels]
    if paired:
        sound = [{s: v for s, v in each.items() if s in common} for each in sound]
    medians = [np.median(list(values.values())) if values else None for values in sound]
    for shown, value in zip(line["medians"].split(" and "), [*medians, gaussian], strict=False):
        assert_median(shown, value)
    few = min(map(len, sound)) < 4
    assert (line["change"] == "-") == (len(labels) == 1 or by_image or few)
    if change := re.fullmatch(rf"{INTERVAL} (lower|higher)", line["change"]):
        seeds = sorted(set.intersection(*(set(each) for each in sound))) if paired else None
        both = [[each[seed] for seed in seeds or each] for each in sound]
        ratio = stats.trim_mean(both[0], 0.25) / stats.trim_mean(both[1], 0.25) - 1
        size, low, high = (float(text) for text in change.groups()[:3])
        assert size == pytest.approx(100 * abs(ratio), abs=0.0501)
        assert change[4] == ("lower" if ratio < 0 else "higher")
        assert low <= size <= high
    check_failures(line["failed"], [runs.arm(s[0]) for s in labels], labels, paired)


def check_failures(
    text: str, arms: list[list[dict[str, str]]], labels: list[tuple[str, str]], paired: bool
) -> None:
    """How many runs failed, and Fisher's p."""
    counts = [
        n
        for rows, (_, key) in zip(arms, labels, strict=True)
        for n in (sum(Runs.failed(row, key) for row in rows), len(rows))
    ]
    if text == "none":
        assert sum(counts[::2]) == 0
    elif paired:
        assert re.fullmatch(r"\d+ of \d+ and \d+ of \d+", text)
    else:
        shown, _, p = text.partition(", p = ")
        assert [int(n) for n in re.findall(r"\d+", shown)] == counts
        if len(arms) == 2:
            table = [[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]]
            assert_rounds(p, stats.fisher_exact(table).pvalue, relative=0.06)


def check_sentences(section: str) -> None:
    """Every plain sentence repeats the medians of one of the rows below it."""
    rows = [line["medians"] for line in lines_of(section)]
    for pair in re.findall(rf"{VALUE} against {VALUE}\.$", section, re.MULTILINE):
        assert " and ".join(pair) in rows or " and ".join(pair[::-1]) in rows, pair


def is_median(shown: str, value: float | None) -> bool:
    if value is None or shown == "all failed":
        return value is None and shown == "all failed"
    digits = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.501 * 10**-digits


def assert_median(shown: str, value: float | None) -> None:
    assert is_median(shown, value), (shown, value)


def assert_rounds(shown: str, value: Any, relative: float = 0.0) -> None:
    digits = len(shown.partition(".")[2])
    assert float(shown) == pytest.approx(float(value), abs=0.501 * 10**-digits, rel=relative)


def sections(text: str) -> dict[str, str]:
    """What study.md says of each claim."""
    parts = re.split(r"^## (C\d)\. .*\n", text.partition("\n## What to remember")[0], flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def lines_of(text: str) -> list[dict[str, str]]:
    return [
        dict(zip(COLUMNS, line.strip("| ").split(" | "), strict=True))
        for line in text.splitlines()
        if line.count(" | ") == len(COLUMNS) - 1 and not line.startswith(HEAD)
    ]


def check_verdicts(text: str) -> None:
    """Outcomes and p from the parts, by the rules of the page and Holm's."""
    raw: dict[str, tuple[str, float]] = {}
    for name, section in sections(text).items():
        parts = [line for line in lines_of(section) if line["says"] != "decides nothing"]
        if "Holm" not in section:
            raw[name] = ("not answered", 1.0)
        elif all(line["says"] == "for the claim" for line in parts):
            raw[name] = ("supported", max(float(line["p"]) for line in parts))
        else:
            against = [float(line["p"]) for line in parts if line["says"] != "for the claim"]
            raw[name] = ("contradicted", min(1.0, len(parts) * min(against)))
    highest, order = 0.0, sorted(raw, key=lambda name: raw[name][1])
    for place, name in enumerate(order):
        outcome, p = raw[name]
        highest = max(highest, min(1.0, (len(raw) - place) * p))
        if outcome != "not answered":
            (shown,) = re.findall(r"p = (\S+) after Holm's correction", sections(text)[name])
            assert_rounds(shown, highest, relative=0.12)  # of rounded p
            if abs(highest - 0.05) > 0.005:
                outcome = outcome if highest < 0.05 else "not decided"
        (verdict,) = re.findall(rf"^\| {name} \| .* \| \*\*(.*)\*\* \|$", text, re.MULTILINE)
        assert verdict.startswith(outcome)


def trainings_of(runs: Runs, study: Study) -> list[tuple[str, str]]:
    """Arm and seed of each training: that of the arm whose runs are kept at an earlier epoch."""
    roots = {name: arm.of or name for name, arm in study.arms.items()}
    return sorted({(roots[row["arm"]], row["seed"]) for row in runs.rows if row["arm"] in roots})


def check_page(folder: Path, study: Study) -> int:
    """Every figure of study.md; returns how many parts there were."""
    runs, text = Runs(folder, study), (folder / "study.md").read_text()
    lines = lines_of(text)
    for line in lines:
        check_part(line, runs)
    for section in sections(text).values():
        check_sentences(section)
    check_verdicts(text)
    check_opening(text, runs, study)
    for name, arm in study.arms.items():
        label = arm.label
        *found, last = [row for row in text.splitlines() if row.startswith(f"| {label} |")]
        rows = runs.arm(label)
        failed = sum(map(runs.failed, rows))
        precision = "".join({row["training_precision"] for row in rows})
        code = "".join({row["code"] for row in rows})[:8]
        cells = [label, f"{len(rows)} of {len(arm.seeds)}", str(failed), precision, code]
        assert last == f"| {' | '.join(cells)} |"
        assert len(found) == (name in study.shown and len(rows) >= 4)
        if not found:
            continue
        cells = [cell.strip() for cell in found[0].strip("| ").split("|")]
        low, high = wilson(failed / len(rows), len(rows))
        assert cells[1] == f"{failed} of {len(rows)} [{100 * low:.0f} to {100 * high:.0f} %]"
        values = sorted(runs.sound(label, "fid_lenet").values())
        assert_median(cells[2], np.median(values))
        for shown, value in zip(cells[3].split(), values, strict=True):
            assert_rounds(shown, value)
        for shown, key in zip(cells[4:6], ("encoder/mse", "inversion/mse"), strict=True):
            if shown not in ("-", "not converged"):
                assert_median(shown, float(np.median(list(runs.sound(label, key).values()))))
    check_charts((folder / "study.html").read_text(), runs)
    return len(lines)


def check_opening(text: str, runs: Runs, study: Study) -> None:
    """How many claims and trainings there are, and how many of those failed."""
    opening = text.split("| claim |")[0] + text.split("## What to remember")[1].split("\n## ")[0]
    verdicts = re.findall(r"^\| C\d \| .* \| \*\*(.*)\*\* \|$", text, re.MULTILINE)
    supported, contradicted = (
        sum(verdict.startswith(word) for verdict in verdicts)
        for word in ("supported", "contradicted")
    )
    trainings = trainings_of(runs, study)
    counted = f"We tested {len(verdicts)} claims with {len(trainings)} trainings."
    assert f"{counted} Supported: {supported}, contradicted: {contradicted}, open" in opening
    decide = {
        study.arms[arm].of or arm
        for claim in study.claims
        for part in claim.contrasts
        for arm in part.arms
        if part.decides
    }
    last = {(row["arm"], row["seed"]): runs.failed(row) for row in runs.rows}
    failed = sum(
        last.get((arm, seed), any(failed for (name, own), failed in last.items()
                                  if own == seed and study.arms[name].of == arm))
        for arm, seed in trainings if arm in decide
    )  # fmt: skip
    total = sum(arm in decide for arm, _ in trainings)
    assert f"{failed} of the {total} trainings that decide failed" in opening


def charts_of(page: str) -> Iterator[tuple[str, dict[str, tuple[list[float], list[float]]]]]:
    """Each chart's metric, and its rows: label -> values of sound runs, of failed ones."""
    for figure in re.findall(r'<figure class="chart".*?</figure>', page, re.DOTALL):
        (title,) = re.findall(r"<figcaption>(.*?)</figcaption>", figure)
        key = title.rpartition(", ")[2].removesuffix(" ↓").removesuffix(" ↑")
        numbers = re.findall(r'<text x="([\d.]+)%"[^>]*>([\d.e+-]+)</text>', figure)
        (left, low), (right, high) = (
            (float(at), float(text)) for at, text in (numbers[0], numbers[-1])
        )
        rows = {}
        for label, drawing in re.findall(
            r'<div class="names"><span>(.*?)</span>.*?<svg(.*?)</svg>', figure, re.DOTALL
        ):
            values: tuple[list[float], list[float]] = ([], [])
            for at, look in re.findall(r'<circle cx="([\d.]+)%"[^>]*style="([^"]*)"', drawing):
                value = low + (float(at) - left) / (right - left) * (high - low)
                values["stroke" in look].append(value)
            rows[html.unescape(label)] = values
        yield key, rows


def check_charts(page: str, runs: Runs) -> None:
    """Every dot is where its value is."""
    for metric, rows in charts_of(page):
        for label, (sound, failed) in rows.items():
            arm, key = runs.split(label, metric)
            known = sorted(runs.sound(arm, key).values())
            lost = sorted(float(r[key]) for r in runs.arm(arm) if runs.failed(r, key) and r[key])
            everything = [value for each in rows.values() for part in each for value in part]
            near = 2e-4 * max(everything)
            assert sorted(sound) == pytest.approx(known, abs=near)
            assert sorted(failed) == pytest.approx(lost, abs=near)


def test_every_figure_is_that_of_the_runs(made: Path) -> None:
    assert check_page(made, load_study("wanare")) > 30
    assert len(list(charts_of((made / "study.html").read_text()))) > 8


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        (r"`fid_lenet` \| (\d+\.\d\d) and", "1.23"),
        (r"distance to real images (\d+\.\d\d) against", "1.23"),
        (r"claims with (\d+) trainings", "9"),
        (r"p = (\S+) after Holm", "0.4"),
        (r"\| (\d+ %) \[\d+, \d+\] of pairs", "55 %"),
    ],
)
def test_a_figure_that_is_not_would_be_found(
    pattern: str, other: str, made: Path, tmp_path: Path
) -> None:
    for name in ("runs.csv", "study.md", "study.html"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    page = (made / "study.md").read_text()
    found = re.search(pattern, page)
    assert found
    (tmp_path / "study.md").write_text(page[: found.start(1)] + other + page[found.end(1) :])
    with pytest.raises(AssertionError):
        check_page(tmp_path, load_study("wanare"))


@pytest.mark.slow
def test_the_committed_page_is_that_of_its_runs(tmp_path: Path) -> None:
    study = load_study("wanare")
    check_page(DOCS, study)
    write_page(study, read_table(DOCS), tmp_path)
    figures = [re.findall(r"\d[\d.]*", (where / "study.md").read_text())
               for where in (tmp_path, DOCS)]  # fmt: skip
    assert figures[0] == figures[1]


@pytest.mark.parametrize("folder", ["made", "docs"])
def test_shares_of_images_are_those_of_the_errors(folder: str, made: Path) -> None:
    where = made if folder == "made" else DOCS
    study = load_study("wanare")
    runs = Runs(where, study)
    with np.load(where / "images.npz") as arrays:
        errors = dict(arrays)
    lines = [
        line
        for line in lines_of((where / "study.md").read_text())
        if "of one image" in line["better"]
    ]
    assert lines
    for line in lines:
        sides = []
        for label in line["compared"].split(" against "):
            arm, key = runs.split(label, "")
            name = runs.labels[arm.lower()]
            sides.append([errors[f"{name}/{r['seed']}/{key}"] for r in runs.arm(arm)])
        won = np.mean([(a < b) + 0.5 * (a == b) for a in sides[0] for b in sides[1]])
        assert int(line["better"].split()[0]) == pytest.approx(100 * won, abs=0.5001)
        assert float(line["p"]) >= 0.99 * 2 / math.comb(sum(map(len, sides)), len(sides[0]))


def test_a_diverged_run_takes_no_part_in_the_order_of_the_arms() -> None:
    study = load_study("wanare")
    table = made_up(study, seeds=4)
    first = table.rows[0]
    table.rows[0] = Run(first.record | {"status": "diverged"}, {})
    assert set(agreement(Evidence(study, table))) == {"lenet_1", "random_lenet"}


def test_what_is_interim_is_said(made: Path) -> None:
    text = (made / "study.md").read_text()
    assert "Interim, runs so far: 8 of 10 of final GAN" in text
    shown = "| C7 | The VAE recreates images better than the GAN, consistently. | **supported, and"
    assert f'{shown} "consistently", interim** |' in text
    assert "**not decided, interim** |" in text


def test_the_sentence_is_of_the_part_that_shows_the_verdict(tmp_path: Path) -> None:
    """The final GAN is far better at new images, but not at recreation."""
    study = with_claims("C4", "C8")
    write_page(study, made_up(study, collapsed=()), tmp_path)
    claims = sections((tmp_path / "study.md").read_text())
    start = "\n**Contradicted.** Final VAE beats a crude Gaussian in all runs: "
    assert claims["C8"].startswith(start)
    start = '\n**Supported, but not "far".** Final GAN beats baseline GAN in all pairs of runs: '
    assert claims["C4"].startswith(f"{start}error of recreated images")


def test_what_decides_nothing_stands_beside_the_verdict(made: Path) -> None:
    """Each change alone and new images beside C6; other GANs and the best models beside C7."""
    told = sections((made / "study.md").read_text())
    for label in ("baseline VAE leaky ReLU", "baseline VAE 100 epochs"):
        assert re.search(f"^- .*{label}", told["C6"], re.MULTILINE | re.IGNORECASE)
    assert re.search("^- .*distance to real images", told["C6"], re.MULTILINE)
    assert re.search("^- .*lr=5e-4 by search", told["C7"], re.MULTILINE)
    best = "^- Best GAN by search beats best VAE by its encoder"
    assert re.search(best, told["C7"], re.MULTILINE)
    assert "Holm" in told["C6"].partition("<details>")[2]
    assert "p =" not in told["C6"].partition("<details>")[0]


def test_a_study_lists_what_was_changed_and_cites_what_was_done_before(made: Path) -> None:
    for name in ("study.md", "study.html"):
        text = (made / name).read_text()
        for cited in ("Lucic et al. 2018", "Webster et al. 2019", "Agarwal et al. 2021"):
            assert cited in text
        changed = text.partition("changed after runs had been seen")[2].partition("Prior work")[0]
        assert all(word in changed for word in ("C2", "C6", "C7", "Paired", "Depends", "Failure"))
        assert "GAN on NVIDIA H100" in text
        assert "VAE on CPU with AVX2" in text


def test_whether_a_verdict_depends_on_the_features_is_a_part_of_it(tmp_path: Path) -> None:
    study = with_claims("C1")
    table = made_up(study, collapsed=())
    for row in table.rows:
        if row.record["arm"] == "gan_final_50":
            row.metrics["features/random_lenet"] = 90.0
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert "(GAN). | **supported, depends on the features** |" in text
    way = "In other features it comes out the other way: final GAN 50 epochs against baseline GAN"
    assert f"{way} in random_lenet." in sections(text)["C1"]


def test_arms_without_runs_are_said_first(tmp_path: Path) -> None:
    study = with_claims("C1", "C4")
    table = made_up(study)
    rows = [row for row in table.rows if not row.record["arm"].startswith("gan_final")]
    write_page(study, Table(rows, table.images, {}), tmp_path)
    text = (tmp_path / "study.md").read_text()
    few = "Interim: too few runs so far of final GAN."  # the others that lack decide nothing
    assert text.index(few) < text.index("| claim |")
    assert "most realistic" not in text
    assert "take final GAN" not in text


def test_a_search_that_has_not_converged_is_no_result(tmp_path: Path) -> None:
    study = with_claims("C4", "C7")
    table = made_up(study, collapsed=())
    for row in table.rows:
        if run_key(row) == ("gan_final", 24):
            row.metrics["inversion/control_share"] = 0.06
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    out = "The search for codes has not converged for seed 24 of final GAN: left out of recreation."
    assert text.count(out) == 2  # beside C4 and C7
    others = [row for row in table.rows if row.record["arm"] == "gan_final" and row.seed != 24]
    median = np.median([row.metrics["inversion/mse"] for row in others])
    assert re.search(rf"^\| final GAN \|.*\| - \| {median:.5f} \|", text, re.MULTILINE)


def test_an_arm_whose_searches_have_not_converged_is_not_compared(tmp_path: Path) -> None:
    study = with_claims("C7")
    table = made_up(study, collapsed=())
    for row in table.rows:
        if row.record["arm"] == "gan_final":
            row.metrics["inversion/control_share"] = 0.06
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert re.search(r"^\| final GAN \|.*\| - \| not converged \|", text, re.MULTILINE)
    assert "| C7 | The VAE recreates images better than the GAN, consistently. | **not ans" in text


def test_what_is_not_decided_depends_on_nothing(tmp_path: Path) -> None:
    study = with_claims("C1")
    table = made_up(study, collapsed=())
    for row in table.rows:
        if row.record["arm"] == "gan_final_50":
            row.metrics["fid_lenet"] = 36.1 - 0.2 * (row.seed % 2)
            row.metrics["features/random_lenet"] = 90.0
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert "Three wider hidden layers beat two (GAN). | **not decided** |" in text
    assert "comes out the other way" in sections(text)["C1"]


def test_runs_of_seeds_that_were_taken_out_are_told(tmp_path: Path) -> None:
    """Cutting a study's seeds after a look at its runs does not stay hidden."""
    study = with_claims("C6")
    table = made_up(study)
    study.arms["vae_longer"].seeds = study.arms["vae_longer"].seeds[:4]
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert "Left out: 2 runs of these arms with seeds that the study does not name." in text


def test_a_bar_in_a_label_makes_no_column(tmp_path: Path) -> None:
    study = with_claims("C1", "C4")
    study.arms["gan_final"].label = "GAN | final"
    study.claims[0].says = "Three | beat two."
    write_page(study, made_up(study), tmp_path)
    lines = (tmp_path / "study.md").read_text().splitlines()
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    for above, below in itertools.pairwise(cells):
        assert above == below or not (above and below)
    rows = itertools.groupby(lines, lambda line: line.startswith("|"))
    tables = [len(list(group)) for row, group in rows if row]
    assert min(tables) > 2  # a head, its line, rows: no row is torn off


def test_no_figure_leaves_its_range(made: Path) -> None:
    for name in ("study.md", "study.html"):
        assert "±" not in (made / name).read_text()
        assert "nan" not in (made / name).read_text().lower().replace("wanare", "")


def test_the_page_is_one_file_without_network(made: Path) -> None:
    page = (made / "study.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == 4
    assert len(re.findall(r"<img ", page)) == len(re.findall(r'<img [^>]*alt="\w', page))
    assert {f"C{n}" for n in range(1, 9)} == set(re.findall(r'<section id="(C\d)"', page))
    assert len(page.encode()) < 300_000
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (made / "study.md").read_text()):
        assert (made / picture).is_file()


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("committed", [False, True])
def test_the_page_in_a_browser(committed: bool, width: int, made: Path) -> None:
    """Nothing is cut off, with all statistics unfolded; the charts are as wide as the page."""
    with visit((DOCS if committed else made) / "study.html", width) as visited:
        assert visited.faults(width) == []
        visited.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        beyond = (
            "[...document.querySelectorAll('main *')].filter((e) => !e.closest('svg') && "
            "(e.getBoundingClientRect().right > innerWidth || e.scrollWidth > innerWidth)).length"
        )
        assert visited.page.evaluate(beyond) == 0
        widths = "['main', '.chart svg'].map((s) => document.querySelector(s).clientWidth)"
        whole, chart = visited.page.evaluate(widths)
        assert chart > 0.9 * whole


def test_the_command_makes_the_same_page_from_the_table_alone(made: Path, tmp_path: Path) -> None:
    words = ["study", "wanare", "--runs", str(made / "runs.csv"), "--output", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "C1 not decided, interim: Three wider hidden layers beat two (GAN)." in result.output
    for name in ("study.md", "study.html"):
        assert (tmp_path / name).read_text() == (made / name).read_text()
    refused = CliRunner().invoke(app, [*words, "--train"])
    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
