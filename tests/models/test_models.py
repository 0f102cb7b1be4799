"""Both models: the interface they share, their sizes, their training steps."""

import inspect
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import composed
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from gen_models.data.module import MNISTDataModule
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.seeding import generator
from gen_models.training.trainer import StepSeed

MODELS = [GAN, VAE]
FIGURE_10 = """\
LinearVAE(
  (enc1): Linear(in_features=784, out_features=256, bias=True)
  (enc2): Linear(in_features=256, out_features=128, bias=True)
  (dec1): Linear(in_features=64, out_features=256, bias=True)
  (dec2): Linear(in_features=256, out_features=784, bias=True)
)"""


def fit(
    model: Any, data: MNISTDataModule, *watchers: pl.Callback, steps: int = -1, **options: Any
) -> pl.Trainer:
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[StepSeed(0), *watchers],
        **options,
    )
    trainer.fit(model, data)
    return trainer


@pytest.mark.parametrize("phase", ["baseline", "final"])
def test_vae_prints_as_the_reports_figure_10(phase: str) -> None:
    config = composed("model=vae", f"phase={phase}")["model"]
    model = VAE(**{key: value for key, value in config.items() if not key.startswith("_")})
    assert str(model.network) == FIGURE_10


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (
            ["model=gan", "phase=baseline"],
            {
                "generator": (100 + 1) * 128 + (128 + 1) * 256 + (256 + 1) * 784,
                "discriminator": (784 + 1) * 256 + (256 + 1) * 128 + 129,
            },
        ),
        (
            ["model=gan", "phase=final"],
            {
                "generator": 101 * 256 + 257 * 512 + 513 * 1024 + 1025 * 784,
                "discriminator": 785 * 1024 + 1025 * 512 + 513 * 256 + 257,
            },
        ),
        (
            ["model=vae", "phase=final"],
            {"network": 785 * 256 + 257 * 128 + 65 * 256 + 257 * 784},
        ),
    ],
)
def test_parameters_counted_by_hand(overrides: list[str], parameters: dict[str, int]) -> None:
    config = composed(*overrides)["model"]
    model_class = GAN if "gan" in config["_target_"] else VAE
    model = model_class(**{k: v for k, v in config.items() if not k.startswith("_")})
    for name, expected in parameters.items():
        network = getattr(model, name)
        assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("model_class", [*MODELS, Flow])
def test_yaml_lists_every_argument(model_class: type) -> None:
    config = composed(f"model={model_class.__name__.lower()}")["model"]
    arguments = set(inspect.signature(model_class).parameters)
    facts = {"image_shape", "classes"}  # of the data
    assert {key for key in config if not key.startswith("_")} == arguments - facts


def test_he_keeps_the_signal_where_torchs_init_shrinks_it() -> None:
    """The variances of both, and what they make of z: the spread of G's first images."""
    spread = {}
    for init, variance, bias in (("he", 2 / (1 + 0.2**2), 0.0), ("torch", 1 / 3, 1 / 3)):
        torch.manual_seed(0)
        model = GAN(init=init)
        for network in (model.generator, model.discriminator):
            for layer in network:
                if isinstance(layer, nn.Linear) and layer.out_features > 1:
                    fan_in = layer.in_features
                    assert layer.weight.var().item() * fan_in == pytest.approx(variance, rel=0.03)
                    assert layer.bias.square().mean().item() * fan_in == pytest.approx(
                        bias, rel=0.2
                    )
        images = model.sample(500, generator("spread"))
        spread[init] = images.std(0).mean().item()  # of one pixel, over z
    assert spread["he"] > 5 * spread["torch"]


