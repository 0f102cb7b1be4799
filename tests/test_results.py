"""The figures of the pages of results are those of the studies' runs."""

import re

import numpy as np
import pytest
from conftest import ROOT

from gen_models.analysis.metrics import metric
from gen_models.analysis.runs import Run
from gen_models.study.evidence import converged
from gen_models.study.load import load_study
from gen_models.study.table import read_table

PAGE, _, _ = (ROOT / "docs" / "results.md").read_text().partition("\n[^runs]:")
STUDIES = {"wanare": "study", "families": "families"}  # name -> its folder in docs
PAGES = ("docs/results.md", "docs/best.md", "README.md")
ARMS = {
    arm.label: (study, name) for study in STUDIES for name, arm in load_study(study).arms.items()
}
RUNS = {study: read_table(ROOT / "docs" / folder).rows for study, folder in STUDIES.items()}
COLUMNS = {
    "fid_lenet": "fid_lenet",
    "coverage": "coverage",
    "recall": "recall",
    "encoder/mse": "encoder/mse",
    "inversion/mse": "inversion/mse",
    "test/loss": "test/loss",
    "inversion/control_share": "inversion/control_share",
    "seconds for 1,000 images": "cost/sampling_seconds",
}  # the title of a column without its arrow -> its metric
ALIKE = {"numbers in z": "latent_dim", "parameters": "cost/parameters"}  # in all runs of an arm
CRUDE = ("pca", "nearest", "mean_image")
RATES = {"0.002", "0.0005", "0.0002", "0.0001", "0.00005"}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def tables() -> list[tuple[list[str], list[list[str]]]]:
    """The header and the rows of each table with metrics of the studies' arms."""
    found = []
    for page in PAGES:
        for block in re.findall(r"(?:^\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE):
            header, _, *rows = block.splitlines()
            names = [re.sub(r"[`↓↑]", "", name).strip() for name in cells(header)]
            kept = [cells(row) for row in rows if cells(row)[0] in ARMS]
            if kept and set(names) & {*COLUMNS}:
                found.append((names, kept))
    return found


def of_arm(name: str, study: str = "wanare") -> list[Run]:
    return [row for row in RUNS[study] if row.record["arm"] == name]


def shown(key: str, values: list[float]) -> str:
    if not values:
        return "-"
    show = metric(key).show
    return f"{show(float(np.median(values)))} ({show(min(values))} to {show(max(values))})"


def test_there_are_tables_to_test() -> None:
    assert len(tables()) >= 9
    assert sum(len(rows) for _, rows in tables()) >= 44


@pytest.mark.parametrize(("names", "rows"), tables())
def test_each_row_is_that_of_its_runs(names: list[str], rows: list[list[str]]) -> None:
    for row in rows:
        study, arm = ARMS[row[0]]
        runs = of_arm(arm, study)
        sound = [run.metrics for run in runs if not run.failed]
        for name, cell in zip(names, row, strict=True):
            if name == "failed":
                assert cell == f"{len(runs) - len(sound)} of {len(runs)}", row[0]
            if name in ALIKE:
                key = ALIKE[name]
                assert {metric(key).show(metrics[key]) for metrics in sound} == {cell}, row[0]
            if name in COLUMNS:
                key, counted, limit = COLUMNS[name], sound, ""
                if key == "inversion/mse":
                    found = [run.metrics for run in runs if converged(run) and not run.failed]
                    counted = found or sound
                    limit = "" if found or not any(key in each for each in sound) else "at most "
                values = [metrics[key] for metrics in counted if key in metrics]
                assert cell == limit + shown(key, values), (row[0], name)


@pytest.mark.parametrize("arm", ["gan_baseline", "gan_final", "vae_baseline", "vae_final"])
def test_the_costs_are_those_of_the_runs(arm: str) -> None:
    runs = of_arm(arm)
    seconds = sorted(float(run.record["seconds"]) for run in runs)
    device = {"CPU" if run.record["processor"].startswith("AVX") else "H100" for run in runs}
    drawn = [run.metrics["cost/sampling_seconds"] for run in runs]
    amounts = (
        metric(key).show(runs[0].metrics[key]) for key in ("cost/parameters", "cost/training_flops")
    )
    label = load_study("wanare").arms[arm].label
    spent = f"{np.median(seconds):,.0f} ({seconds[0]:,.0f} to {seconds[-1]:,.0f})"
    row = [label, *amounts, *device, spent, shown("cost/sampling_seconds", drawn)]
    assert f"| {' | '.join(row)} |" in PAGE.splitlines()


def test_the_text_names_figures_of_the_tables() -> None:
    """Each figure of two decimals or more is in a table, or one of a few named here."""
    in_tables = "\n".join(re.findall(r"^\|.*$", PAGE, re.MULTILINE))
    text = re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE)
    (collapsed,) = (run.metrics for run in of_arm("gan_lr_2e_3") if run.seed == 21)
    known = RATES | set(re.findall(r"\d+\.\d\d+", in_tables))
    known |= {f"{collapsed[f'{name}/mse']:.5f}" for name in CRUDE}
    known |= {f"{collapsed[key]:.2f}" for key in ("fid_lenet", "val/d_real", "val/d_fake")}
    known |= set(re.findall(r"0\.00\d\d+", (ROOT / "docs" / "best.md").read_text()))
    known |= {"99.56", "0.05"}  # the classifier's accuracy, the most of a converged search
    assert set(re.findall(r"\d+\.\d\d+", text)) <= known
    assert collapsed["missing_digits"] == 9


def test_what_the_text_counts() -> None:
    """The sentences that count runs are true of these runs."""
    four = ("gan_baseline", "gan_final", "vae_baseline", "vae_final")
    runs = [run for arm in four for run in of_arm(arm)]
    assert len(runs) == 40
    assert not any(run.failed for run in runs)
    shares = {run.seed: run.metrics["inversion/control_share"] for run in of_arm("gan_final")}
    assert [seed for seed, share in shares.items() if share > 0.05] == [24]

    def distances(arm: str) -> dict[int, float]:
        return {run.seed: run.metrics["fid_lenet"] for run in of_arm(arm)}

    later, earlier = distances("gan_final"), distances("gan_final_50")
    assert all(later[seed] < earlier[seed] for seed in later)
    later = distances("gan_final_no_dropout")
    earlier = distances("gan_final_50_no_dropout")
    assert all(later[seed] > earlier[seed] for seed in later)


def test_the_advice_against_a_collapse_counts_right() -> None:
    page = " ".join((ROOT / "docs" / "curves.md").read_text().split())

    def failures(*arms: str) -> tuple[int, int]:
        runs = [run for arm in arms for run in of_arm(arm)]
        return sum(run.failed for run in runs), len(runs)

    low = ("gan_lr_1e_4", "gan_lr_5e_5")
    failed, number = failures(*(f"{arm}_v2" for arm in low))
    assert failures(*low) == (0, number)
    assert f"{failed} of {number} runs failed with torch's weights, and none of {number}" in page
    assert failures("gan_lr_2e_3") == failures("gan_lr_2e_3_v2") == (6, 6)
    failed, number = failures("gan_lr_5e_4", "gan_final_50", *low)
    assert failed == 0
    assert f"none of {number} failed with He's weights" in page
