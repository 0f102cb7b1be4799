"""Every figure of a study's page, computed again from its runs.csv, without the study's code."""

import csv
import itertools
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium, visit
from conftest import ROOT
from scipy import stats
from tables import made_up
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.study.collect import Table, read_table, write_table
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence, agreement
from gen_models.study.load import load_study
from gen_models.study.page import write_page

DOCS = ROOT / "docs" / "study"
INTERVAL = r"([\d.-]+) % \[([\d.-]+), ([\d.-]+)\]"
COLUMNS = ("compared", "metric", "medians", "better", "p", "change", "failed", "says")
BETTER = re.compile(
    r"(?P<theta>\d+) % \[(?P<low>\d+), (?P<high>\d+)\] of (?P<of>[\w ]+)"
    r"(?:, by (?P<margin>\d+) % or more)?"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of made-up runs, with eight seeds of the ten there."""
    folder = tmp_path_factory.mktemp("study")
    study = load_study("wanare")
    write_table(made_up(study, collapsed=(12,), seeds=8), folder)
    write_page(study, read_table(folder), folder)
    return folder


class Runs:
    """The values of an arm as runs.csv has them."""

    def __init__(self, folder: Path, study: Study) -> None:
        with (folder / "runs.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.labels = {arm.label: name for name, arm in study.arms.items()}

    def arm(self, label: str) -> list[dict[str, str]]:
        return [row for row in self.rows if row["arm"] == self.labels[label]]

    @staticmethod
    def failed(row: dict[str, str]) -> bool:
        if row["status"] == "diverged":
            return True
        gaussian = float(row["gaussian/fid_lenet"])
        return float(row["fid_lenet"]) >= gaussian or float(row["missing_digits"]) >= 5

    def sound(self, label: str, key: str) -> dict[str, float]:
        return {r["seed"]: float(r[key]) for r in self.arm(label) if not self.failed(r)}

    def scores(self, label: str, key: str, scale: float = 1.0) -> dict[str, float]:
        """By seed, the lower the better, a failure the worst."""
        sign = -1 if key == "coverage" else 1
        return {
            r["seed"]: math.inf if self.failed(r) else sign * scale * float(r[key])
            for r in self.arm(label)
        }


def check_part(line: dict[str, str], runs: Runs) -> None:
    """One row of a claim's table."""
    key = line["metric"].strip("`")
    found = BETTER.fullmatch(line["better"])
    assert found, line
    one_label, _, other_label = line["compared"].rpartition(" and ")
    if one_label not in runs.labels:
        return  # by image: its own test
    labels = [label for label in (one_label, other_label) if label in runs.labels]
    paired = found["of"] == "pairs of the same run"
    one = runs.scores(one_label, key)
    gaussian = float(runs.rows[0].get(f"gaussian/{key}") or "nan")
    if found["of"] == "runs":
        assert other_label == "PCA Gaussian"
        pairs = [(value, gaussian * (-1 if key == "coverage" else 1)) for value in one.values()]
    else:
        other = runs.scores(other_label, key, 1 - float(found["margin"] or 0) / 100)
        common = one.keys() & other.keys()
        if paired:
            pairs = [(one[seed], other[seed]) for seed in common]
        else:
            pairs = [(a, b) for a in one.values() for b in other.values()]
            with warnings.catch_warnings():  # where the runs do not overlap
                warnings.simplefilter("ignore", RuntimeWarning)
                known = stats.brunnermunzel(list(one.values()), list(other.values())).pvalue
            if math.isfinite(known):
                assert float(line["p"]) == pytest.approx(known, abs=0.05)
    theta = np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert int(found["theta"]) == pytest.approx(100 * theta, abs=0.5001)
    assert int(found["low"]) <= int(found["theta"]) <= int(found["high"])
    sound = [runs.sound(label, key) for label in labels]
    if paired:
        sound = [{s: v for s, v in each.items() if s in common} for each in sound]
    medians = [np.median(list(values.values())) if values else None for values in sound]
    for shown, value in zip(line["medians"].split(" and "), [*medians, gaussian], strict=False):
        if value is None:
            assert shown == "-"
        else:
            assert_rounds(shown, value)
    few = min(map(len, sound)) < 3
    assert (line["change"] == "-") == (found["of"] == "runs" or few)
    if change := re.fullmatch(rf"{INTERVAL} (lower|higher)", line["change"]):
        seeds = sorted(set.intersection(*(set(each) for each in sound))) if paired else None
        both = [[each[seed] for seed in seeds or each] for each in sound]
        ratio = stats.trim_mean(both[0], 0.25) / stats.trim_mean(both[1], 0.25) - 1
        size, low, high = (float(text) for text in change.groups()[:3])
        assert size == pytest.approx(100 * abs(ratio), abs=0.0501)
        assert change[4] == ("lower" if ratio < 0 else "higher")
        assert low <= size <= high
    check_failures(line["failed"], [runs.arm(label) for label in labels], runs, paired)


def check_failures(text: str, arms: list[list[dict[str, str]]], runs: Runs, paired: bool) -> None:
    """How many runs failed, and Fisher's p."""
    counts = [n for rows in arms for n in (sum(map(runs.failed, rows)), len(rows))]
    if text == "none":
        assert sum(counts[::2]) == 0
    elif paired:
        assert re.fullmatch(r"\d+ of \d+ and \d+ of \d+", text)
    else:
        told, _, p = text.partition(", p = ")
        assert [int(n) for n in re.findall(r"\d+", told)] == counts
        if len(arms) == 2:
            table = [[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]]
            assert_rounds(p, stats.fisher_exact(table).pvalue, relative=0.06)


def check_agreement(text: str, runs: Runs) -> None:
    """The rank correlations of the arms' medians."""
    (line,) = re.findall(r"Spearman's rank correlation .*: (.*)\.$", text, re.MULTILINE)
    sound = [[row for row in runs.arm(name) if not runs.failed(row)] for name in runs.labels]
    known = [rows for rows in sound if rows]

    def ranks(key: str) -> np.ndarray:
        medians = [np.median([float(row[key]) for row in rows]) for rows in known]
        return stats.rankdata(medians)

    spaces = {key for row in runs.rows for key in row if key.startswith("features/")}
    shown = dict(each.split() for each in line.split(", "))
    assert {f"features/{space}" for space in shown} == spaces
    for space, value in shown.items():
        correlation = np.corrcoef(ranks("fid_lenet"), ranks(f"features/{space}"))[0, 1]
        assert float(value) == pytest.approx(correlation, abs=0.00501)


def assert_rounds(shown: str, value: Any, relative: float = 0.0) -> None:
    digits = len(shown.partition(".")[2])
    assert float(shown) == pytest.approx(float(value), abs=0.501 * 10**-digits, rel=relative)


def check_page(folder: Path, study: Study) -> int:
    """Every part, the first table and the last of study.md; returns how many parts there were."""
    runs, text = Runs(folder, study), (folder / "study.md").read_text()
    lines = [
        dict(zip(COLUMNS, line.strip("| ").split(" | "), strict=True))
        for line in text.splitlines()
        if line.count(" | ") == len(COLUMNS) - 1 and not line.startswith("| compared")
    ]
    for line in lines:
        check_part(line, runs)
    check_agreement(text, runs)
    for name, arm in study.arms.items():
        label = arm.label
        *found, last = [row for row in text.splitlines() if row.startswith(f"| {label} |")]
        rows = runs.arm(label)
        failed = sum(map(runs.failed, rows))
        precision = "".join({row["training_precision"] for row in rows})
        code = "".join({row["code"] for row in rows})[:8]
        cells = [label, f"{len(rows)} of {len(arm.seeds)}", str(failed), precision, code]
        assert last == f"| {' | '.join(cells)} |"
        assert len(found) == (name in study.shown and len(rows) >= 3)
        if not found:
            continue
        cells = [cell.strip() for cell in found[0].strip("| ").split("|")]
        assert cells[1] == f"{failed} of {len(rows)}"
        values = sorted(runs.sound(label, "fid_lenet").values())
        assert_rounds(cells[2], np.median(values))
        for shown, value in zip(cells[3].split(), values, strict=True):
            assert_rounds(shown, value)
        for shown, key in zip(cells[4:6], ("encoder/mse", "inversion/mse"), strict=True):
            if shown != "-":
                assert_rounds(shown, np.median(list(runs.sound(label, key).values())))
    return len(lines)


def test_every_figure_is_that_of_the_runs(made: Path) -> None:
    assert check_page(made, load_study("wanare")) > 30


def test_a_figure_that_is_not_would_be_found(made: Path, tmp_path: Path) -> None:
    for name in ("runs.csv", "study.md"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    page = (made / "study.md").read_text()
    median = re.findall(r"`fid_lenet` \| (\d+\.\d\d) and", page)[0]
    (tmp_path / "study.md").write_text(page.replace(f"| {median} and", "| 1.23 and"))
    with pytest.raises(AssertionError):
        check_page(tmp_path, load_study("wanare"))


@pytest.mark.skipif(not (DOCS / "runs.csv").exists(), reason="the study has no runs yet")
def test_the_committed_page_is_that_of_its_runs(tmp_path: Path) -> None:
    study = load_study("wanare")
    check_page(DOCS, study)
    write_page(study, read_table(DOCS), tmp_path)
    assert (tmp_path / "study.md").read_text() == (DOCS / "study.md").read_text()


def test_shares_of_images_are_those_of_the_errors(made: Path) -> None:
    with np.load(made / "images.npz") as arrays:
        first = [arrays[f"vae_final/{seed}/encoder/mse"] for seed in range(11, 19)]
        second = [arrays[f"gan_final/{seed}/inversion/mse"] for seed in range(11, 19)]
    won = np.mean([a < b for a in first for b in second])
    text = (made / "study.md").read_text()
    (shown,) = re.findall(
        r"\| VAE by its encoder and GAN by inversion \| `encoder/mse` \| .* \| (\d+) %", text
    )
    assert int(shown) == pytest.approx(100 * won, abs=0.5001)


def test_a_diverged_run_takes_no_part_in_the_order_of_the_arms() -> None:
    study = load_study("wanare")
    table = made_up(study, seeds=4)
    first = table.rows[0]
    table.rows[0] = first._replace(made=first.made | {"status": "diverged"}, metrics={})
    assert set(agreement(Evidence(study, table))) == {"lenet_1", "random_lenet"}


def test_what_is_interim_is_said(made: Path) -> None:
    text = (made / "study.md").read_text()
    assert "interim, 8 of 10 seeds" in text
    shown = "| C7 | The VAE recreates images better than the GAN, consistently. | **supported, and"
    assert f'{shown} "consistently", interim** |' in text
    assert "**not decided, interim** |" in text


def test_the_part_that_contradicts_a_claim_is_named(made: Path) -> None:
    (told,) = re.findall(r"parts go the other way, most clearly (.*);", section(made, "C8"))
    assert told in ("fid_lenet of VAE final", "coverage of VAE final")


def test_what_other_arms_say_is_told(made: Path) -> None:
    """GANs without dropout are all alike, of the baselines the VAE is better by image."""
    pair = "GAN final, no dropout, epoch 50 and GAN baseline, no dropout, by fid_lenet."
    assert f"Other runs do not tell: {pair}" in section(made, "C1")
    assert "by encoder/mse; baselines, both by inversion, by inversion/mse." in section(made, "C7")


def test_whether_a_verdict_depends_on_the_features_is_a_part_of_it(tmp_path: Path) -> None:
    study = load_study("wanare")
    table = made_up(study, collapsed=())
    for row in table.rows:
        if row.run[0] == "gan_final_50":
            row.metrics["features/random_lenet"] = 90.0
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert "(GAN). | **supported, depends on the features** |" in text
    told = "otherwise in other features: GAN final, epoch 50 and GAN baseline by random_lenet."
    assert told in section(tmp_path, "C1")


def test_a_check_of_the_precision_repeats_no_claim(made: Path) -> None:
    assert "float32, by" not in section(made, "C4")


def section(folder: Path, claim: str) -> str:
    """What study.md says of a claim."""
    return (folder / "study.md").read_text().split(f"## {claim}. ", 1)[1].split("\n## ", 1)[0]


def test_arms_without_runs_are_said_first(tmp_path: Path) -> None:
    study = load_study("wanare")
    table = made_up(study)
    rows = [row for row in table.rows if not row.made["arm"].startswith("gan_final")]
    write_page(study, Table(rows, table.images, {}), tmp_path)
    text = (tmp_path / "study.md").read_text()
    lacking = "GAN final; GAN final, epoch 30; GAN final, epoch 30, float32"
    interim = f"Interim: too few runs of {lacking}, so the rest is of the others alone."
    assert text.index(interim) < text.index("Recreating given images")
    assert "nearest to real ones" not in text


def test_runs_of_seeds_that_were_taken_out_are_told(tmp_path: Path) -> None:
    """Cutting a study's seeds after a look at its runs does not stay hidden."""
    study = load_study("wanare")
    table = made_up(study)
    study.arms["vae_longer"].seeds = study.arms["vae_longer"].seeds[:4]
    write_page(study, table, tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert "Left out: 2 runs of these arms with seeds that the study does not name." in text


def test_a_bar_in_a_label_makes_no_column(tmp_path: Path) -> None:
    study = load_study("wanare")
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


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("committed", [False, True])
def test_the_page_in_a_browser(committed: bool, width: int, made: Path) -> None:
    with visit((DOCS if committed else made) / "study.html", width) as visited:
        assert visited.faults(width) == []


def test_the_command_makes_the_same_page_from_the_table_alone(made: Path, tmp_path: Path) -> None:
    words = ["study", "wanare", "--runs", str(made / "runs.csv"), "--output", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (
        "C1 not decided, interim: Three wider hidden layers beat two (GAN).\n   " in result.output
    )
    for name in ("study.md", "study.html"):
        assert (tmp_path / name).read_text() == (made / name).read_text()
    refused = CliRunner().invoke(app, [*words, "--train"])
    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
