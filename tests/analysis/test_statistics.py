"""Statistics against SciPy's own, published formulas and simulations of a known truth."""

import math
import warnings
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from gen_models.analysis import statistics
from gen_models.analysis.metrics import is_measure, metric, of_new_images, order

RNG = np.random.default_rng
INF = math.inf


@pytest.mark.parametrize(("count", "total"), [(0, 20), (4, 20), (20, 20), (1, 3), (137, 400)])
def test_a_share_has_the_interval_of_wilson(count: int, total: int) -> None:
    known = stats.binomtest(count, total).proportion_ci(method="wilson")
    found = statistics.wilson_interval(count, total)
    assert found == pytest.approx((count / total, known.low, known.high), abs=1e-12)


def test_fishers_test_by_hand() -> None:
    """4 of 20 against none of 20: both tails of the hypergeometric distribution."""
    one = math.comb(20, 4) * math.comb(20, 0) / math.comb(40, 4)
    assert statistics.fisher(4, 20, 0, 20) == pytest.approx(2 * one)
    assert statistics.fisher(2, 20, 2, 20) == pytest.approx(1)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (6, 20), (3, 5)])
def test_the_statistic_is_that_of_brunner_and_munzel(n: int, m: int) -> None:
    for seed in range(5):
        values = np.r_[RNG(seed).normal(0, 1, n), RNG(seed + 9).normal(0.3, 2, m).round(1)]
        below = (values < values[:, None]) + 0.5 * (values == values[:, None])
        first = np.arange(n + m) < n
        splits = np.stack([first, RNG(seed).permuted(first)])
        known = [stats.brunnermunzel(values[each], values[~each]).statistic for each in splits]
        found = statistics.brunner_munzel(splits, below)
        assert found == pytest.approx(known)


def by_all_splits(one: list[float], other: list[float]) -> float:
    """The two-sided p over every way to deal the runs, with SciPy's statistic."""
    values = np.array([*one, *other])

    def statistic(chosen: tuple[int, ...]) -> float:
        rest = [index for index in range(len(values)) if index not in chosen]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(stats.brunnermunzel(values[list(chosen)], values[rest]).statistic)

    at_hand = statistic(tuple(range(len(one))))
    all_splits = [statistic(each) for each in combinations(range(len(values)), len(one))]
    more = np.mean([each >= at_hand - 1e-9 for each in all_splits])
    less = np.mean([each <= at_hand + 1e-9 for each in all_splits])
    return min(1.0, 2 * min(more, less))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.0, 3.0, 5.0, 6.5], [2.0, 4.0, 7.0, 8.0, 9.0]),
        ([1.0, 3.0, INF, INF], [2.0, 4.0, 7.0, 8.0, INF]),
        ([1.0, 2.0, 2.0, 2.0, 3.0], [2.0, 2.0, 3.0, 3.0, 4.0]),
        ([9.0, 8.0, 1.0, 7.0, 6.0, 5.0], [2.0, 2.5, 3.0, 10.0]),
    ],
)
def test_p_is_counted_over_all_splits(one: list[float], other: list[float]) -> None:
    assert statistics.permutation_p(one, other) == pytest.approx(by_all_splits(one, other))


def test_p_is_drawn_where_there_are_too_many_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = list(RNG(5).normal(0, 1, 9)), list(RNG(6).normal(0.9, 1, 9))
    exact = statistics.permutation_p(one, other)
    monkeypatch.setattr(statistics, "ENUMERATED", math.comb(18, 9) - 1)
    drawn = statistics.permutation_p(one, other, 9_000)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.01)
    monkeypatch.setattr(statistics, "ENUMERATED", 2**9 - 1)
    assert statistics.paired_superiority(one, other).p == pytest.approx(
        by_all_flips(one, other), abs=0.01
    )


def test_three_against_three_never_decide() -> None:
    assert statistics.least_p(3, 3) == pytest.approx(0.1)
    assert statistics.least_p(4, 4) == pytest.approx(0.0286, abs=1e-4)
    assert statistics.superiority([1, 2, 3, 4], [5, 6, 7, 8]).p == statistics.least_p(4, 4)


def test_the_interval_is_the_wider_of_newcombes_and_wilsons() -> None:
    z, n, one = 1.959964, 6, [1.0, 2.0, 3.0, 4.0, 5.0, 20.0]
    other = [float(value) for value in range(6, 16)]
    share = 50 / 60  # of pairs won
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    found = statistics.superiority_interval(one, other)
    assert found == pytest.approx((share, middle - half, middle + half), abs=1e-6)
    low, high = statistics.newcombe_interval(share, 6, 10)
    assert high - low < 2 * half


