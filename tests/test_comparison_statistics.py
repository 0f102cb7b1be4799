"""Intervals against SciPy and figures by hand; verdicts in words."""

import math

import numpy as np
import pytest
from scipy import stats

from gen_models.comparison.metrics import is_measure, metric, order
from gen_models.comparison.statistics import Estimate, mean, paired, welch
from gen_models.comparison.verdicts import in_words

ONE, OTHER = [37.2, 38.9, 36.1], [28.1, 30.4, 27.5, 29.0]


def test_the_mean_of_three_by_hand() -> None:
    found = mean([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.302653
    assert found.value == 2.0
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        (mean(ONE), stats.ttest_1samp(ONE, 0)),
        (welch(ONE, OTHER), stats.ttest_ind(ONE, OTHER, equal_var=False)),
        (paired(ONE, OTHER[:3]), stats.ttest_rel(ONE, OTHER[:3])),
    ],
)
def test_intervals_are_those_of_scipy(found: Estimate, reference: object) -> None:
    interval = reference.confidence_interval(0.95)  # type: ignore[attr-defined]
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high], rel=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(5, [1, 3], size=(2000, 4, 2))
    found = [welch(list(draw[:3, 0]), list(draw[:, 1])) for draw in draws]
    assert np.mean([each.sign == 0 for each in found]) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval() -> None:
    for found in (mean([3.0]), welch([3.0], [1.0, 2.0]), paired([3.0], [1.0])):
        assert not found.has_interval
        assert found.sign == 0


def test_no_value_is_refused() -> None:
    for call in (lambda: mean([]), lambda: welch([], [1.0]), lambda: paired([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="must not be empty|zip"):
            call()


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (Estimate(-12.3, -16.5, -8.1), "lower by 12.30 [8.10, 16.50]: larger than seed noise"),
        (Estimate(12.3, 8.1, 16.5), "higher by 12.30 [8.10, 16.50]: larger than seed noise"),
        (Estimate(-1.0, -3.0, 1.0),
         "not distinguishable with 3 seeds (lower by 1.00 [-1.00, 3.00])"),
        (Estimate(-1.0), "lower by 1.00, with 3 seeds: no interval, seed noise is unknown"),
        (Estimate(0.0, 0.0, 0.0), "the same with 3 seeds"),
        (Estimate(2.0, 2.0, 2.0), "higher by 2.00, the same in every seed"),
    ],
)  # fmt: skip
def test_verdicts_in_words(difference: Estimate, says: str) -> None:
    assert in_words(metric("fid_lenet"), difference, "3 seeds") == says


def test_metrics_are_shown_with_their_unit_and_sample_size() -> None:
    assert "nats" in in_words(metric("test/loss"), Estimate(2.0, 1.0, 3.0), "3 seeds")
    quick = metric("quick/fid_lenet")
    assert quick.better == "lower"
    assert "2,000 samples" in quick.meaning
    assert metric("cost/training_flops").show(1.234e13) == "12.3 T"
    assert metric("fid_lenet").show(math.nan) == "diverged"
    assert metric("fid_lenet").show(None) == "-"
    assert metric("never/heard").show(0.123456) == "0.1235"
    keys = ["quick/fid_lenet", "zzz", "coverage", "fid_lenet"]
    assert sorted(keys, key=order) == ["fid_lenet", "coverage", "zzz", "quick/fid_lenet"]
    assert [is_measure(key) for key in ("floor/fid_lenet", "kid_lenet/low", "kid_lenet")] == [
        False, False, True,
    ]  # fmt: skip
