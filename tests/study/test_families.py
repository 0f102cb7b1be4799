"""The study of three families: each of its claims comes out each way, and its page shows them."""

import copy
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gen_models.analysis.runs import Run
from gen_models.composition import compose_overrides
from gen_models.errors import UserError
from gen_models.study.answer import Answer, answers
from gen_models.study.definition import Study
from gen_models.study.evidence import Evidence
from gen_models.study.load import load_study
from gen_models.study.page import write_page
from gen_models.study.plan import plan
from gen_models.study.table import RECORD, Table
from gen_models.study.words import lines, notes, plain, sentence

SEEDS = [*range(1, 9)]  # eight decide every claim
FID, COVERAGE = "fid_lenet", "coverage"
GAUSSIAN = {f"gaussian/{FID}": 59.4, f"gaussian/{COVERAGE}": 0.03, f"floor/{FID}": 0.22}
LEVELS = {  # arm -> what its runs have measured
    "flow": {FID: 0.4, COVERAGE: 0.93, "encoder/mse": 1e-6, "latent_dim": 784.0},
    "gan": {FID: 0.5, COVERAGE: 0.91, "inversion/mse": 0.009, "latent_dim": 100.0},
    "vae": {FID: 1.2, COVERAGE: 0.9, "encoder/mse": 0.006, "latent_dim": 32.0}
    | {"inversion/mse": 0.0035},
    "vae_labels": {FID: 1.1, COVERAGE: 0.9, "encoder/mse": 0.006, "latent_dim": 42.0}
    | {"inversion/mse": 0.0035},
}
COSTS = {"cost/sampling_seconds": 0.1, "cost/flops_per_sample": 1e7}  # of the GAN
SECONDS = 1.0  # of the flow, for one evaluation of its network
FLOPS = 1e8


def by_steps(study: Study, distance: float) -> dict[str, float]:
    """What a flow has measured at each number of steps, the distance after eight evaluations."""
    metrics = {}
    for place in study.arms["flow"].by_steps:
        solver, count = place.strip("/").removeprefix("steps/").split("-")
        evaluations = int(count) * (2 if solver == "midpoint" else 1)
        metrics[f"{place}{FID}"] = distance * (8 / evaluations) ** 2
        metrics[f"{place}sampling_seconds"] = SECONDS * evaluations
        metrics[f"{place}flops_per_sample"] = FLOPS * evaluations
    return metrics


def table(
    study: Study, *, steps: float = 0.45, runs: int = len(SEEDS), failed: str = "", **changed: dict
) -> Table:
    """Runs of all arms.

    Args:
        study: Their study.
        steps: The flow's distance after eight evaluations.
        runs: How many there are of each arm.
        failed: An arm whose first run failed.
        changed: Arm -> metrics that differ from `LEVELS`.
    """
    rows, images = [], {}
    for arm, own in LEVELS.items():
        for seed in SEEDS[:runs]:
            rng = np.random.default_rng([len(arm), ord(arm[0]), seed])
            metrics = own | COSTS | changed.get(arm, {})
            metrics = {key: value * (1 + 0.01 * rng.random()) for key, value in metrics.items()}
            metrics["latent_dim"] = own["latent_dim"]
            metrics |= GAUSSIAN | {"missing_digits": 7.0 * (arm == failed and seed == 1)}
            metrics["inversion/control_share"] = changed.get(arm, {}).get("control", 0.01)
            if arm == "flow":
                metrics |= by_steps(study, steps * (1 + 0.01 * rng.random()))
            record = dict.fromkeys(RECORD, "") | {"arm": arm, "seed": str(seed), "model": arm}
            record |= {"train": shlex.join(study.overrides(arm)), "status": "done", "code": "c"}
            rows.append(Run(record | {"training_precision": "32-true"}, metrics))
            for key in study.metrics_by_image().get(arm, ()):
                if key in metrics:
                    images[f"{arm}/{seed}/{key}"] = metrics[key] * (1 + 0.1 * rng.random(16))
    pictures = {f"{arm}/1/new": np.full((20, 28, 28), 99, np.uint8) for arm in LEVELS}
    return Table(rows, images, pictures)


@pytest.fixture(scope="module")
def loaded() -> Study:
    """The study as its file has it."""
    return load_study("families")


@pytest.fixture
def study(loaded: Study) -> Study:
    """The study with the seeds of the tables."""
    own = copy.deepcopy(loaded)
    for arm in own.arms.values():
        arm.seeds = SEEDS
    return own


def claim(name: str, study: Study, runs: Table) -> Answer:
    """The answer to one claim alone, as if the study had no other."""
    study.claims = [each for each in study.claims if each.name == name]
    (found,) = answers(Evidence(study, runs))
    return found


def test_every_claim_can_hold(study: Study) -> None:
    found = answers(Evidence(study, table(study)))
    assert [answer.claim.name for answer in found] == ["F1", "F2", "F3", "F4", "F5"]
    assert {answer.outcome for answer in found} == {"supported"}