def test_the_interval_covers_the_truth_where_a_fifth_of_one_arm_fails() -> None:
    """Newcombe's alone covers 77 % there."""
    rng, covered, newcombe = RNG(11), [], []
    for _ in range(400):
        one, other = np.where(rng.random(10) < 0.2, INF, -9.0), rng.normal(0, 1, 10)
        _, low, high = statistics.superiority_interval(one, other)
        covered.append(low <= 0.8 <= high)
        low, high = statistics.newcombe_interval(
            statistics.probability_of_superiority(one, other), len(one), len(other)
        )
        newcombe.append(low <= 0.8 <= high)
    assert np.mean(newcombe) < 0.9
    assert np.mean(covered) >= 0.93


def test_p_of_three_that_are_all_better_than_three_is_counted() -> None:
    """Two of the twenty ways to deal six runs are as extreme."""
    found = statistics.superiority([1, 2, 3], [4, 5, 6])
    assert found.theta == 1
    assert found.p == pytest.approx(2 / 20)
    assert statistics.superiority([4, 5, 6], [1, 2, 3]).theta == 0
    assert statistics.superiority([1.0] * 5, [1.0] * 4)[::3] == (0.5, 1.0)


def test_theta_counts_half_of_the_ties_and_failures_as_the_worst() -> None:
    assert statistics.probability_of_superiority([1, 2, INF], [2, INF]) == pytest.approx(
        (1 + 1 + 0.5 + 1 + 0 + 0.5) / 6
    )
    assert statistics.share_of_pairs_won([1, 2, INF], [2, 2, INF]).value == pytest.approx(2 / 3)


def test_four_collapsed_of_twenty_do_not_hide_the_rest() -> None:
    """Where Welch sees nothing: 16 of 20 far better, the others lost; the test has to see it."""
    seen, welch = [], []
    for seed in range(20):
        one = np.r_[RNG(seed).normal(9, 1, 16), [98.0] * 4]
        other = RNG(seed + 100).normal(26, 1, 20)
        scores = np.where(one > 60, INF, one)
        seen.append(statistics.superiority(scores, other, 1000).p < 0.05)
        welch.append(stats.ttest_ind(one, other, equal_var=False).pvalue < 0.05)
    assert all(seen)
    assert not any(welch)


def test_without_a_difference_the_test_keeps_its_level() -> None:
    """Also where a fifth, on average, has failed on both sides."""
    rng, found = RNG(3), []
    for _ in range(300):
        one, other = (np.where(rng.random(7) < 0.2, INF, rng.normal(size=7)) for _ in "ab")
        found.append(statistics.superiority(one, other).p < 0.05)
    assert 0.02 <= np.mean(found) <= 0.085


@pytest.mark.parametrize("shift", [0.0, 0.8, 2.0])
def test_the_interval_of_theta_covers_the_truth(shift: float) -> None:
    truth = stats.norm.cdf(shift / math.sqrt(2))
    rng, covered = RNG(4), []
    for _ in range(400):
        one, other = rng.normal(0, 1, 20), rng.normal(shift, 1, 20)
        low, high = statistics.newcombe_interval(
            statistics.probability_of_superiority(one, other), 20, 20
        )
        covered.append(low <= truth <= high)
    assert 0.91 <= np.mean(covered) <= 0.995


def test_the_interval_of_theta_is_newcombes() -> None:
    """Both ends are z of their own standard errors away (Newcombe 2006, method 5)."""
    n, m, theta = 10, 15, 0.8
    for end in statistics.newcombe_interval(theta, n, m):
        more = (n + m) / 2 - 1
        variance = end * (1 - end) * (1 + more * (1 - end) / (2 - end) + more * end / (1 + end))
        assert abs(theta - end) / math.sqrt(variance / (n * m)) == pytest.approx(1.959964)


def test_pairs_are_tested_by_all_their_sign_flips() -> None:
    """Levels that differ more between the seeds than within a pair; 2 of 2^8 flips are as far."""
    one = np.arange(8) * 10.0
    found = statistics.paired_superiority(one, one + 1)
    assert found.theta == 1
    assert found.p == pytest.approx(2 / 2**8)
    assert statistics.superiority(one, one + 1).p > 0.5
    assert statistics.paired_superiority(one, one)[::3] == (0.5, 1.0)


