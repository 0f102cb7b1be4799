"""Each claim of conf/study/wanare.yaml comes out as its rule says, from runs made to be so."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from synthetic import configured, make_run, make_study

from gen_models.comparison.compare import compare
from gen_models.comparison.verdicts import Answer
from gen_models.study.answer import answer
from gen_models.study.load import load_study

GRID = [(width,) * depth for depth in (1, 2, 3) for width in (128, 256, 512)]
RATES = (2e-3, 5e-4, 2e-4, 1e-4, 5e-5)

BASELINE = ("model=gan", "phase=baseline")
WIDE = ("model=gan", "phase=final", "max_epochs=50")
FINAL = ("model=gan", "phase=final")
VAE = ("model=vae", "phase=baseline")


def seeds(folder: Path, *overrides: str, shift: float = 0.0, **figures: Any) -> None:
    """Three seeds with a spread of 0.1 about `fid`."""
    fid = figures.pop("fid", 10.0)
    for seed, noise in enumerate((-0.1, 0.0, 0.1)):
        make_run(folder, *overrides, f"seed={seed}", fid=fid + noise + shift, **figures)


def claims(folder: Path) -> list[Answer]:
    comparison = compare([folder])
    study = load_study("wanare")
    found = answer(study, comparison.groups, comparison.bounds, lambda some: configured(*some))
    return found.answers


def claim(folder: Path, name: str) -> Answer:
    return next(found for found in claims(folder) if found.claim == name)


@pytest.mark.parametrize(
    ("wide", "outcome"),
    [(8.0, "supported"), (12.0, "contradicted"), (10.02, "not distinguishable")],
)
def test_c1_three_layers_against_two(wide: float, outcome: str, tmp_path: Path) -> None:
    seeds(tmp_path, *BASELINE, fid=10.0)
    seeds(tmp_path, *WIDE, fid=wide)
    seeds(tmp_path, *FINAL, fid=1.0)  # another number of epochs is no part of it
    found = claim(tmp_path, "C1")
    assert found.outcome == outcome
    if outcome == "not distinguishable":
        assert found.summary == "not distinguishable with 3 seeds"


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    make_run(tmp_path, *BASELINE, fid=30.0)
    make_run(tmp_path, *WIDE, fid=3.0)
    assert claim(tmp_path, "C1").summary == "not distinguishable with one seed"


def test_nothing_but_the_contrast_may_differ(tmp_path: Path) -> None:
    seeds(tmp_path, *BASELINE, fid=10.0)
    seeds(tmp_path, *WIDE, "model.dropout=0", fid=8.0)
    found = claim(tmp_path, "C1")
    assert found.outcome == "not answered"
    assert "differ in nothing else" in found.missing[0]
    seeds(tmp_path, *BASELINE, "model.dropout=0", fid=7.0)
    found = claim(tmp_path, "C1")
    assert found.outcome == "contradicted"
    assert "dropout 0" in found.parts[0].contrast


@pytest.mark.parametrize(
    ("best", "outcome", "says"),
    [
        ({2e-4: 9.99}, "supported", "the lowest of the five, slightly"),
        ({2e-4: 5.0}, "supported", "by more than slightly"),
        ({1e-4: 5.0}, "contradicted", "lr 0.0002 against 0.0001"),
        ({1e-4: 9.99}, "not distinguishable", "3 seeds"),
    ],
)
def test_c2_the_best_rate(
    best: dict[float, float], outcome: str, says: str, tmp_path: Path
) -> None:
    for lr in RATES:
        seeds(tmp_path, *WIDE, f"lr={lr}", fid=best.get(lr, 10.0 if lr < 1e-3 else 60.0))
    found = claim(tmp_path, "C2")
    assert found.outcome == outcome
    assert says in f"{found.summary} {found.parts[0].contrast} {found.parts[0].text}"


def test_c2_rates_that_diverge_are_not_the_best(tmp_path: Path) -> None:
    for lr in RATES:
        seeds(tmp_path, *WIDE, f"lr={lr}", fid=9.0 if lr == 2e-4 else 10.0)
    assert claim(tmp_path, "C2").outcome == "supported"
    make_run(tmp_path, *WIDE, "lr=2e-4", "seed=5", status="diverged")
    assert claim(tmp_path, "C2").outcome == "contradicted"


def test_c3_is_paired_by_seed(tmp_path: Path) -> None:
    for seed, level in enumerate((5.0, 10.0, 15.0)):  # Welch sees nothing in this spread
        make_run(tmp_path, *FINAL, f"seed={seed}", fid=level - 1 + 0.01 * seed)
        make_run(tmp_path, *WIDE, f"seed={seed}", fid=level)
    found = claim(tmp_path, "C3")
    assert found.outcome == "supported"
    assert found.parts[0].stands_on == "3 seeds, paired"


def test_c4_needs_new_and_recreated_images(tmp_path: Path) -> None:
    make_study(tmp_path)
    found = claim(tmp_path, "C4")
    assert [part.key for part in found.parts] == ["fid_lenet", "inversion/mse"]
    assert found.outcome == "supported"
    assert "real images 0.20, PCA Gaussian 59.40" in found.parts[0].text


@pytest.mark.parametrize(
    ("deep", "outcome"), [(100.2, "supported"), (99.0, "supported"), (95.0, "contradicted")]
)
def test_c5_almost_nothing_is_under_two_percent(deep: float, outcome: str, tmp_path: Path) -> None:
    for layers in GRID:
        for seed, noise in enumerate((-0.1, 0.0, 0.1)):
            loss = (deep if layers == (512, 512) else 100.0) + noise
            dims = f"hidden_dims=[{','.join(map(str, layers))}]"
            mse = 0.005 * (1 + noise / 100)
            make_run(tmp_path, *VAE, dims, f"seed={seed}", loss=loss, mse=mse)
    found = claim(tmp_path, "C5")
    assert len(found.parts) == 2 * 8
    assert found.outcome == outcome


def test_c6_phases_decide_and_single_changes_do_not_decide(tmp_path: Path) -> None:
    make_study(tmp_path)
    found = claim(tmp_path, "C6")
    assert [part.key for part in found.parts] == ["test/loss", "encoder/mse", "fid_lenet"]
    assert found.outcome == "supported"
    seeds(tmp_path, *VAE, "activation=leaky_relu", fid=31.0)
    again = claim(tmp_path, "C6")
    assert again.outcome == "supported"
    assert [part.decides for part in again.parts] == [True] * 3 + [False] * 3


def test_c7_is_paired_by_image_and_counts_those_won(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=1)
    found = claim(tmp_path, "C7")
    assert found.outcome == "supported"
    assert "better on 100 % of 64 images" in found.parts[0].text
    assert [part.decides for part in found.parts] == [True, False, False, False]
    with np.load(tmp_path / "mnist/gan_final/seed0/evaluation.npz") as arrays:
        other = {**arrays, "nearest_mse": arrays["nearest_mse"][::-1]}
    np.savez(tmp_path / "mnist/gan_final/seed0/evaluation.npz", **other)
    found = claim(tmp_path, "C7")
    assert found.outcome == "not answered"
    assert "not the same test images" in found.missing[0]


def test_c8_a_vae_better_than_the_ceilings_makes_new_images(tmp_path: Path) -> None:
    make_study(tmp_path)
    found = claim(tmp_path, "C8")
    assert [part.outcome for part in found.parts] == ["supported", "contradicted"] * 2
    assert found.outcome == "contradicted"


def test_what_is_missing_is_named_with_commands_that_compose(tmp_path: Path) -> None:
    make_run(tmp_path, "model=gan", "phase=final", "data=mnist", "lr=1e-3")
    answers = claims(tmp_path)
    assert [answer.outcome for answer in answers] == ["not answered"] * 8
    commands = {command for answer in answers for command in answer.commands}
    assert len(commands) == 7
    parser = OverridesParser.create()
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["python", "train.py", "-m"]
        single = [re.sub("=.*", "", word) for word in words[3:]]
        for index, override in enumerate(parser.parse_overrides(words[3:])):
            values = list(override.sweep_string_iterator()) if override.is_sweep_override() else []
            single[index] = f"{single[index]}={values[-1]}" if values else words[3 + index]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            assert compose("config", single).model


def test_quick_figures_answer_no_claim(tmp_path: Path) -> None:
    for overrides in (BASELINE, WIDE):
        make_run(tmp_path, *overrides, fid=None, metrics={"quick/fid_lenet": 9.0})
    found = claim(tmp_path, "C1")
    assert found.outcome == "not answered"
    assert "no fid_lenet" in found.missing[0]
    assert found.commands[0].startswith("gen-models evaluate ")


def test_other_data_sets_have_no_claims(tmp_path: Path) -> None:
    make_run(tmp_path, "model=vae", "data=digits")
    assert claims(tmp_path) == []