def test_few_runs_decide_nothing(study: Study) -> None:
    assert {each.outcome for each in answers(Evidence(study, table(study, runs=4)))} == {
        "not decided"
    }
    five = {
        each.claim.name: each.outcome for each in answers(Evidence(study, table(study, runs=5)))
    }
    assert five == dict.fromkeys(("F1", "F2", "F3", "F4"), "supported") | {"F5": "not decided"}


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"flow": {FID: 0.9}}, "contradicted"),
        ({"vae": {FID: 0.1, COVERAGE: 0.94}}, "contradicted"),
        ({"gan": {COVERAGE: 0.95}}, "contradicted"),
        ({"gan": {FID: 0.4 + 1e-4, COVERAGE: 0.93}}, "not decided"),
    ],
)
def test_nearest(changed: dict, outcome: str, study: Study) -> None:
    assert claim("F1", study, table(study, **changed)).outcome == outcome


@pytest.mark.parametrize(
    ("steps", "outcome"), [(0.45, "supported"), (0.05, "contradicted"), (0.125, "not decided")]
)
def test_few_steps(steps: float, outcome: str, study: Study) -> None:
    found = claim("F2", study, table(study, steps=steps))
    assert found.outcome == outcome
    assert [part.other.key for part in found.parts if part.other] == [
        "steps/euler-4/fid_lenet", "steps/midpoint-2/fid_lenet",
    ]  # fmt: skip
    if outcome == "supported":
        start = "Best GAN beats best flow with 4 euler steps in all pairs of runs: distance to real"
        assert sentence(found).startswith(start)


def test_one_solver_that_is_near_enough_contradicts(study: Study) -> None:
    runs = table(study)
    for row in runs.rows:
        if row.record["arm"] == "flow":
            row.metrics["steps/midpoint-2/fid_lenet"] = 0.3 + row.seed / 1000
    found = claim("F2", study, runs)
    assert found.outcome == "contradicted"
    assert sentence(found).startswith("Best flow with 2 midpoint steps beats best GAN in all pairs")


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [(0.1, "supported"), (1.0, "contradicted"), (0.4, "not decided")],
)
def test_at_equal_distance(seconds: float, outcome: str, study: Study) -> None:
    """The flow takes eight evaluations, 8 s, in the place of the GAN's seconds."""
    runs = table(study, gan={"cost/sampling_seconds": seconds})
    for row in runs.rows:
        if outcome == "not decided" and row.record["arm"] == "gan":
            row.metrics["cost/sampling_seconds"] = seconds * (1 + 0.01 * (-1) ** row.seed)
    found = claim("F3", study, runs)
    assert found.outcome == outcome
    (part,) = found.parts
    assert part.other is not None
    assert set(part.other.values.values()) == {8 * SECONDS}
    one = [row.metrics["cost/sampling_seconds"] for row in runs.rows if row.record["arm"] == "gan"]
    if outcome == "supported":
        start = "At equal distance, best GAN is at least 20 times cheaper than best flow in all"
        assert plain(part).startswith(start)
        test = stats.permutation_test(
            (one, [8 * SECONDS / 20] * 8), lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf
        )
        assert part.test.p == pytest.approx(test.pvalue)


def test_the_cheapest_steps_are_picked_for_each_run(study: Study) -> None:
    runs = table(study)
    flow = [row for row in runs.rows if row.record["arm"] == "flow"]
    flow[0].metrics["steps/euler-2/fid_lenet"] = 0.3
    far = {key: 9.0 for key in flow[1].metrics if key.startswith("steps/") and FID in key}
    flow[1].metrics.update(far)
    (part,) = claim("F3", study, runs).parts
    assert part.other is not None
    assert [*part.other.values.values()][:3] == [2 * SECONDS, 16 * SECONDS, 8 * SECONDS]
    assert part.other.bounded == [2]


def test_a_flow_that_is_never_so_near_counts_with_its_dearest_steps(study: Study) -> None:
    found = claim("F3", study, table(study, steps=40.0))
    assert found.outcome == "supported"
    assert sentence(found).endswith("against over 16.")
    (note,) = [text for text in notes(found) if "at no number of steps" in text]
    assert "1, 2, 3, 4, 5, 6, 7, 8 of best flow" in note
    slow = table(study, steps=40.0, gan={"cost/sampling_seconds": 9.0})
    found = claim("F3", study, slow)
    assert found.outcome == "not answered"  # with more steps it might have cost enough
    assert found.missing[0].startswith("more steps of best flow have to be measured for seed 1, 2")


