"""A study of a user's own, ten lines of YAML; and every way to get one wrong."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

from gen_models.composition import compose_overrides
from gen_models.errors import UserError
from gen_models.study.kinds import KINDS
from gen_models.study.load import load_study
from gen_models.study.plan import plan
from gen_models.study.study import too_few_seeds

OWN = """\
question: Does dropout help?
seeds: [3, 4, 5]
arms:
  with: model=gan phase=baseline data=digits max_epochs=2
  without: model=gan phase=baseline data=digits max_epochs=2 model.dropout=0.0
  early: {of: with, at_epoch: 1}
claims:
  - name: D1
    says: Dropout in the discriminator brings new images nearer to real ones.
    kind: better
    arms: [with, without]
    metrics: [fid_lenet]
"""


def write(folder: Path, text: str = OWN) -> Path:
    file = folder / "own.yaml"
    file.write_text(text)
    return file


@pytest.mark.slow
def test_the_studys_own_can_be_read_and_composed() -> None:
    study = load_study("wanare")
    assert [claim.name for claim in study.claims] == [f"C{n}" for n in range(1, 9)]
    counts = {name: len(arm.seeds) for name, arm in study.arms.items()}
    assert {counts[name] for name in ("gan_baseline", "gan_final", "gan_final_50")} == {10}
    assert {counts[name] for name in ("vae_baseline", "vae_final")} == {10}
    assert {counts[name] for name in counts if "lr" in name or name[4:].startswith("128")} == {6}
    assert set(range(11)) == set(study.seen)
    decide = {
        arm
        for claim in study.claims
        for contrast in claim.contrasts
        for arm in contrast.arms
        if contrast.decides and arm.startswith("gan")
    }
    assert {seed for arm in decide for seed in study.arms[arm].seeds} == set(range(21, 31))
    words = " ".join(word for arm in decide for word in study.overrides(arm))
    assert "precision" not in words
    assert "init" not in words
    assert {name for stage in study.stages for name in stage} == set(study.arms)
    runs = plan(study, compose_overrides, Path("runs"))
    assert len({run.path for run in runs}) == len(runs) == sum(counts.values())


def test_the_example_of_the_docs_can_be_read_and_composed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "studies.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    study = load_study(write(tmp_path, block))
    assert len(plan(study, compose_overrides, tmp_path)) == 10 + 10 + 5
    assert set(KINDS) <= set(re.findall(r"`(\w+)`", text))


def test_earlier_epochs_come_first_and_the_whole_run_goes_on_from_them(tmp_path: Path) -> None:
    runs = plan(load_study(write(tmp_path)), compose_overrides, tmp_path)
    names = [run.name for run in runs]
    assert names[:3] == ["early seed 3", "with seed 3", "without seed 3"]
    early, whole, other = runs[:3]
    assert whole.earlier == early
    assert early.earlier is other.earlier is None
    assert "max_epochs=1" in early.words
    assert early.path == tmp_path / "digits/gan_baseline/seed3-max_epochs1"
    assert not any(word.startswith("extend=") for word in whole.words)  # it is not there yet
    assert {run.state for run in runs} == {"missing"}


def test_stages_are_trained_in_their_order_seed_by_seed(tmp_path: Path) -> None:
    staged = OWN.replace("claims:", "stages: [[without], [with]]\nclaims:")
    order = list(load_study(write(tmp_path, staged)).order())
    assert order[:3] == [("without", 3), ("without", 4), ("without", 5)]
    assert order[3:6] == [("with", 3), ("with", 4), ("with", 5)]


@pytest.mark.parametrize(("old", "new", "arm"), [
    ("seeds: [3, 4, 5, 6]", "seeds: [3, 4, 5]", "with"),
    ("at_epoch: 1", "at_epoch: 1, seeds: [3, 4, 5]", "early"),
])  # fmt: skip
def test_arms_of_a_claim_with_too_few_seeds_are_named(
    old: str, new: str, arm: str, tmp_path: Path
) -> None:
    text = OWN.replace("arms: [with, without]", f"arms: [{arm}, without]")
    text = text.replace("seeds: [3, 4, 5]", "seeds: [3, 4, 5, 6]")
    assert too_few_seeds(load_study(write(tmp_path, text))) == ""
    line = too_few_seeds(load_study(write(tmp_path, text.replace(old, new))))
    assert f"arms.{arm}.seeds" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("arms: [with, without]", "arms: [with, wihtout]", "unknown: wihtout; known are with"),
        ("kind: better", "kind: superb", "unknown: superb; known are better, not_better"),
        ("metrics: [fid_lenet]", "metrics: [fid]", "fid: unknown"),
        ("metrics: [fid_lenet]", "metrics: [features/lenet_9]", "features/lenet_9: unknown"),
        ("metrics: [fid_lenet]", "metrics: [grey_share]", "neither lower nor higher better"),
        ("metrics: [fid_lenet]", "metrics: [quick/fid_lenet]", "unknown, of a quick evaluation"),
        (
            "kind: better",
            "kind: better\n    other_metric: quick/coverage",
            "quick/coverage: unknown, of a quick",
        ),
        ("metrics: [fid_lenet]", "metrics: []", "metrics: must be one or more"),
        ("arms: [with, without]", "arms: [with]", "better needs 2 or more, each once"),
        ("seeds: [3, 4, 5]", "seeds: [3, -4]", "seeds: must be whole numbers"),
        ("seeds: [3, 4, 5]", "seeds: [3, 3]", "seeds: must be whole numbers"),
        ("seeds: [3, 4, 5]", "seeds: []", "seeds: must be whole numbers"),
        ("seeds: [3, 4, 5]", "seeds: many", "seeds: must be a list of whole numbers"),
        ("seeds: [3, 4, 5]", "seeds: [3, 4.5]", "seeds[1]: must be a list of whole numbers"),
        ("seeds: [3, 4, 5]", "seeds: [3, 4, 5]\nseen: [4]", "seed 4 chose what the study tests"),
        ("at_epoch: 1", "at_epoch: 1, seeds: [3, 3]", "arms.early.seeds: must be whole"),
        ("at_epoch: 1", "at_epoch: 0", "arms.early.at_epoch: must be a whole number from 1"),
        ("at_epoch: 1", "at_epoch: soon", "at_epoch: must be a whole number"),
        ("of: with, at_epoch: 1", "of: wiht, at_epoch: 1", "arms.early.of: unknown: wiht"),
        ("early: {of: with, at_epoch: 1}", "early: {seeds: [3]}", "must have overrides of train"),
        ("arms: [with, without]", "arms: [with, with]", "better needs 2 or more, each once"),
        ("arms: [with, without]", "arms: with", "arms: must be a list of names"),
        ("    arms: [with, without]\n", "", "arms: must be a list of names"),
        ("early: {of", "early: {label: 'GAN, early', of", "label: GAN, early: must have no ','"),
        ("early: {of", "early: {label: GAN and VAE, of", "label: GAN and VAE: must have no ','"),
        ("with: model=gan", "with: {lr: 1}  # ", "lr: unknown; known are label, train"),
        ("with: model=gan", "with: 'model=gan \"'  # ", "arms.with: No closing quotation"),
        ("kind: better", "kind: better\n    margin: -0.1", "margin: must be a share"),
        ("kind: better", "kind: better\n    decides: false", "no part decides the claim"),
        ("kind: better", "kind: better\n    word: far", "word: needs at_least or at_most"),
        ("kind: better", "kind: wins\n    margin: 0.1", "margin: wins takes none"),
        ("kind: better", "kind: best\n    margin: 0.1", "margin: best takes none"),
        ("kind: better", "kind: wins\n    word: far\n    at_most: 0.1", "at_most: wins takes none"),
        (
            "kind: better",
            "kind: beats_gaussian\n    word: far\n    at_least: 0.5",
            "at_least: beats_gaussian takes none",
        ),
        (
            "kind: better",
            "kind: better\n    other_metric: coverage",
            "other_metric: coverage and fid_lenet: of one lower is better, of the other higher",
        ),
        ("kind: better", "kind: better\n    unconverged: true", "unconverged: better takes none"),
        ("kind: better", "kind: cheaper", "metrics: unknown: fid_lenet; known are cost/sampling_"),
        (
            "kind: better\n    arms: [with, without]\n    metrics: [fid_lenet]",
            "kind: cheaper\n    arms: [with, without]\n    metrics: [cost/sampling_seconds]",
            "arms.without.steps: cheaper needs more than one number of steps",
        ),
        (
            "metrics: [fid_lenet]",
            "metrics: [steps/heun-2/fid_lenet]",
            "steps/heun-2/fid_lenet: with is not measured so",
        ),
        ("at_epoch: 1", "at_epoch: 1, steps: [1, 2]", "arms.early.steps: needs solvers"),
        (
            "at_epoch: 1",
            "at_epoch: 1, steps: [0], solvers: [euler]",
            "steps: must be whole numbers",
        ),
        ("at_epoch: 1", "at_epoch: 1, steps: [2, 2], solvers: [euler]", "each once"),
        ("claims:", "stages: [with, without]\nclaims:", "stages: must be lists of arms"),
        ("kind: better", "kind: better\n    epochs: 3", "epochs: unknown; known are name"),
        ("claims:", "claims: C1\nnote: |", "claims: must be a list"),
        ("question:", "title:", "title"),
        ("says:", "tells:", "says"),
        ("name: D1", "name: [D1", "cannot be read as YAML"),
    ],
)
def test_bad_input_is_one_line_that_names_file_and_key(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    assert old in OWN
    file = write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_study(file)
    message = str(caught.value)
    assert named in message
    assert str(file) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("model.dropout=0.0", "model.dropuot=0.0", "arms.without"),
        (" model.dropout=0.0", "", "are the same runs"),
        ("model.dropout=0.0", "model.dropout=0.0 seed=3", "seed=3: a study sets it itself"),
        ("data=digits max_epochs=2 model", "data=mnist max_epochs=2 model", "different data sets"),
        ("at_epoch: 1", "at_epoch: 2", "arms.early.at_epoch: 2 is not before the end of with"),
        ("=2\n", "=2 lr_schedule=cosine\n", "arms.early.of: with has lr_schedule=cosine"),
        ("=2\n", "=2 max_steps=50\n", "arms.early.of: with has max_steps=50"),
    ],
)
def test_arms_that_cannot_be_trained_are_named(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    assert old in OWN
    study = load_study(write(tmp_path, OWN.replace(old, new, 1)))
    with pytest.raises(UserError, match=named) as caught:
        plan(study, compose_overrides, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such study: .* one of: families, wanare"):
        load_study(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="no such study"):
        load_study("nothing")
