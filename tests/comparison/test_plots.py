"""The plots of the page: what is drawn where, in the colours of the page, the same every time."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_run

from gen_models.comparison.compare import compare
from gen_models.comparison.plots import (
    ROW,
    TEXT,
    PlotRow,
    cost_plot,
    runs_plot,
    seeds_plot,
    sweep_plot,
)
from gen_models.comparison.table import Group

DOT = (
    r'<use href="#\w+" x="([\d.]+)" y="[\d.]+" style="fill: var\(--c(\d)\); stroke: var\(--paper\)'
)
HOLLOW = (
    r'<use href="#\w+" x="([\d.]+)" y="[\d.]+" style="fill: var\(--paper\); stroke: var\(--c(\d)\)'
)
BOUNDS = {"floor/fid_lenet": 0.2, "gaussian/fid_lenet": 59.4, "noise/fid_lenet": 999.0}


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)<", svg)


def ticks(svg: str) -> dict[float, float]:
    """Numbers under the x axis -> where they stand."""
    pattern = r'<text style="font-size: 11px; text-anchor: middle[^>]* x="([\d.]+)"[^>]*>([\d.]+)<'
    return {float(text): float(x) for x, text in re.findall(pattern, svg)}


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    for seed, fid in enumerate((8.0, 10.0, 100.0)):  # the last one failed
        make_run(tmp_path, "model=gan", f"seed={seed}", fid=fid)
        make_run(tmp_path, "model=vae", f"seed={seed}", fid=30.0 + seed)
    return compare([tmp_path]).groups


def test_every_run_is_a_dot_where_its_value_is(groups: list[Group]) -> None:
    svg = seeds_plot(groups, "fid_lenet", {})
    (low, left), (high, right) = list(ticks(svg).items())[:2]

    def values(dots: list[tuple[str, str]]) -> list[tuple[str, float]]:
        scale = (high - low) / (right - left)
        return [(color, low + (float(x) - left) * scale) for x, color in dots]

    told = values(re.findall(DOT, svg))
    assert [color for color, _ in told] == ["0"] * 2 + ["1"] * 3
    assert [value for _, value in told] == pytest.approx([8, 10, 30, 31, 32], abs=0.2)
    (hollow,) = values(re.findall(HOLLOW, svg))
    assert hollow == ("0", pytest.approx(100, abs=0.2))  # it failed, and is shown


def test_a_long_label_has_a_line_of_its_own(groups: list[Group]) -> None:
    for label, apart in (("GAN", 0), ("GAN" * 20, TEXT)):
        rows = [PlotRow(label, "9.00 (failed)", 0, [8.0, 10.0], []), PlotRow("next", "", 0, [], [])]
        svg = runs_plot(rows, "fid_lenet", {})
        heights = [
            float(re.findall(rf'y="([\d.]+)"[^>]*>{re.escape(text)}<', svg)[0])
            for text in (label, "9.00 (failed)", "next")
        ]
        assert np.diff(heights) == pytest.approx([apart, ROW], abs=0.01)


def test_floor_and_ceilings_are_dashed_and_told_in_words(groups: list[Group]) -> None:
    svg = seeds_plot(groups, "fid_lenet", BOUNDS)
    assert {"real images: 0.20", "PCA Gaussian: 59.40"} < set(words(svg))
    assert "pixel noise: 999.00 (off the scale)" in words(svg)
    assert len(re.findall("stroke-dasharray", svg)) == 2 + 3  # in the plot, in its legend
    assert max(ticks(svg)) < 200


def test_a_plot_follows_the_page_and_is_the_same_every_time(groups: list[Group]) -> None:
    svg = seeds_plot(groups, "fid_lenet", BOUNDS)
    assert svg == seeds_plot(groups, "fid_lenet", BOUNDS)
    assert not re.search('#[0-9a-f]{6}[;"]|font-family|<style|<metadata|<!--|clip-path', svg)
    assert svg.startswith('<svg viewBox="0 0 360 ')
    assert svg.endswith("</svg>")
    assert "GAN final 9.00 (1 of 3 failed)" in re.findall('aria-label="([^"]*)"', svg)[0]
    other = seeds_plot(groups, "coverage", {})
    assert not set(re.findall(' id="([^"]*)"', svg)) & set(re.findall(' id="([^"]*)"', other))


def test_costs_are_on_a_logarithmic_axis(tmp_path: Path) -> None:
    for seed, seconds in enumerate((10.0, 100.0, 1000.0)):
        make_run(tmp_path, "model=gan", f"seed={seed}", seconds=seconds)
    make_run(tmp_path, "model=vae", seconds=200.0)
    svg = cost_plot(compare([tmp_path]).groups, "cost/seconds", "fid_lenet")
    x = [float(x) for x, color in re.findall(DOT, svg) if color == "0"][:3]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert {"10", "100", "1,000", "training and validation, s", "GAN final"} <= set(words(svg))
    shapes = re.findall('<path id="[^"]*" d="([^"]*)"', svg)
    assert len(set(shapes)) == 2  # a dot and a square


def test_no_number_is_no_plot(tmp_path: Path) -> None:
    make_run(tmp_path, "model=gan", metrics={"coverage": math.nan, "cost/training_flops": 0.0})
    groups = compare([tmp_path]).groups
    assert seeds_plot(groups, "coverage", {}) == ""
    assert cost_plot(groups, "cost/training_flops", "fid_lenet") == ""


def test_a_sweep_marks_what_diverged_above_its_setting(tmp_path: Path) -> None:
    for lr, fid in (("1e-4", 9.0), ("2e-4", 8.0), ("2e-3", None)):
        for seed in (0, 1):
            status = "done" if fid else "diverged"
            make_run(tmp_path, "model=gan", f"lr={lr}", f"seed={seed}", status=status, fid=fid)
    svg = sweep_plot(compare([tmp_path], "lr").sweeps[0])
    places = ticks(svg)
    assert list(places) == [0.0001, 0.0002, 0.002]
    assert (places[0.002] - places[0.0002]) == pytest.approx(
        (places[0.0002] - places[0.0001]) / math.log10(2), rel=0.01
    )
    crosses = re.findall(
        r'x="([\d.]+)" y="([\d.]+)" style="fill: var\(--c0\); stroke: var\(--c0\)', svg
    )
    assert [float(x) for x, _ in crosses] == pytest.approx([places[0.002]], abs=0.1)
    assert "diverged" in words(svg)
    assert "0.002 diverged" in svg
