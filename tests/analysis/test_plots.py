"""The plots of a page: each run where its value is."""

import math
import re
from pathlib import Path

import pytest
from synthetic import make_run

from gen_models.analysis import plots
from gen_models.analysis.groups import Summary
from gen_models.analysis.page import render
from gen_models.comparison.compare import compare
from gen_models.comparison.report import write_report

BOUNDS = {"floor/fid_lenet": 0.2, "gaussian/fid_lenet": 59.4, "noise/fid_lenet": 999.0}


def summary(*values: float, failed: tuple[int, ...] = (), key: str = "fid_lenet") -> Summary:
    return Summary(key, dict(enumerate(values)), frozenset(failed))


def values(places: list[float], numbers: list[plots.Labelled]) -> list[float]:
    """What stands at some places, by the numbers of the axis."""
    (low, left), (high, right) = ((float(text), at) for text, at in (numbers[0], numbers[-1]))
    return [low + (at - left) / (right - left) * (high - low) for at in places]


def test_a_strip_says_what_it_shows() -> None:
    rows = [
        plots.Row("GAN", 0, summary(8.0, 10.0, 100.0, failed=(2,))),
        plots.Row("VAE", 1, summary(30.0, 31.0, 35.0, math.nan)),
        plots.Row("flow", 2, summary(90.0, 95.0, failed=(0, 1))),
    ]
    strip = plots.strip(rows, "fid_lenet", BOUNDS)
    assert strip is not None
    texts = ["9.00 (1 of 3 failed)", "31.00 (1 of 4 diverged)", "all 2 failed"]
    assert [row.text for row in strip.rows] == texts
    assert "GAN 9.00 (1 of 3 failed)" in strip.alt
    assert [words for words, _ in strip.bounds] == [
        "real images 0.20", "crude Gaussian 59.40", "pixel noise 999.00",
    ]  # fmt: skip
    places = [strip.axis.place(value) for value in (100.0, *BOUNDS.values())]
    assert [0 <= place <= 100 for place in places] == [True, True, True, False]


def test_a_strip_without_a_number_is_none() -> None:
    assert plots.strip([plots.Row("GAN", 0, summary(math.nan))], "fid_lenet", {}) is None


@pytest.mark.parametrize("numbers", [(3.0,), (0.0, 0.0), (-5.0, 5.0), (0.0043, 0.0048), (1e4, 3.0)])
def test_an_axis_holds_its_values_between_its_numbers(numbers: tuple[float, ...]) -> None:
    place, ticks = plots.linear(numbers)
    assert 2 <= len(ticks) <= plots.NUMBERS + 2
    assert all(0 <= place(number) <= 100 for number in numbers)
    assert ticks[0][1] == 0
    assert ticks[-1][1] == 100


def test_equal_ratios_are_equally_far_on_a_logarithmic_axis() -> None:
    place, ticks = plots.logarithmic([10.0, 1000.0], str)
    assert place(100.0) == pytest.approx(50)
    assert ticks[0] == ("10.0", 0.0)
    assert plots.logarithmic([60.0, 80.0], str).numbers == [("60.0", 0.0), ("80.0", 100.0)]
    assert plots.logarithmic([60.0], str).numbers == [("60.0", 0.0)]
    places = dict(plots.settings_axis({1e-4: "a", 1e-3: "b", 1e-2: "c"}, numeric=True).numbers)
    assert places == pytest.approx({"a": 0, "b": 50, "c": 100})


def test_words_stand_in_their_order() -> None:
    axis = plots.settings_axis({"relu": "relu", "tanh": "tanh"}, numeric=False)
    assert axis.numbers == [("relu", 25), ("tanh", 75)]


def test_a_sweep_marks_what_diverged_above_its_setting(tmp_path: Path) -> None:
    for lr, fid in (("1e-4", 9.0), ("2e-4", 8.0), ("2e-3", None)):
        for seed in (0, 1):
            status = "done" if fid else "diverged"
            make_run(tmp_path / "runs", "model=gan", f"lr={lr}", f"seed={seed}", status=status,
                     fid=fid)  # fmt: skip
    comparison = compare([tmp_path / "runs"], "lr")
    plot = comparison.sweeps[0].plot()
    assert plot is not None
    (series,) = plot.series
    assert series.diverged == [2e-3]
    assert series.bars == [((1e-4, 9.0), (2e-4, 8.0))]
    assert series.sound == [(1e-4, 9.0)] * 2 + [(2e-4, 8.0)] * 2
    assert "0.002 diverged (2 of 2 diverged)" in plot.alt
    write_report(comparison, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count(">✕</text>") == 1
    marks = re.findall(r'<text x="([\d.]+)%" y="([\d.]+)%" dy="4" class="mark">●</text>', page)
    assert values([100 - float(y) for _, y in marks], plot.y.numbers) == pytest.approx(
        [9, 9, 8, 8], abs=0.01
    )
    assert [float(x) for x, _ in marks] == [plot.x.place(x) for x, _ in series.sound]


def test_the_page_follows_its_style_sheet(tmp_path: Path) -> None:
    """Every colour of a plot is a variable, light or dark; nothing is loaded from elsewhere."""
    for seed, seconds in enumerate((10.0, 100.0)):
        make_run(tmp_path / "runs", "model=gan", f"seed={seed}", seconds=seconds)
    write_report(compare([tmp_path / "runs"]), tmp_path)
    page = (tmp_path / "report.html").read_text()
    figures = re.findall(r'<figure class="chart".*?</figure>', page, re.DOTALL)
    assert len(figures) > 3
    assert not any(re.search(r"#[0-9a-f]{6}", figure) for figure in figures)


def test_a_page_that_lacks_a_value_is_not_made() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("gen_models.comparison", "report", {})