def test_he_is_of_the_activations_slope_and_of_perceptrons_alone() -> None:
    network = VAE(init="he", activation="relu", encoder_dims=[512]).network
    assert network.enc1.weight.var().item() * 784 == pytest.approx(2, rel=0.03)
    assert not network.dec2.bias.any()
    for model_class in MODELS:
        dims = "generator_dims" if model_class is GAN else "encoder_dims"
        with pytest.raises(ValueError, match="init must be torch with network=conv"):
            model_class(init="he", network="conv", **{dims: None})
        with pytest.raises(ValueError, match="init must be one of torch, he"):
            model_class(init="foo")


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_noise_judges_other_images_in_gs_update(fresh: bool, digits: MNISTDataModule) -> None:
    model = GAN(fresh_noise=fresh)
    judged: list[Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda _, x: judged.append(x[0].detach()))
    fit(model, digits, steps=1, limit_val_batches=0)
    by_d, by_g = judged[0].chunk(2)[1], judged[1]
    assert torch.equal(by_d, by_g) is not fresh
    assert by_d.shape == by_g.shape


def snapshot(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def changed(before: list[Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


class Recorder(pl.Callback):
    """Which network each optimizer step changes, and which had gradients before."""

    def __init__(self, model: GAN) -> None:
        self.steps: list[str] = []
        names = ("generator", "discriminator")
        self.before = {name: snapshot(getattr(model, name)) for name in names}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        names = [n for n in self.before if changed(self.before[n], getattr(pl_module, n))]
        self.steps.append("+".join(names))
        self.before = {n: snapshot(getattr(pl_module, n)) for n in self.before}


def test_d_updates_in_every_batch_and_g_in_every_d_steps_th(digits: MNISTDataModule) -> None:
    model = GAN(generator_dims=[8], d_steps=3)
    recorder = Recorder(model)
    fit(model, digits, recorder, steps=7)
    both = "generator+discriminator"
    d = "discriminator"
    assert recorder.steps == [d, d, both, d, d, both, d]


@pytest.mark.parametrize("model_class", MODELS)
def test_steps_are_batches(model_class: Any, digits: MNISTDataModule) -> None:
    trainer = fit(model_class(), digits, max_epochs=1, limit_train_batches=5)
    assert trainer.global_step == 5
    assert fit(model_class(), digits, steps=7).global_step == 7


def test_a_step_is_the_textbook_step(digits: MNISTDataModule) -> None:
    """One batch of ours against the algorithm written out with torch alone."""
    ours = GAN(generator_dims=[16], dropout=0.0, lr=1e-3)
    g = nn.Sequential(nn.Linear(100, 16), nn.LeakyReLU(0.2), nn.Linear(16, 784), nn.Tanh())
    d = nn.Sequential(nn.Linear(784, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    for reference, network in ((g, ours.generator), (d, ours.discriminator)):
        for to, from_ in zip(reference.parameters(), network.parameters(), strict=True):
            to.data.copy_(from_.data)
    real = next(iter(digits.train_dataloader())).images.flatten(1) * 2 - 1
    fit(ours, digits, steps=1)

    StepSeed(0).on_train_batch_start(_AtStep(0), ours, real, 0)  # type: ignore[arg-type]
    fake = g(torch.rand(len(real), 100) * 2 - 1)
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    optimizer_d = torch.optim.Adam(d.parameters(), lr=1e-3, betas=(0.5, 0.999))
    (bce(d(real), ones) + bce(d(fake.detach()), zeros)).backward()
    optimizer_d.step()
    optimizer_g = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.999))
    g.zero_grad()
    bce(d(fake), ones).backward()
    optimizer_g.step()
    for reference, network in ((g, ours.generator), (d, ours.discriminator)):
        for expected, found in zip(reference.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


class _AtStep:
    def __init__(self, step: int) -> None:
        self.global_step = step


def test_d_gets_no_gradient_from_gs_step(digits: MNISTDataModule) -> None:
    model = GAN(generator_dims=[8], d_steps=1)
    gradients: list[Tensor] = []

    class Watch(pl.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            gradients.append(pl_module.discriminator[0].weight.grad.clone())

    fit(model, digits, Watch(), steps=1)
    in_d_step, in_g_step = gradients
    assert in_d_step.abs().sum() > 0
    assert torch.equal(in_d_step, in_g_step)
    assert all(parameter.requires_grad for parameter in model.discriminator.parameters())


def test_lr_g_and_lr_d_default_to_lr() -> None:
    def rates(model: GAN) -> list[float]:
        return [optimizer.param_groups[0]["lr"] for optimizer in model.configure_optimizers()]

    assert rates(GAN(lr=3e-4)) == [3e-4, 3e-4]
    assert rates(GAN(lr=3e-4, lr_d=1e-4)) == [3e-4, 1e-4]
    assert rates(GAN(lr=3e-4, lr_g=1e-4)) == [1e-4, 3e-4]


def test_ema_follows_g_and_gives_the_samples(digits: MNISTDataModule) -> None:
    model = GAN(generator_dims=[8], ema_decay=0.9)
    expected = [parameter.clone() for parameter in model.generator.parameters()]

    class Follow(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            for average, current in zip(expected, pl_module.generator.parameters(), strict=True):
                average.data.mul_(0.9).add_(current.data, alpha=0.1)

    fit(model, digits, Follow(), steps=5)
    assert model.generator_ema is not None
    for average, found in zip(expected, model.generator_ema.parameters(), strict=True):
        torch.testing.assert_close(found, average)
    z = model.prior(3, generator("z"))
    pixels = (model.generator_ema(z) + 1) / 2
    torch.testing.assert_close(model.decode(z).flatten(1), pixels)


def test_vae_step_is_the_elbo() -> None:
    model = VAE()
    images, noise = torch.rand(9, 1, 28, 28), torch.randn(1, 9, 64)
    logged = model._step(images, noise, kl_weight=0.5)
    mean, logvar = model.encode(images)
    posterior = Normal(mean, (0.5 * logvar).exp())
    z = mean + posterior.scale * noise[0]
    decoder = Bernoulli(probs=model.decode(z), validate_args=False)
    recon = -decoder.log_prob(images).sum((1, 2, 3)).mean()
    kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(logged, {"loss": recon + 0.5 * kl, "recon": recon, "kl": kl})


def test_kl_warms_up_over_its_epochs(digits: MNISTDataModule) -> None:
    model = VAE(beta=2.0, kl_warmup_epochs=2)
    weights: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            weights.append(pl_module._kl_weight())

    fit(model, digits, Watch(), max_epochs=3, limit_train_batches=2)
    assert weights == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_binarize_draws_each_pixel_anew(digits: MNISTDataModule) -> None:
    model = VAE(binarize=True)
    seen: list[Tensor] = []
    step = model._step

    def spy(images: Tensor, *arguments: Any, **options: Any) -> dict[str, Tensor]:
        seen.append(images)
        return step(images, *arguments, **options)

    model._step = spy  # type: ignore[method-assign]
    fit(model, digits, max_epochs=20, limit_train_batches=1, limit_val_batches=0)
    grey = digits.splits["train"].images.float().mean() / 255
    assert all(((pixels == 0) | (pixels == 1)).all() for pixels in seen)
    assert abs(torch.stack(seen).mean() - grey) < 0.01


@pytest.mark.parametrize(
    ("model", "figure"), [(VAE(encoder_dims=[64]), "val/loss"), (GAN(generator_dims=[64]), None)]
)
def test_it_learns(model: Any, figure: str | None, digits: MNISTDataModule) -> None:
    noise = generator("before")
    before = model.sample(100, noise).mean((0, 1))
    trainer = fit(model, digits, max_epochs=10)
    mean_image = digits.splits["train"].images.float().mean((0, 1)) / 255
    after = model.sample(100, generator("before")).mean((0, 1))
    assert (after - mean_image).square().mean() < 0.5 * (before - mean_image).square().mean()
    if figure:  # the independent-pixel model: no latent can be worse than this after training
        p = mean_image.clamp(1e-4, 1 - 1e-4)
        x = digits.splits["validation"].images.float() / 255
        marginals = -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3)).mean()
        assert trainer.callback_metrics[figure] < marginals


@pytest.mark.parametrize(
    ("model_class", "arguments", "named"),
    [
        (GAN, {"lr": -1e-3}, "lr"),
        (GAN, {"lr": float("nan")}, "lr"),
        (GAN, {"lr": True}, "lr"),
        (GAN, {"lr_d": 0.0}, "lr_d"),
        (GAN, {"activation": "swish"}, "activation"),
        (GAN, {"activation": ["relu"]}, "activation"),
        (GAN, {"generator_dims": []}, "generator_dims"),
        (GAN, {"generator_dims": [0]}, "generator_dims"),
        (GAN, {"discriminator_dims": [1.5]}, "discriminator_dims"),
        (GAN, {"dropout": 1.0}, "dropout"),
        (GAN, {"d_steps": 0}, "d_steps"),
        (GAN, {"label_smoothing": 0.7}, "label_smoothing"),
        (GAN, {"ema_decay": 1.0}, "ema_decay"),
        (GAN, {"betas": [0.5]}, "betas"),
        (GAN, {"betas": [0.5, 1.0]}, "betas"),
        (GAN, {"latent_dim": 0}, "latent_dim"),
        (GAN, {"network": "resnet"}, "network"),
        (GAN, {"width": 30}, "width"),
        (GAN, {"network": "conv"}, "generator_dims"),
        (GAN, {"generator_dims": None}, "generator_dims"),
        (GAN, {"loss": "bce"}, "loss"),
        (GAN, {"r1": -1.0}, "r1"),
        (GAN, {"r2": "1"}, "r2"),
        (GAN, {"gradient_penalty": -1}, "gradient_penalty"),
        (GAN, {"penalty_every": 0}, "penalty_every"),
        (GAN, {"loss": "hinge", "label_smoothing": 0.1}, "label_smoothing"),
        (GAN, {"conditional": "yes"}, "conditional"),
        (GAN, {"spectral_norm": 1}, "spectral_norm"),
        (VAE, {"lr": float("inf")}, "lr"),
        (VAE, {"lr": "fast"}, "lr"),
        (VAE, {"encoder_dims": "256"}, "encoder_dims"),
        (VAE, {"decoder_dims": [-5]}, "decoder_dims"),
        (VAE, {"beta": -1.0}, "beta"),
        (VAE, {"kl_warmup_epochs": -1}, "kl_warmup_epochs"),
        (VAE, {"binarize": "yes"}, "binarize"),
        (VAE, {"activation": None}, "activation"),
        (VAE, {"network": "conv"}, "encoder_dims"),
        (VAE, {"width": 0}, "width"),
        (VAE, {"conditional": 1}, "conditional"),
        (VAE, {"likelihood": "normal"}, "likelihood"),
        (VAE, {"likelihood": "gaussian", "binarize": True}, "binarize"),
        (VAE, {"prior": "normal"}, "prior"),
        (VAE, {"vamp_components": 0}, "vamp_components"),
        (VAE, {"free_bits": -0.1}, "free_bits"),
        (VAE, {"free_bits": 0.1, "prior": "vamp"}, "free_bits"),
        (VAE, {"iwae_samples": 0}, "iwae_samples"),
        (VAE, {"iwae_samples": 2, "beta": 2.0}, "iwae_samples"),
        (VAE, {"iwae_samples": 2, "free_bits": 0.1}, "iwae_samples"),
        (VAE, {"iwae_samples": 2, "kl_warmup_epochs": 1}, "iwae_samples"),
    ],
)
def test_arguments_out_of_range_are_named(
    model_class: Any, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be"):
        model_class(**arguments)


def test_the_output_bias_of_the_data(digits: MNISTDataModule) -> None:
    model = VAE(encoder_dims=[8], data_bias=True, lr=1e-12)
    fit(model, digits, steps=1)
    mean = (digits.splits["train"].images.double() / 255).mean(0).clamp(0.001, 0.999)
    found = model.network.last_bias.sigmoid().view(1, 28, 28)
    torch.testing.assert_close(found, mean.float(), atol=1e-6, rtol=1e-5)
