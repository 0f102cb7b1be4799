"""What every model of conf/model, the toy of the third model and a sampler declare, and do."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import ROOT, composed, small, train
from hydra.utils import instantiate
from scipy.stats import kstest
from torch import nn
from toy import Toy

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.models.interface import (
    Density,
    Encoder,
    GenerativeModel,
    Likelihood,
    encode_means,
    eval_mode,
)
from gen_models.models.sampler import WithSampler
from gen_models.runs.directory import RunDirectory
from gen_models.runs.weights import load_model, save_model
from gen_models.seeding import generator

NAMES = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
OTHER_NETWORK = {"flow": ["network=mlp", "hidden_dims=[64]"]}  # than that of the phase
CONV = ["network=conv", "model.width=8"]
N = 1000


def sampled(model: Encoder) -> WithSampler:
    classes, d = (10 if model.conditional else 1), model.noise_dim
    factors = torch.eye(d).expand(classes, 1, d, d).contiguous()
    return WithSampler(model, "normal", torch.ones(classes, 1), torch.zeros(classes, 1, d), factors)


def built(*overrides: str) -> GenerativeModel:
    model: GenerativeModel = instantiate(composed(*overrides)["model"])
    return model


def every_model() -> dict[str, GenerativeModel]:
    torch.manual_seed(0)
    models = {
        " ".join([name, *options]): built(f"model={name}", *options)
        for name in NAMES
        for options in ([], OTHER_NETWORK.get(name, CONV), ["model.conditional=true"])
    }
    models["gan ema"] = built("model=gan", "model.ema_decay=0.9")
    vamp = ["model.prior=vamp", "model.vamp_components=7", "model.conditional=true"]
    models["vae vamp"] = built("model=vae", *vamp)
    models["vae vamp with a sampler"] = sampled(built("model=vae", "model.prior=vamp"))
    models["toy"] = Toy()
    models["toy with a sampler"] = sampled(Toy())
    return models


MODELS = every_model()
FLOW = " ".join(["flow", *OTHER_NETWORK["flow"]])  # a U-Net's first step changes its end alone
ENCODERS = {name: model for name, model in MODELS.items() if isinstance(model, Encoder)}


def over(models: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", models.values(), ids=models.keys())


@over(MODELS)
@torch.no_grad()
def test_z_is_the_noise_and_the_label(model: GenerativeModel) -> None:
    assert model.latent_dim == model.noise_dim + (10 if model.conditional else 0)
    labels = torch.arange(N) % 10
    z = model.prior(N, generator("z"), labels)
    assert z.shape == (N, model.latent_dim)
    assert z.dtype == torch.float32
    assert torch.equal(z, model.prior(N, generator("z"), labels))
    if model.conditional:
        assert torch.equal(z[:, model.noise_dim :], nn.functional.one_hot(labels, 10).float())
        drawn = model.prior(N, generator("z"))[:, model.noise_dim :].argmax(1)
        assert torch.bincount(drawn, minlength=10).min() > 60  # as many of each
    else:
        assert torch.equal(z, model.prior(N, generator("z")))


@over(MODELS)
@torch.no_grad()
def test_noise_is_of_the_kind_that_is_declared(model: GenerativeModel) -> None:
    z = model.prior(4 * N, generator("kind"))[:, : min(model.noise_dim, 100)]
    if model.prior_kind == "mixture":
        assert isinstance(model, WithSampler) or "vamp" in str(model.hparams)
        return
    name, arguments = {"normal": ("norm", (0, 1)), "uniform": ("uniform", (-1, 2))}[
        model.prior_kind
    ]
    assert kstest(z.flatten().numpy(), name, arguments).pvalue > 0.001
    correlations = torch.corrcoef(z.T) - torch.eye(z.shape[1])
    assert correlations.abs().max() < 6 / (4 * N) ** 0.5


@over(MODELS)
@torch.no_grad()
def test_images_are_in_range_and_of_z_alone(model: GenerativeModel) -> None:
    with eval_mode(model):
        z = model.prior(6, generator("z"))
        images = model.decode(z)
        assert images.shape == (6, 1, 28, 28)
        assert images.dtype == torch.float32
        assert 0 <= images.min() < images.max() <= 1
        assert torch.equal(model.sample(6, generator("z")), images)
        torch.testing.assert_close(model.decode(z[:2]), images[:2])


@over(MODELS)
def test_an_image_depends_on_the_weights_that_are_declared(model: GenerativeModel) -> None:
    """As autograd finds them; of a moving average, as many."""
    asked = [weight.requires_grad for weight in model.parameters()]
    weights = list(model.parameters())
    for weight in weights:
        weight.requires_grad_(True)
    images = model.sample(3, generator("z"))
    gradients = torch.autograd.grad(images.sum(), weights, allow_unused=True)
    for weight, before in zip(weights, asked, strict=True):
        weight.requires_grad_(before)
    used = [w.numel() for w, g in zip(weights, gradients, strict=True) if g is not None]
    assert sum(weight.numel() for weight in model.sampling_weights()) == sum(used) > 0


@over(ENCODERS)
@torch.no_grad()
def test_a_mean_is_a_z(model: Encoder) -> None:
    images, labels = torch.rand(5, 1, 28, 28), torch.arange(5)
    mean, logvar = model.encode(images, labels)
    assert mean.shape == (5, model.latent_dim)
    assert logvar.shape == (5, model.noise_dim)
    assert torch.equal(encode_means(model, images, labels), mean)
    assert model.decode(mean).shape == images.shape
    if isinstance(model, Density):  # as exactly as its solver's steps allow
        own = model.solver, model.steps
        model.set_solver("dopri5", None)
        recreated = model.decode(model.encode(images, labels)[0])
        torch.testing.assert_close(recreated, images, atol=0.02, rtol=0)
        model.set_solver(*own)
    if model.conditional:
        assert torch.equal(mean[:, model.noise_dim :].argmax(1), labels)
        with pytest.raises(UserError, match="needs labels"):
            model.encode(images)


@over({name: model for name, model in MODELS.items() if isinstance(model, Likelihood)})
@torch.no_grad()
def test_a_likelihood_is_a_figure_an_image(model: Likelihood) -> None:
    images, labels = torch.rand(5, 1, 28, 28), torch.arange(5)
    mean, logvar = model.encode(images, labels)
    z = mean.expand(3, 5, -1)
    assert model.log_likelihood(z, images).shape == model.log_prior(z).shape == (3, 5)
    assert model.kl(mean, logvar, z).shape[-1] == 5
    assert isinstance(model.binarize, bool)
    assert isinstance(model.density, bool)


@over({name: MODELS[name] for name in ("gan", "vae", FLOW, "toy")})
def test_a_batch_trains_it(model: GenerativeModel, digits: MNISTDataModule) -> None:
    before = [weight.detach().clone() for weight in model.parameters()]
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=model.period, limit_val_batches=1, accelerator="cpu",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, digits)
    held_out = set(trainer.callback_metrics)
    trainer.test(model, digits, verbose=False)
    assert held_out
    assert {key.replace("val/", "test/") for key in held_out} <= set(trainer.callback_metrics)
    after = list(model.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class Incomplete(Toy):
    """A third model that does not say what its prior is."""

    def __init__(self, **options: Any) -> None:
        GenerativeModel.__init__(self, noise_dim=8, conditional=True)  # type: ignore[call-arg]


class Stranger(pl.LightningModule):
    """Not derived from the interface."""

    def __init__(self, **options: Any) -> None:
        super().__init__()


REFUSED = pytest.mark.parametrize(
    ("name", "reason"), [("Incomplete", "prior_kind"), ("Stranger", "GenerativeModel")]
)


@REFUSED
def test_a_model_that_declares_too_little_is_not_trained(
    name: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^model: .*{reason}") as refused:
        train(*small(tmp_path), f"model._target_={__name__}.{name}")
    assert "\n" not in str(refused.value)


@REFUSED
def test_a_model_that_declares_too_little_is_not_loaded(
    name: str, reason: str, tmp_path: Path
) -> None:
    save_model(RunDirectory(tmp_path), Toy())
    file = RunDirectory(tmp_path).model
    file.write_text(file.read_text().replace("toy.Toy", f"{__name__}.{name}"))
    with pytest.raises(UserError, match=f"{file.name}: .*{reason}") as refused:
        load_model(tmp_path)
    assert "\n" not in str(refused.value)
