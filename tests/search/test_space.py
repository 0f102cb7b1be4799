"""What may be tried, and how it is typed."""

from pathlib import Path

import pytest
from conftest import STORY
from test_search import SPACE, written

from gen_models.composition import compose_job
from gen_models.search import search as engine
from gen_models.search.space import FOLDER, read_space


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_each_value_of_a_shipped_space_can_be_trained(model: str, tmp_path: Path) -> None:
    common = [f"model={model}", "data=digits", f"output_dir={tmp_path}"]
    searched = engine.Search(
        common, read_space(FOLDER / f"{model}.yaml"), compose_job, STORY.assemble, STORY.train
    )
    shared = searched.check()
    assert {"seed", "data", "max_epochs"} <= shared.keys()
    assert not {"model.lr", "model.activation", "model.betas"} & shared.keys()


def test_parameters_are_typed_as_options(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, SPACE))
    assert list(space.distributions)[1:4] == [
        f"hidden_dims.{part}" for part in ("width", "depth", "growth")
    ]
    parameters = {"hidden_dims.width": 8, "hidden_dims.depth": 3, "hidden_dims.growth": 2}
    parameters |= {"lr": 0.000123456, "model.betas": "[0.5,0.999]", "activation": "relu"}
    assert space.overrides(parameters) == [
        "lr=0.000123", "model.betas=[0.5,0.999]", "activation=relu", "hidden_dims=[8,16,32]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "value", "typed"),
    [
        ("lr: [0.0001234]", 0.0001234, "lr=0.0001234"),  # as it is given
        ("model.width: [32, 64]", 64, "model.width=64"),  # a convolutional network's: no layers
        ("model.ema_decay: {low: 0.99, high: 0.9999}", 0.9995, "model.ema_decay=0.9995"),
        ("model.ema_decay: {low: 0.99, high: 0.9999}", 0.99512, "model.ema_decay=0.9951"),
        ("lr: {low: 1.234e-4, high: 1e-3}", 1.234e-4, "lr=0.0001234"),
    ],
)
def test_a_number_stays_what_it_is(given: str, value: float, typed: str, tmp_path: Path) -> None:
    space = read_space(written(tmp_path, given))
    (name,) = space.distributions
    assert space.overrides({name: value}) == [typed]


def test_a_search_may_choose_the_model(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, "model: [gan, vae]"))
    shared = engine.Search(["data=digits"], space, compose_job, STORY.assemble, STORY.train).check()
    assert shared["data"] == "digits"
    assert not {"model", "model.beta", "model.lr_d"} & shared.keys()
