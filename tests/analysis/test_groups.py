"""How runs are read, grouped and named."""

import math
from pathlib import Path

import pytest
from synthetic import BOUNDS, make_run, make_study

from gen_models.analysis.groups import Group, group_runs
from gen_models.analysis.metrics import is_known, metric, of_new_images, order
from gen_models.analysis.runs import Run, read_run


def groups(folder: Path) -> list[Group]:
    return group_runs(read_run(file.parent) for file in sorted(folder.rglob("status.json")))


def labels(folder: Path) -> list[str]:
    return [group.label for group in groups(folder)]


def test_the_four_models_are_four_groups_of_three(tmp_path: Path) -> None:
    found = groups(make_study(tmp_path))
    assert [group.label for group in found] == [
        "GAN baseline", "GAN final", "VAE baseline", "VAE final",
    ]  # fmt: skip
    assert all([run.seed for run in group.runs] == [0, 1, 2] for group in found)
    assert found[1].summaries["fid_lenet"].values == pytest.approx({0: 7.7, 1: 8.0, 2: 8.3})


def test_variants_are_named_by_what_differs_from_the_phase(tmp_path: Path) -> None:
    final = ("model=gan", "phase=final")
    for more in ((), ("lr=5e-4",), ("lr=5e-4", "max_epochs=50"), ("hidden_dims=[256,512]",)):
        make_run(tmp_path, *final, *more)
    make_run(tmp_path, *final, "lr=5e-4", "seed=1")
    assert labels(tmp_path) == [
        "GAN final",
        "GAN final, lr 0.0005",
        "GAN final, lr 0.0005, 50 epochs",
        "GAN final, layers 256-512",
    ]


def test_numbers_of_steps_are_metrics_like_their_own() -> None:
    few = metric("steps/heun-4/fid_lenet")
    assert (few.better, few.format) == ("lower", metric("fid_lenet").format)
    assert few.meaning.endswith("(heun, 4 steps)")
    assert metric("steps/dopri5/sampling_seconds").unit == "s"
    assert of_new_images("steps/euler-1/fid_lenet")
    assert not of_new_images("steps/euler-1/flops_per_sample")
    assert not is_known("steps/euler-x/fid_lenet")
    keys = [f"steps/euler-{n}/fid_lenet" for n in (1, 2, 16)]
    assert sorted(keys, key=order) == keys  # by number: 2 is before 16


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("encoder/mse", 0.00431, "0.00431"),
        ("encoder/mse", 0.0000812, "0.000081"),
        ("encoder/mse", 3.14e-12, "3.1e-12"),
        ("encoder/mse", 0.0, "0.00000"),
        ("kid_lenet", -0.00002, "-0.000020"),
        ("coverage", 0.003, "0.003"),
    ],
)
def test_a_tiny_number_has_two_digits(key: str, value: float, text: str) -> None:
    assert metric(key).show(value) == text


def test_without_the_phase_itself_all_that_varies_is_named(tmp_path: Path) -> None:
    for lr in ("5e-4", "1e-4"):
        make_run(tmp_path, "model=gan", f"lr={lr}")
    assert labels(tmp_path) == ["GAN final, lr 0.0001", "GAN final, lr 0.0005"]


def test_a_network_written_out_is_the_same_network(tmp_path: Path) -> None:
    make_run(tmp_path, "model=gan")
    out = ("model.discriminator_dims=[1024,512,256]", "model.lr_d=2e-4")
    make_run(tmp_path, "model=gan", "seed=1", *out)
    assert labels(tmp_path) == ["GAN final"]


@pytest.mark.parametrize(
    ("measured", "failed"),
    [
        ({"missing_digits": 5.0}, True),
        ({"missing_digits": 4.0}, False),
        ({"fid_lenet": 59.4, "coverage": 0.03}, True),  # both as the crude Gaussian
        ({"fid_lenet": 59.3, "coverage": 0.0}, False),
        ({"fid_lenet": 99.0, "coverage": 0.04}, False),  # as healthy runs beside a strong Gaussian
        ({"fid_lenet": math.nan}, True),
        ({"missing_classes": 5.0, "real/classes": 12.0}, False),
        ({"missing_classes": 6.0, "real/classes": 12.0}, True),
        ({"missing_classes": 1.0, "real/classes": 2.0}, True),
    ],
)
def test_a_run_fails_by_the_rule(measured: dict[str, float], failed: bool) -> None:
    record = {"status": "done", "model": "gan", "seed": 0}
    known = {"fid_lenet": 10.0, "coverage": 0.5, "missing_digits": 0.0}
    assert Run(record, BOUNDS | known | measured).failed == failed
