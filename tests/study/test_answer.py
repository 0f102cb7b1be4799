"""Each kind of claim comes out as its rule says, from tables made to be so."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import made_up

from gen_models.analysis.runs import Run
from gen_models.errors import UserError
from gen_models.study.answer import Answer, answers, combine
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence
from gen_models.study.load import load_study
from gen_models.study.table import Table, of_study
from gen_models.study.words import lines, plain, sentence, verdict

SEEDS = list(range(10, 18))
TRAIN = {
    "one": "model=gan lr=1e-3",
    "other": "model=gan",
    "third": "model=vae",
    "early": "model=gan lr=1e-3 max_epochs=5",
}


def study(folder: Path, **contrast: Any) -> Study:
    """A study of one claim about the arms one, other and third."""
    given = {"kind": "better", "arms": "[one, other]", "metrics": "[fid_lenet]"} | contrast
    lines = "\n".join(f"    {key}: {value}" for key, value in given.items())
    (folder / "s.yaml").write_text(
        f"question: q\nseeds: {SEEDS}\n"
        f"arms: {{one: {TRAIN['one']}, other: {TRAIN['other']}, third: {TRAIN['third']},\n"
        "  early: {of: one, at_epoch: 5}}\n"
        f"claims:\n  - name: D1\n    says: s\n{lines}\n"
    )
    return load_study(folder / "s.yaml")


def table(images: dict[str, np.ndarray] | None = None, **arms: dict[str, list[float]]) -> Table:
    """Runs of arms: the values of each metric by seed; a NaN is a run that diverged."""
    rows = []
    for arm, metrics in arms.items():
        for place, seed in enumerate(SEEDS[: len(next(iter(metrics.values())))]):
            numbers = {key: values[place] for key, values in metrics.items()}
            lost = any(np.isnan(value) for value in numbers.values())
            made = {"arm": arm, "seed": str(seed), "model": arm, "train": TRAIN[arm]}
            made |= {"code": "c", "training_precision": "p"}
            made["status"] = "diverged" if lost else "done"
            more = {"gaussian/fid_lenet": 59.0, "gaussian/coverage": 0.03, "coverage": 0.0}
            more |= {"inversion/control_share": 0.01}
            rows.append(Run(made, {} if lost else more | numbers))
    return Table(rows, images or {}, {})


def answer(given: Study, runs: Table) -> Answer:
    (found,) = all_answers(given, runs)
    return found


def all_answers(given: Study, runs: Table) -> list[Answer]:
    return answers(Evidence(given, of_study(given, runs)))


def near(level: float, count: int = 8, spread: float = 0.1) -> list[float]:
    return [level + spread * (place - count / 2) for place in range(count)]


def fid(values: list[float]) -> dict[str, list[float]]:
    return {"fid_lenet": values}


@pytest.mark.parametrize(
    ("level", "outcome"), [(8.0, "supported"), (12.0, "contradicted"), (10.02, "not decided")]
)
def test_better(level: float, outcome: str, tmp_path: Path) -> None:
    found = answer(study(tmp_path), table(one=fid(near(level)), other=fid(near(10.0))))
    assert found.outcome == outcome
    assert not found.interim


def test_of_a_metric_that_should_be_high_the_higher_is_better(tmp_path: Path) -> None:
    runs = table(
        one={"coverage": near(0.9, spread=0.01)}, other={"coverage": near(0.5, spread=0.01)}
    )
    found = answer(study(tmp_path, metrics="[coverage]"), runs)
    assert found.outcome == "supported"
    change = found.parts[0].change
    assert change is not None
    assert change.value == pytest.approx(0.8, abs=0.05)
    assert change.low < change.value < change.high


def test_failed_runs_are_the_worst_in_metrics_of_new_images_only(tmp_path: Path) -> None:
    metrics = {"fid_lenet": [8.0] * 5 + [70.0] * 3, "inversion/mse": [0.01] * 8}
    metrics |= {"coverage": [0.9] * 5 + [0.01] * 3}
    other = {"fid_lenet": [10.0] * 8, "inversion/mse": [0.02] * 8, "coverage": [0.5] * 8}
    given = study(tmp_path, metrics="[fid_lenet, coverage, inversion/mse]")
    parts = answer(given, table(one=metrics, other=other)).parts
    assert [part.test.theta for part in parts] == pytest.approx([5 / 8, 5 / 8, 1])
    assert [part.one.lost for part in parts] == [[15, 16, 17], [15, 16, 17], []]
    assert [part.one.median for part in parts] == [8.0, 0.9, 0.01]


def test_a_run_that_diverged_is_the_worst_in_every_metric(tmp_path: Path) -> None:
    one = {"inversion/mse": [0.01] * 6 + [np.nan] * 2}
    found = answer(
        study(tmp_path, metrics="[inversion/mse]"),
        table(one=one, other={"inversion/mse": [0.02] * 8}),
    )
    assert found.parts[0].test.theta == pytest.approx(6 / 8)


def test_four_runs_are_needed_and_fewer_than_planned_are_interim(tmp_path: Path) -> None:
    given = study(tmp_path)
    found = answer(given, table(one=fid([8.0] * 3), other=fid([10.0] * 8)))
    assert found.outcome == "not answered"
    assert found.missing == ["one needs at least 4 runs, and has 3 of 8"]
    found = answer(given, table(one=fid(near(8.0, 4)), other=fid(near(10.0))))
    assert found.interim
    assert found.parts[0].test.theta == 1


def test_the_same_runs_at_two_epochs_are_paired_by_seed(tmp_path: Path) -> None:
    levels = [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0]  # a spread that hides a step of 1
    runs = {"one": fid([level - 1 for level in levels]), "early": fid(levels)}
    found = answer(study(tmp_path, arms="[one, early]"), table(**runs))
    assert found.parts[0].paired
    assert found.outcome == "supported"
    runs["other"] = runs.pop("early")
    assert answer(study(tmp_path), table(**runs)).outcome == "not decided"


@pytest.mark.parametrize(("level", "fits"), [(4.9, True), (5.5, False)])
def test_far_is_half_of_the_median(level: float, fits: bool, tmp_path: Path) -> None:
    given = study(tmp_path, word="far", at_least=0.5)
    found = answer(
        given, table(one=fid(near(level, spread=0.01)), other=fid(near(10.0, spread=0.01)))
    )
    assert (found.outcome, found.fits) == ("supported", fits)


@pytest.mark.parametrize(("level", "fits"), [(9.5, True), (8.5, False), (9.05, False)])
def test_a_little_is_an_interval_within_ten_percent(
    level: float, fits: bool, tmp_path: Path
) -> None:
    given = study(tmp_path, word="a little", at_most=0.1)
    found = answer(given, table(one=fid(near(level)), other=fid(near(10.0))))
    assert (found.outcome, found.fits) == ("supported", fits)


@pytest.mark.parametrize(
    ("level", "outcome"), [(9.9, "supported"), (10.5, "supported"), (9.5, "contradicted")]
)
def test_not_better_by_two_percent(level: float, outcome: str, tmp_path: Path) -> None:
    given = study(tmp_path, kind="not_better", margin=0.02)
    runs = table(one=fid(near(level, spread=0.01)), other=fid(near(10.0, spread=0.01)))
    assert answer(given, runs).outcome == outcome


@pytest.mark.parametrize(
    ("level", "outcome"), [(9.0, "supported"), (11.0, "contradicted"), (10.0, "not decided")]
)
def test_best_of_all(level: float, outcome: str, tmp_path: Path) -> None:
    given = study(tmp_path, kind="best", arms="[one, other, third]")
    runs = table(one=fid(near(level)), other=fid(near(30.0)), third=fid(near(10.0)))
    found = answer(given, runs)
    assert found.outcome == outcome
    runner_up = found.parts[0].other
    assert runner_up is not None
    assert runner_up.arm == "third"
    assert [part.other.label for part in found.parts if part.other] == ["third", "other"]


def test_an_arm_of_failures_is_not_the_best(tmp_path: Path) -> None:
    given = study(tmp_path, kind="best", arms="[one, other, third]")
    runs = table(one=fid([1.0] + [99.0] * 7), other=fid(near(30.0)), third=fid(near(20.0)))
    assert answer(given, runs).outcome == "contradicted"


def test_arms_that_are_alike_seldom_contradict_that_one_is_the_best(tmp_path: Path) -> None:
    given, rng = study(tmp_path, kind="best", arms="[one, other, third]"), np.random.default_rng(3)
    found = []
    for _ in range(100):
        arms = {arm: fid(list(rng.normal(10, 1, 8))) for arm in ("one", "other", "third")}
        found.append(answer(given, table(**arms)).outcome)
    assert found.count("contradicted") <= 10  # 5 expected at most
    assert found.count("supported") <= 5
    assert found.count("not decided") < 100


def test_the_best_is_told_with_its_clearest_rival(tmp_path: Path) -> None:
    given = study(tmp_path, kind="best", arms="[one, other, third]")
    runs = table(one=fid(near(12.0)), other=fid(near(10.0)), third=fid(near(30.0)))
    text = "Other beats one in all pairs of runs: distance to real images 9.95 against 11.95."
    assert sentence(answer(given, runs)) == text


def test_runs_that_all_failed_are_no_evidence_against_a_claim(tmp_path: Path) -> None:
    lost = fid([70.0] * 8)
    found = answer(study(tmp_path), table(one=lost, other=lost))
    assert found.outcome == "not decided"
    assert lines(found)[0][-1] == "neither"
    both = answer(
        study(tmp_path, arms="[one, third, other]"), table(one=lost, third=lost, other=lost)
    )
    assert sentence(both).startswith("One and other cannot be told apart: ")


def test_a_part_with_a_margin_is_never_told_as_worse(tmp_path: Path) -> None:
    """1 % lower in each run, where the margin is 2 %."""
    given = study(tmp_path, kind="not_better", margin=0.02)
    runs = table(one=fid(near(9.9, spread=0.01)), other=fid(near(10.0, spread=0.01)))
    (part,) = answer(given, runs).parts
    numbers = "distance to real images 9.89 against 10.00."
    assert plain(part) == f"One beats other by 2 % or more in 0 % of pairs of runs: {numbers}"


def test_the_word_is_of_the_part_that_decides_whether_it_fits(tmp_path: Path) -> None:
    given = study(
        tmp_path, arms="[one, other]", metrics="[fid_lenet]",
        parts="[{word: hugely, at_least: 0.1}, {metrics: [test/loss], word: far, at_least: 0.9}]",
    )  # fmt: skip
    one, other = ({"fid_lenet": near(level), "test/loss": near(level)} for level in (8.0, 10.0))
    assert verdict(answer(given, table(one=one, other=other))) == 'supported, but not "far"'
    lost = {key: [np.nan] * 8 for key in one}
    assert verdict(answer(given, table(one=one, other=lost))) == "supported"


def test_images_are_counted_over_runs_of_both(tmp_path: Path) -> None:
    given = study(tmp_path, kind="wins", metrics="[encoder/mse]", other_metric="inversion/mse",
                  word="consistently", at_least=0.95)  # fmt: skip
    rng = np.random.default_rng(0)
    images = {f"one/{seed}/encoder/mse": rng.uniform(1, 2, 64) for seed in SEEDS}
    images |= {f"other/{seed}/inversion/mse": rng.uniform(2, 3, 64) for seed in SEEDS}
    runs = table(images, one={"encoder/mse": [1.5] * 8}, other={"inversion/mse": [2.5] * 8})
    found = answer(given, runs)
    assert (found.outcome, found.fits) == ("supported", True)
    few = table(images, one={"encoder/mse": [1.5] * 4}, other={"inversion/mse": [2.5] * 4})
    assert answer(given, few).p == pytest.approx(2 / 70)  # all images won, by four runs of each
    for seed in SEEDS[:3]:
        images[f"other/{seed}/inversion/mse"] = rng.uniform(0.5, 2.2, 64)
    found = answer(given, runs)
    assert (found.outcome, found.fits) == ("supported", False)
    del images["one/10/encoder/mse"]
    assert answer(given, runs).missing == ["encoder/mse by image of one is missing for seed 10"]


@pytest.mark.parametrize(
    ("kind", "level", "outcome"),
    [
        ("beats_gaussian", 8.0, "supported"),
        ("beats_gaussian", 70.0, "contradicted"),
        ("not_beats_gaussian", 8.0, "contradicted"),
        ("not_beats_gaussian", 70.0, "supported"),
    ],
)
def test_the_gaussian(kind: str, level: float, outcome: str, tmp_path: Path) -> None:
    given = study(tmp_path, kind=kind, arms="[one]")
    assert answer(given, table(one=fid(near(level)))).outcome == outcome


def test_several_parts_by_their_largest_p_and_their_smallest_times_their_number() -> None:
    assert combine([(0.001, True), (0.02, True)]) == ("supported", 0.02)
    assert combine([(0.001, True), (0.01, False), (0.5, False)]) == (
        "contradicted", pytest.approx(0.03),
    )  # fmt: skip


def test_holm_takes_all_claims_of_the_study(tmp_path: Path) -> None:
    """p = 2/70 alone is under 0.05; beside three claims that are not, it is not."""
    given = study(tmp_path)
    runs = table(one=fid(near(8.0, 4)), other=fid(near(10.0, 4)), third=fid(near(10.0, 4)))
    assert answer(given, runs).p == pytest.approx(2 / 70)
    idle = copy.deepcopy(given.claims[0])
    idle.contrasts[0].arms = ["third", "other"]
    given.claims += [copy.deepcopy(idle) for _ in range(3)]
    found = all_answers(given, runs)
    assert found[0].p == pytest.approx(8 / 70)
    assert found[0].outcome == "not decided"


def test_another_feature_space_that_turns_it_is_named(tmp_path: Path) -> None:
    one = fid(near(8.0)) | {"features/a": near(5.0), "features/b": near(5.0)}
    other = fid(near(10.0)) | {"features/a": near(6.0), "features/b": near(4.0)}
    (part,) = answer(study(tmp_path), table(one=one, other=other)).parts
    assert {space: each.value for space, each in part.spaces.items()} == {"a": 1.0, "b": 0.0}
    assert part.depends == ["b"]


@pytest.mark.parametrize(
    ("levels", "depends"),
    [
        ([5.0] * 8, []),  # a tie
        ([4.9] * 4 + [5.1] * 4, []),
        ([5.1] * 5 + [4.9] * 3, []),  # the other way, by less than its interval
        ([5.1] * 8, ["a"]),
    ],
)
def test_another_feature_space_has_to_decide_the_other_way(
    levels: list[float], depends: list[str], tmp_path: Path
) -> None:
    one, other = fid(near(8.0)) | {"features/a": levels}, fid(near(10.0))
    other["features/a"] = [5.0] * 8
    (part,) = answer(study(tmp_path), table(one=one, other=other)).parts
    assert part.depends == depends


def test_the_margin_counts_in_other_feature_spaces_too(tmp_path: Path) -> None:
    given = study(tmp_path, kind="not_better", margin=0.02)
    one, other = ({"fid_lenet": near(level, spread=0.001), "features/a": near(level, spread=0.001)}
                  for level in (9.9, 10.0))  # fmt: skip
    (part,) = answer(given, table(one=one, other=other)).parts
    assert (part.supports, part.depends) == (True, [])


def test_the_gaussian_is_compared_in_other_feature_spaces_too(tmp_path: Path) -> None:
    given = study(tmp_path, kind="beats_gaussian", arms="[one]")
    spaces = {"features/a": near(5.0), "features/b": [9.0] * 8, "features/pixels_50": [9.0] * 8}
    spaces["features/c"] = [9.0] * 8
    runs = table(one=fid(near(8.0)) | spaces)
    for row in runs.rows:
        row.metrics.update({f"gaussian/features/{space}": 6.0 for space in ("a", "b", "pixels_50")})
    (part,) = answer(given, runs).parts
    assert {space: each.value for space, each in part.spaces.items()} == {"a": 1.0, "b": 0.0}
    assert part.depends == ["b"]  # pixels are no bound for a Gaussian that is made of them


def test_runs_of_other_options_take_no_part(tmp_path: Path) -> None:
    runs = table(one=fid(near(8.0)), other=fid(near(10.0)))
    for row in runs.rows[:5]:
        row.record["train"] = "model=gan lr=0.5"
    found = answer(study(tmp_path), runs)
    assert found.missing == ["one needs at least 4 runs, and has 3 of 8"]


def test_an_arm_all_of_whose_runs_diverged_is_the_worst(tmp_path: Path) -> None:
    found = answer(study(tmp_path), table(one=fid([np.nan] * 8), other=fid(near(10.0))))
    assert found.outcome == "contradicted"
    found = answer(study(tmp_path), table(one=fid([np.nan] * 8)))
    assert found.missing == ["other needs at least 4 runs, and has 0 of 8"]


def test_a_metric_is_asked_of_the_arms_that_are_compared_by_it(tmp_path: Path) -> None:
    given = study(tmp_path, metrics="[encoder/mse]", other_metric="inversion/mse")
    found = answer(given, table(other={"inversion/mse": near(0.02, spread=1e-4)}))
    assert found.missing == ["one needs at least 4 runs, and has 0 of 8"]


def test_a_word_and_a_margin_need_values_above_0(tmp_path: Path) -> None:
    given = study(tmp_path, metrics="[missing_digits]", word="far", at_least=0.5)
    none = {"missing_digits": [0.0] * 8}
    assert answer(given, table(one=none, other=none)).fits is False
    given = study(tmp_path, kind="not_better", metrics="[grey_density/negative_elbo]", margin=0.1)
    bounds = [{"grey_density/negative_elbo": near(level)} for level in (-990.0, -1000.0)]
    found = answer(given, table(one=bounds[0], other=bounds[1]))
    assert found.outcome == "not answered"
    assert "of other is not above 0, so no share of it is a margin" in found.missing[0]


def test_a_part_that_does_not_decide_does_not(tmp_path: Path) -> None:
    given = study(tmp_path, parts="[{}, {arms: [third, other], decides: false}]")
    found = answer(given, table(one=fid(near(8.0)), other=fid(near(10.0)), third=fid(near(20.0))))
    assert found.outcome == "supported"
    assert [part.one.arm for part in found.others] == ["third"]
    found = answer(given, table(one=fid(near(8.0)), other=fid(near(10.0))))
    assert found.outcome == "supported"
    assert found.missing == []
    assert found.missing_others == ["third needs at least 4 runs, and has 0 of 8"]


def test_runs_that_cannot_stand_in_one_study_are_refused(tmp_path: Path) -> None:
    given = study(tmp_path)
    with pytest.raises(UserError, match="no run is there yet: --train"):
        all_answers(given, Table([], {}, {}))
    for column in ("code", "training_precision"):
        runs = table(one=fid(near(8.0)), other=fid(near(10.0)))
        runs.rows[3].record[column] = "x"
        with pytest.raises(UserError, match=f"arms.one: runs of more than one {column}.*seed 13"):
            all_answers(given, runs)


def test_two_precisions_cannot_decide_a_claim(tmp_path: Path) -> None:
    runs = table(one=fid(near(8.0)), other=fid(near(10.0)), third=fid(near(12.0)))
    for row in runs.rows:
        row.record["training_precision"] = (
            "bf16-mixed" if row.record["arm"] == "other" else "32-true"
        )
    with pytest.raises(
        UserError, match=r"D1.arms: .*32-true \(one\), bf16-mixed \(other\)"
    ) as caught:
        all_answers(study(tmp_path), runs)
    assert "\n" not in str(caught.value)
    beside = "[{arms: [one, third]}, {decides: false}]"
    found = answer(study(tmp_path, parts=beside), runs)
    assert (found.outcome, len(found.others)) == ("supported", 1)


def test_a_metric_that_one_run_lacks_is_named(tmp_path: Path) -> None:
    runs = table(one=fid(near(8.0)), other=fid(near(10.0)))
    del runs.rows[3].metrics["fid_lenet"]
    assert answer(study(tmp_path), runs).missing == ["fid_lenet of one is not measured for seed 13"]


def test_inversion_counts_only_where_it_has_converged(tmp_path: Path) -> None:
    one = {"inversion/mse": near(0.01, spread=1e-4), "inversion/control_share": [0.05] * 8}
    other = {"inversion/mse": near(0.02, spread=1e-4), "inversion/control_share": [0.01] * 8}
    given = study(tmp_path, metrics="[inversion/mse]")
    assert answer(given, table(one=one, other=other)).outcome == "supported"
    other["inversion/control_share"][2] = 0.08
    other["inversion/mse"][2] = 0.001  # it would win, if it counted
    found = answer(given, table(one=one, other=other))
    (part,) = found.parts
    assert (found.outcome, part.test.theta, found.interim) == ("supported", 1.0, False)
    assert part.other is not None
    assert (part.other.left_out, len(part.other.values)) == ([12], 7)
    other["inversion/control_share"][3:] = [0.08] * 5
    found = answer(given, table(one=one, other=other))
    assert found.outcome == "not answered"
    left = "other needs at least 4 runs whose search for codes has converged, and has 2 of 8"
    assert found.missing == [left]


def test_the_studys_own_claims_are_answered_interim_and_whole() -> None:
    given = load_study("wanare")
    found = all_answers(given, made_up(given, seeds=4, collapsed=()))
    assert all(each.interim for each in found)
    assert [each.outcome for each in found if each.outcome == "not answered"] == []
    assert [len(each.parts) for each in found] == [1, 4, 1, 2, 16, 2, 1, 6]