def by_all_flips(one: list[float], other: list[float]) -> float:
    """The p over every combination of signs."""
    ranks = stats.rankdata(np.r_[one, other])
    difference = ranks[: len(one)] - ranks[len(one) :]
    sums = [abs(np.dot(signs, difference)) for signs in product((-1, 1), repeat=len(one))]
    return float(np.mean(np.array(sums) >= abs(difference.sum()) - 1e-9))


def test_sign_flips_are_those_of_every_combination() -> None:
    one, other = list(RNG(5).normal(0, 1, 8)), list(RNG(6).normal(0.5, 1, 8))
    known = by_all_flips(one, other)
    assert statistics.paired_superiority(one, other).p == pytest.approx(known)


def test_a_share_of_runs_has_the_sign_test() -> None:
    found = statistics.against_constant([1.0] * 9 + [INF], 5.0)
    assert found.theta == 0.9
    assert found.p == pytest.approx(2 * 11 / 2**10)


def test_a_reduction_is_that_of_the_means_of_the_middle_halves() -> None:
    found = statistics.reduction([100, 1, 2, 3, 4, 5, 6, -50], [7.0] * 8)
    assert found.value == pytest.approx(1 - 3.5 / 7)


def test_a_reduction_covers_the_truth() -> None:
    rng, covered = RNG(7), []
    for _ in range(100):
        one, other = rng.normal(8, 1, 20), rng.normal(10, 1, 20)
        found = statistics.reduction(one, other)
        covered.append(found.low <= 0.2 <= found.high)
    assert np.mean(covered) >= 0.86
    assert statistics.reduction([1] * 4, [2] * 4) == (0.5, 0.5, 0.5)


def test_pairs_are_drawn_together() -> None:
    level = np.linspace(1, 100, 20)
    found = statistics.reduction(0.9 * level, level, paired=True)
    assert found == pytest.approx((0.1, 0.1, 0.1))
    apart = statistics.reduction(0.9 * level, level)
    assert apart.high - apart.low > 0.3


def test_triples_of_an_image_and_two_runs_are_counted() -> None:
    one, other = np.array([[1.0, 5.0], [2.0, 2.0]]), np.array([[3.0, 4.0], [INF, INF]])
    wins = [a[i] < b[i] for a in one for b in other for i in range(2)]
    assert statistics.share_won(one, other).theta == pytest.approx(np.mean(wins))


def test_the_crossed_bootstrap_knows_of_runs_and_of_images() -> None:
    """The truth is 1/2; an interval over images alone would hardly ever cover it."""
    rng, covered = RNG(9), []
    for _ in range(60):
        runs = [rng.normal(size=(8, 1)) + 0.3 * rng.normal(size=(8, 40)) for _ in range(2)]
        found = statistics.share_won(*runs)
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) >= 0.85


def test_pairs_won_and_lost_by_more_are_not_told_apart() -> None:
    """11 of 20 won by a little, 9 lost by much: share and ranks disagree."""
    other = [float(value) for value in range(20)]
    one = [value - 0.1 if place < 11 else value + 40 for place, value in enumerate(other)]
    found = statistics.paired_superiority(one, other)
    assert (found.theta, found.p) == (11 / 20, 1.0)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("key", "new"),
    [
        ("fid_lenet", True), ("coverage", True), ("features/lenet_1", True),
        ("quick/missing_digits", True), ("val/fid_lenet", True),
        ("encoder/mse", False), ("quick/encoder/mse", False), ("inversion/ssim", False),
        ("test/loss", False), ("val/loss", False), ("cost/seconds", False),
        ("likelihood/iwae", False), ("latent_dim", False),
    ],
)  # fmt: skip
def test_which_metrics_are_of_new_images(key: str, new: bool) -> None:
    assert of_new_images(key) is new


def test_metrics_are_shown_with_their_unit_and_sample_size() -> None:
    assert metric("test/recon").unit == "nats"
    quick = metric("quick/fid_lenet")
    assert quick.better == "lower"
    assert "2,000 new images" in quick.meaning
    assert metric("cost/training_flops").show(1.234e13) == "12.3 T"
    assert metric("fid_lenet").show(math.nan) == "diverged"
    assert metric("fid_lenet").show(None) == "-"
    assert metric("never/heard").show(0.123456) == "0.1235"
    keys = ["quick/fid_lenet", "zzz", "coverage", "fid_lenet"]
    assert sorted(keys, key=order) == ["fid_lenet", "coverage", "zzz", "quick/fid_lenet"]
    assert [is_measure(key) for key in ("floor/fid_lenet", "kid_lenet/low", "kid_lenet")] == [
        False, False, True,
    ]  # fmt: skip