def test_one_run_that_is_never_so_near_does_not_stop_a_contradiction(study: Study) -> None:
    runs = table(study, gan={"cost/sampling_seconds": 9.0})
    flow = next(row for row in runs.rows if row.record["arm"] == "flow")
    far = {key: 9.0 for key in flow.metrics if key.startswith("steps/") and FID in key}
    flow.metrics.update(far)
    found = claim("F3", study, runs)
    assert (found.outcome, found.parts[0].test.theta) == ("contradicted", 1 / 8)


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"inversion/mse": 0.009}, "supported"),
        ({"inversion/mse": 0.004}, "contradicted"),
        ({"inversion/mse": 0.006}, "not decided"),
        ({"inversion/mse": 0.009, "control": 0.1}, "not answered"),
        ({"inversion/mse": 0.004, "control": 0.1}, "contradicted"),
    ],
)
def test_recreation(changed: dict, outcome: str, study: Study) -> None:
    """A search that has not converged counts only where a longer one would say the same."""
    found = claim("F4", study, table(study, gan=changed))
    assert found.outcome == outcome
    assert all("flow" not in side.arm for part in found.parts for side in part.sides)
    if outcome == "contradicted":
        smaller = any("the true error is even smaller" in text for text in notes(found))
        assert smaller == ("control" in changed)


@pytest.mark.parametrize("failed", ["", "vae"])
def test_failures(failed: str, study: Study) -> None:
    found = claim("F5", study, table(study, failed=failed))
    rows = lines(found)
    assert [row[0] for row in rows] == ["best flow", "best GAN", "best VAE", "best VAE with labels"]
    if failed:
        assert (found.outcome, found.p) == ("contradicted", 0)
        assert sentence(found) == "1 of the 8 runs of best VAE failed."
        assert rows[2][-2:] == ("1 of 8", "against the claim")
    else:
        assert sentence(found) == (
            "None failed of 8 runs of best flow, 8 runs of best GAN, 8 runs of best VAE, "
            "8 runs of best VAE with labels."
        )
        expected = stats.binomtest(8, 8).pvalue
        assert [part.test.p for part in found.parts] == pytest.approx([expected] * 4)


def test_half_of_the_runs_failing_is_no_tie(study: Study) -> None:
    runs = table(study)
    for row in runs.rows:
        if row.record["arm"] == "gan" and row.seed % 2:
            row.metrics["missing_digits"] = 7.0
    found = claim("F5", study, runs)
    assert lines(found)[1][-1] == "against the claim"
    assert found.outcome == "contradicted"


def test_the_page_shows_three_families(study: Study, tmp_path: Path) -> None:
    write_page(study, table(study), tmp_path)
    text = (tmp_path / "study.md").read_text()
    opening = text.partition("| claim |")[0]
    assert re.search(
        r"come from the best flow: .* is 0.40, that of best GAN 0.50, "
        r"that of best VAE with labels 1.1\d, that of best VAE 1.2\d.",
        opening,
    )
    recreated = re.search(r"Median error of recreating .*", opening)
    assert recreated
    assert "flow" not in recreated[0]
    assert "Left out there: best flow" in opening
    assert re.search(r"^\| best flow \|.*\| 784 \| 0\.0000\d+ \| - \|", text, re.MULTILINE)
    assert re.search(r"^\| best GAN \|.*\| 100 \| - \| 0\.009\d\d \|", text, re.MULTILINE)
    for label in ("flow", "GAN", "VAE", "VAE with labels"):
        assert f"![New images drawn by best {label} seed 1](" in text
    page = (tmp_path / "study.html").read_text()
    assert page.count("<figcaption>best ") == 4
    assert "seconds for 1,000 new images" in page.lower()
    assert "nan" not in text.lower()


@pytest.mark.slow
def test_it_composes_with_its_sampler_and_its_steps(loaded: Study, tmp_path: Path) -> None:
    assert {seed for arm in loaded.arms.values() for seed in arm.seeds}.isdisjoint(loaded.seen)
    runs = {run.name: run for run in plan(loaded, compose_overrides, tmp_path)}
    assert len(runs) == 32
    assert runs["vae seed 1"].sampler == "gmm"
    assert runs["flow seed 1"].steps_words[2:] == [
        "--steps", "1,2,4,8", "--solver", "euler,midpoint",
    ]  # fmt: skip
    assert not runs["gan seed 1"].options.by_steps
    other = copy.deepcopy(loaded)
    other.arms["gan"].steps, other.arms["gan"].solvers = [1], ["euler"]
    with pytest.raises(UserError, match=r"arms.gan.steps: this model takes no steps"):
        plan(other, compose_overrides, tmp_path)


def test_costs_of_runs_that_are_missing_are_named(study: Study) -> None:
    runs = table(study)
    row = next(row for row in runs.rows if row.record["arm"] == "flow" and row.seed == 3)
    del row.metrics["steps/euler-8/sampling_seconds"]
    found = claim("F3", study, runs)
    assert found.missing == [
        "steps/euler-8/sampling_seconds of best flow is not measured for seed 3"
    ]
    row.metrics["steps/euler-8/sampling_seconds"] = math.nan
    assert claim("F3", study, runs).outcome == "not answered"
