"""Every option composes and builds; every bad one is refused by a line that names it."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, composed, directory_of, small, train
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gen_models.errors import UserError
from gen_models.models.layers import ACTIVATIONS

CONF = ROOT / "conf"


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


OF_ANY_MODEL = ("trainer", "callbacks", "debug")  # tried with one

CHOICES = [
    f"{group}={option}"
    for group in (
        "data",
        "model",
        "phase",
        "learning_rate",
        "activation",
        "experiment",
        "network",
        "sweep",
        *OF_ANY_MODEL,
    )
    for option in options(group)
]

OF_SOME_MODELS = {  # the others refuse it
    "network=conv": ["gan", "vae"],
    "network=unet": ["flow"],
    "sweep=dropout": ["gan"],
    "sweep=loss": ["gan"],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_option_composes_and_builds(choice: str) -> None:
    picks_the_model = choice.startswith(("model=", "experiment="))
    models = OF_SOME_MODELS.get(choice, options("model"))
    models = ["vae"] if choice.startswith(OF_ANY_MODEL) else models
    every: list[list[str]] = [[]] if picks_the_model else [[f"model={model}"] for model in models]
    for others in every:
        if choice in ("data=folder", "data=npz"):
            others.append("data.root=PLACE")
        config = composed(choice, *others)
        for key in ("model", "data"):
            instantiate(config[key])
        for node in config["callbacks"].values():
            instantiate(node)


def test_no_option_looks_like_a_number() -> None:
    for path in CONF.rglob("*.yaml"):
        assert not re.fullmatch(r"[-+.\de]+|null|true|false|nan|inf", path.stem, re.IGNORECASE)


def test_every_activation_is_an_option() -> None:
    assert options("activation") == sorted(ACTIVATIONS)


@pytest.mark.parametrize(
    ("overrides", "lr", "activation", "dims", "epochs"),
    [
        (["model=gan", "phase=baseline"], 2e-4, "leaky_relu", [128, 256], 50),
        (["model=gan", "phase=final"], 2e-4, "leaky_relu", [256, 512, 1024], 100),
        (["model=vae", "phase=baseline"], 1e-3, "relu", [256], 30),
        (["model=vae", "phase=final"], 1e-3, "leaky_relu", [256], 100),
        (["model=vae", "lr=3e-4"], 3e-4, "leaky_relu", [256], 100),
        (["model=vae", "phase=baseline", "activation=elu"], 1e-3, "elu", [256], 30),
    ],
)
def test_what_the_phases_mean(
    overrides: list[str], lr: float, activation: str, dims: list[int], epochs: int
) -> None:
    config = composed(*overrides)
    model = config["model"]
    assert (model["lr"], model["activation"]) == (lr, activation)
    assert (model.get("generator_dims") or model["encoder_dims"]) == dims
    assert config["trainer"]["max_epochs"] == epochs
    assert config["data"]["batch_size"] == 128


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_the_best_phase_is_of_convolutions_and_can_be_had_without(model: str) -> None:
    best, mlp = (composed(f"model={model}", "phase=best", *more) for more in ((), ("network=mlp",)))
    assert (best["model"]["network"], best["data"]["batch_size"]) == ("conv", 64)
    assert (best["sampler"] == "gmm") == (model == "vae")
    for config in (best, mlp):
        instantiate(config["model"])
    digits = composed(f"model={model}", "phase=best", "data=digits")
    assert digits["data"]["batch_size"] == composed("data=digits")["data"]["batch_size"]
    assert digits["max_epochs"] > best["max_epochs"]  # its epochs are short


def test_a_flows_phase_can_be_had_with_the_other_network() -> None:
    for phase, network in (("baseline", "unet"), ("final", "mlp")):
        config = composed("model=flow", f"phase={phase}", f"network={network}")
        model, dims = config["model"], config["hidden_dims"] if network == "mlp" else None
        assert (model["network"], model["hidden_dims"]) == (network, dims)
        instantiate(model)


def test_learning_rates_by_name_are_the_reports_and_lr_wins() -> None:
    rates = {name: composed(f"learning_rate={name}")["lr"] for name in options("learning_rate")}
    assert rates == {"r2e-3": 2e-3, "r5e-4": 5e-4, "r2e-4": 2e-4, "r1e-4": 1e-4, "r5e-5": 5e-5}
    assert composed("learning_rate=r5e-4", "lr=3e-4")["model"]["lr"] == 3e-4
    for name, rate in rates.items():  # the same runs under the same names
        by_name, by_value = ([f"learning_rate={name}"], [f"lr={rate}"])
        assert directory_of(by_name).path == directory_of(by_value).path


def test_burda_is_the_papers_setting() -> None:
    config = composed("experiment=burda")
    model = config["model"]
    assert (model["encoder_dims"], model["latent_dim"]) == ([200, 200], 50)
    assert (model["activation"], model["eps"], model["binarize"]) == ("tanh", 1e-4, True)
    assert (config["data"]["batch_size"], config["lr_schedule"]) == (20, "burda")
    assert composed("experiment=burda", "max_epochs=3280")["trainer"]["max_epochs"] == 3280


def test_an_explicit_choice_wins_over_an_experiment() -> None:
    config = composed("experiment=burda", "activation=relu", "learning_rate=r5e-5")
    assert (config["model"]["activation"], config["model"]["lr"]) == ("relu", 5e-5)


def test_epochs_that_a_smoke_run_would_ignore_are_refused() -> None:
    with pytest.raises(UserError, match=r"max_epochs=7: trainer.max_epochs is 2: set that"):
        train("data=digits", "trainer=smoke", "max_epochs=7")


def test_smoke_beats_the_phases_epochs() -> None:
    assert composed("trainer=smoke")["trainer"]["max_epochs"] == 2


GRIDS = {
    "lr": 5,
    "activation": 7,
    "depth": 3,
    "width": 3,
    "epochs": 3,
    "dropout": 2,
    "loss": 5,
    "network": 2,
    "phases": 4,
}


def test_every_grid_is_known() -> None:
    assert options("sweep") == sorted(GRIDS)


@pytest.mark.parametrize(
    ("model", "grid", "runs"),
    [*(("gan", *item) for item in GRIDS.items()), ("flow", "network", 2)],
)
def test_grids_are_products_whose_runs_compose(model: str, grid: str, runs: int) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"model={model}", f"sweep={grid}"], return_hydra_config=True)
        assert config.hydra.mode.name == "MULTIRUN"
        texts = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
        parsed = OverridesParser.create().parse_overrides(texts)
        jobs = BasicSweeper.split_arguments(parsed, None)[0]
    assert len(jobs) == runs
    assert len({str(composed(f"model={model}", *job)) for job in jobs}) == runs
    if grid == "network":
        for job in jobs:
            instantiate(composed(f"model={model}", *job)["model"])


@pytest.mark.parametrize(
    "group", ["data", "model", "phase", "learning_rate", "activation", "trainer", "sweep"]
)
def test_an_unknown_option_is_refused_with_the_known(group: str) -> None:
    with pytest.raises(UserError) as caught:
        composed(f"{group}=nonsense")
    for known in options(group):
        assert known in str(caught.value)


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("lr=-1e-3", "lr must be"),
        ("lr=0", "lr must be"),
        ("lr=nan", "lr must be"),
        ("lr=inf", "lr must be"),
        ("lr=fast", "lr must be"),
        ("lr=null", "lr must be"),
        ("model.lr_d=-1", "lr_d must be"),
        ("max_epochs=0", "max_epochs must be"),
        ("max_epochs=-3", "max_epochs must be"),
        ("max_epochs=1.5", "max_epochs must be"),
        ("max_epochs=null", "max_epochs must be"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be"),
        ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps must be"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch must be"),
        ("max_steps=0", "max_steps must be"),
        ("max_steps=many", "max_steps must be"),
        ("seed=-1", "seed must be"),
        ("seed=x", "seed must be"),
        ("hidden_dims=[]", "hidden_dims must be"),
        ("hidden_dims=[0]", "hidden_dims must be"),
        ("hidden_dims=256", "hidden_dims must be"),
        ("model.generator_dims=[]", "generator_dims must be"),
        ("model.discriminator_dims=[a]", "discriminator_dims must be"),
        ("model.dropout=1.5", "dropout must be"),
        ("model.d_steps=0", "d_steps must be"),
        ("model.betas=[0.5]", "betas must be"),
        ("model.betas=0.5", "betas must be"),
        ("model.latent_dim=0", "latent_dim must be"),
        ("model.activation=swish", "activation must be"),
        ("precision=fp8", "precision must be"),
        ("trainer.precision=16", "precision must be"),
        ("data.batch_size=0", "batch_size must be"),
        ("data.batch_size=-8", "batch_size must be"),
        ("data.batch_size=100000", "data.batch_size=100000: digits has only"),
        ("data.name=cifar", "name must be"),
        ("+lrr=1", "'lrr'"),
        ("+model.lrr=1", "'lrr'"),
        ("+trainer.lrr=1", "'lrr'"),
        ("+data.lrr=1", "'lrr'"),
        ("+callbacks.lrr=1", "callbacks.lrr"),
        ("callbacks.sample_grid.count=0", "count must be"),
        ("output_dir=null", "output_dir must be"),
        ("output_dir=''", "output_dir must be"),
        ("~callbacks", "callbacks: one must be picked"),
        ("overwrite=perhaps", "overwrite must be"),
        ("keep=1", "keep must be"),
        ("trainer.accelerator=warp", "trainer"),
        ("trainer.devices=0", "trainer"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches must be"),
        ("trainer.limit_train_batches=-2", "trainer.limit_train_batches must be"),
        ("trainer.limit_train_batches=1", "say 1.0 for all batches"),
        ("trainer.limit_train_batches=0.001", "none of the 40 batches"),
        ("trainer.limit_val_batches=0.001", "none of the 7 batches"),
        ("trainer.devices=2", "needs trainer=ddp"),
        ("max_steps=23", "max_epochs=2 has only 8 batches: set max_epochs=6 too"),
        ("data.seed=5", "set seed"),
        ("network=unet", "network must be one of mlp, conv"),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_line_that_names_its_key(
    override: str, names: str, tmp_path: Path
) -> None:
    overrides = [text for text in small(tmp_path) if text.split("=")[0] != override.split("=")[0]]
    with pytest.raises(UserError) as caught:
        train(*overrides, override)
    message = str(caught.value)
    assert names in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("override", ["lrr=1", "model.lrr=1", "data.lrr=1", "trainer.lrr=1"])
def test_a_typo_in_a_key_is_named(override: str) -> None:
    with pytest.raises(UserError, match="lrr"):
        composed(override)
