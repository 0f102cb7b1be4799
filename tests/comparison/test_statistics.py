"""Intervals against the textbook and numbers by hand; verdicts in words."""

import math

import numpy as np
import pytest
from scipy.stats import t

from gen_models.comparison.metrics import is_measure, metric, order
from gen_models.comparison.statistics import Estimate, mean, paired, welch
from gen_models.comparison.verdicts import in_words

ONE, OTHER = [37.2, 38.9, 36.1], [28.1, 30.4, 27.5, 29.0]


def test_the_mean_of_three_by_hand() -> None:
    found = mean([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.302653
    assert found.value == 2.0
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-6)


def test_welch_is_that_of_the_textbook() -> None:
    """Standard error and degrees of freedom by Satterthwaite 1946."""
    errors = [np.var(values, ddof=1) / len(values) for values in (ONE, OTHER)]
    weights = [e**2 / (len(v) - 1) for e, v in zip(errors, (ONE, OTHER), strict=True)]
    margin = t.ppf(0.975, sum(errors) ** 2 / sum(weights)) * math.sqrt(sum(errors))
    difference = np.mean(ONE) - np.mean(OTHER)
    found = welch(ONE, OTHER)
    assert found == pytest.approx((difference, difference - margin, difference + margin))
    assert found.sign == 1
    assert welch(OTHER, ONE).sign == -1


def test_paired_is_the_interval_of_the_differences() -> None:
    differences = np.subtract(ONE, OTHER[:3])
    margin = 4.302653 * np.std(differences, ddof=1) / math.sqrt(3)
    middle = differences.mean()
    assert paired(ONE, OTHER[:3]) == pytest.approx((middle, middle - margin, middle + margin))
    assert paired([1.0, 101.0, 201.0], [0.0, 99.0, 200.0]).low > -2.0  # Welch sees +- 160


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    for found, value in ((mean([0.1] * 3), 0.1), (welch([0.3] * 3, [0.1] * 2), 0.2)):
        assert found.low == found.value == found.high
        assert found.value == pytest.approx(value)
    one_varies = welch([1.0, 1.0, 1.0], [0.0, 0.2, 0.4])  # v1 = 0: two degrees of freedom
    assert one_varies == pytest.approx((0.8, 0.8 - 4.302653 * 0.2 / 3**0.5, 1.29683), rel=1e-4)


def test_values_that_nearly_are_the_same_are_no_warning() -> None:
    assert mean([0.1, 0.1, 0.1 + 1e-16]).value == pytest.approx(0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(5, [1, 3], size=(1000, 4, 2))
    found = [welch(list(draw[:3, 0]), list(draw[:, 1])) for draw in draws]
    assert np.mean([each.sign == 0 for each in found]) == pytest.approx(0.95, abs=0.02)


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
