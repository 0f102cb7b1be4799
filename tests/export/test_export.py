"""What is exported computes what the model computes, and the card's own lines load it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from synthetic import edit, make_run
from torch import Tensor
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.export import programs
from gen_models.metrics.classifier import classifier_path, load_classifier
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.networks import LinearVAE
from gen_models.models.vae import VAE
from gen_models.runs import load_model
from gen_models.runs.directory import RunDirectory
from gen_models.runs.weights import save_model

CARD = (  # kind, model, its words in the card
    (
        "torch",
        VAE(latent_dim=4, network="conv", width=4, encoder_dims=None, conditional=True,
            image_shape=(3, 16, 24), classes=4),
        ["16x24 RGB pixels (height x width)", "(64, 3, 16, 24) in [0, 1]", "from 0: a, b, c, d.",
         "source not recorded"],
    ),
    (
        "onnx",
        GAN(latent_dim=5, generator_dims=(16,), image_shape=(1, 40, 24), classes=0),
        ["40x24 grey pixels", "# (64, 1, 40, 24) float32", "have no labels, so there is no class"],
    ),
)  # fmt: skip
MODELS = {"gan": GAN(latent_dim=5, generator_dims=(16,)), "vae": VAE(latent_dim=4)}


class Odd(VAE):
    """Its decoder takes a way that depends on the values."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z if z.sum() > 0 else -z)


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def saved(folder: Path, name: str, *overrides: str, **options: Any) -> RunDirectory:
    run = make_run(
        folder, f"model={name}", "phase=final", "data=digits", *overrides,
        metrics={"samples": 300.0}, **options,
    )  # fmt: skip
    save_model(run, MODELS[name])
    run.architecture.write_text("networks")
    return run


def run_onnx(path: Path, *inputs: Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    names = [argument.name for argument in session.get_inputs()]
    outputs: list[np.ndarray] = session.run(
        None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    )
    return outputs


def run_torch(path: Path, *inputs: Tensor) -> list[np.ndarray]:
    outputs = torch.export.load(path).module()(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [output.detach().numpy() for output in outputs]


@pytest.mark.parametrize(
    ("name", "kind", "run_file"), [("vae", "onnx", run_onnx), ("gan", "torch", run_torch)]
)
def test_the_files_compute_what_the_model_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, run_file: Any
) -> None:
    run = saved(tmp_path / "runs", name)
    folder = tmp_path / "made" / "export"
    code, text = call(run.path, "--format", kind, "--output", folder)
    assert code == 0, text
    ending = programs.FORMATS[kind].ending
    parts = ["decoder", "encoder"] if name == "vae" else ["generator"]
    found = {file.stem for file in folder.iterdir() if file.suffix == ending}
    assert found == {*parts, "classifier"}
    for part in found:
        assert re.search(rf"{part}\{ending}: differs by at most \d\.\de[+-]\d\d on 64 inputs", text)

    model: Any = load_model(run.path)
    images = torch.rand(5, 1, 28, 28)  # another number than the 64 at export
    z = model.prior(5)
    logits = load_classifier(classifier_path("digits", tmp_path)).network(images)
    expected = [((z,), parts[0], (model.decode(z),)), ((images,), "classifier", (logits,))]
    if name == "vae":
        expected.append(((images,), "encoder", model.encode(images)))
    for inputs, part, outputs in expected:
        made = run_file(folder / f"{part}{ending}", *inputs)
        for one, other in zip(made, outputs, strict=True):
            np.testing.assert_allclose(one, other.detach(), atol=1e-4)

    (snippet,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(snippet, names)
    drawn = np.load("z.npy")
    assert names["images"].shape == (64, 1, 28, 28)
    np.testing.assert_allclose(
        names["images"], model.decode(torch.from_numpy(drawn)).detach(), atol=1e-4
    )
    assert len(snippet.strip().splitlines()) <= 6


@pytest.mark.parametrize(("kind", "model", "says"), CARD)
def test_images_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, model: Any, says: list[str]
) -> None:
    """The card names their shape and classes, and its own lines draw them."""
    name = type(model).__name__.lower()
    monkeypatch.setitem(MODELS, name, model)
    run = saved(
        tmp_path / "runs",
        name,
        data={"digest": "0123456789", "classes": dict.fromkeys("abcd"[: model.classes], 9)},
    )
    config = run.read_config()
    config["data"] |= {"name": "shapes", "source": "npz", "root": str(tmp_path / "shapes.npz")}
    run.write_config(config)
    folder = tmp_path / "export"
    code, text = call(run.path, "--format", kind, "--output", folder)
    assert code == 0, text
    assert ("no classifier of shapes-01234567" in text) == bool(model.classes)
    card = (folder / "README.md").read_text()
    for words in says:
        assert words in card
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(re.findall("```python\n(.*?)```", card, re.DOTALL)[0], names)
    assert names["images"].shape == (64, *model.image_shape)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("onnx", {"conditional": True, "guidance": 0.5, "steps": 3}),
        ("torch", {"solver": "heun", "steps": 2}),
    ],
)
def test_the_card_solves_the_equation_of_a_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = Flow(width=4, dense=8, **options)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)  # its last layers start at 0
    monkeypatch.setitem(MODELS, "gan", model)
    folder = tmp_path / "export"
    run = saved(tmp_path / "runs", "gan")
    code, text = call(run.path, "--format", kind, "--output", folder)
    assert code == 0, text
    assert {file.stem for file in folder.glob(f"*{programs.FORMATS[kind].ending}")} == {
        "velocity",
        "classifier",
    }
    card = (folder / "README.md").read_text()
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(re.findall("```python\n(.*?)```", card, re.DOTALL)[0], names)
    expected = model.eval().decode(torch.from_numpy(np.load("z.npy"))).detach()
    assert expected.std() > 0.1
    np.testing.assert_allclose(names["images"], expected, atol=1e-4)


def test_the_file_of_a_gan_holds_no_discriminator(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    assert call(saved(tmp_path, "gan").path, "--format", "torch", "--output", folder)[0] == 0
    weights = torch.export.load(folder / "generator.pt2").state_dict
    assert sum(weight.numel() for weight in weights.values()) == (5 + 1) * 16 + (16 + 1) * 784


def test_hubs_read_the_card(tmp_path: Path) -> None:
    run = saved(tmp_path, "vae", fid=12.25, mse=0.005, loss=101.5)
    folder = tmp_path / "export"
    assert call(run.path, "--format", "torch", "--output", folder)[0] == 0
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit"
    assert {"vae", "digits", "torch"} <= set(card.data.tags)
    assert card.data.datasets == ["digits"]
    results = {result.metric_type: result for result in card.data.eval_results}
    assert set(card.data.metrics) == set(results)
    metrics = json.loads(run.metrics.read_text())
    assert results["fid_lenet"].metric_value == metrics["fid_lenet"] == 12.25
    assert results["encoder_mse"].metric_value == metrics["encoder/mse"]
    assert "(300 images)" in results["fid_lenet"].metric_name
    assert "(256 images)" in results["inversion_mse"].metric_name
    assert {result.dataset_type for result in results.values()} == {"digits"}
    assert "| 12.25 | 300 | real images 0.20, crude Gaussian 59.40 |" in card.text
    assert "CC BY 4.0" in card.text
    assert "`z` ~ N(0, I), (n, 4)." in card.text
    assert "60 s and 429 batches on cpu, 1 thread" in card.text
    record = json.loads((folder / "export.json").read_text())
    assert [entry["file"] for entry in record["files"]][0] == "decoder.pt2"


@pytest.mark.parametrize(
    ("model", "says", "silent"),
    [
        (
            VAE(latent_dim=4, conditional=True),
            ["z` ~ N(0, I), (n, 4), followed by the class", "`labels` are the classes"],
            ".prior(n)",
        ),
        (
            GAN(latent_dim=5, generator_dims=(16,), conditional=True),
            ["~ U(-1, 1), (n, 5), "],
            "mean",
        ),
        (
            VAE(latent_dim=4, prior="vamp", vamp_components=3),
            [".prior(n)` draws from it"],
            "N(0, I)",
        ),
    ],
)
def test_the_card_says_how_z_is_drawn(
    model: GAN | VAE, says: list[str], silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's z that ends with the digit; one whose prior was learnt, and stands in no file."""
    if isinstance(model, VAE) and isinstance(model.network, LinearVAE):
        model.network.get_parameter("enc1.weight").data *= 20  # as apart as after a training
    monkeypatch.setitem(MODELS, "vae", model)
    run = saved(tmp_path / "runs", "vae")
    folder = tmp_path / "export"
    code, text = call(run.path, "--format", "torch", "--output", folder)
    assert code == 0, text
    card = (folder / "README.md").read_text()
    for words in says:
        assert words in card
    assert silent not in card.partition("## Data")[0]


def test_a_run_that_was_not_measured_says_so(tmp_path: Path) -> None:
    run = saved(tmp_path, "gan", fid=None)
    metrics = {"quick/fid_lenet": 20.0, "quick/samples": 200.0}
    for recorded, says in ((metrics, "| 20.00 | 200 | - |"), ({}, "gen-models evaluate")):
        run.metrics.write_text(json.dumps(recorded))
        folder = tmp_path / "export"
        assert call(run.path, "--format", "torch", "--output", folder, "--overwrite")[0] == 0
        card = ModelCard.load(folder / "README.md")
        assert says in card.text
        assert bool(card.data.eval_results) == bool(recorded)


def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "vae", Odd())
    run = saved(tmp_path / "runs", "vae")
    code, text = call(run.path, "--format", "torch", "--output", tmp_path / "export")
    assert code == 1
    assert text.startswith(f"{run.path}: its decoder cannot be exported")
    assert text.count("\n") == 1
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_file_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = saved(tmp_path / "runs", "gan"), tmp_path / "export"
    assert call(run.path, "--format", "torch", "--output", folder)[0] == 0
    before = (folder / "README.md").read_text()
    kind = programs.FORMATS["torch"]

    def off(path: Path, inputs: Any) -> list[np.ndarray]:
        return [output + 2e-4 for output in kind.run(path, inputs)]

    monkeypatch.setitem(programs.FORMATS, "torch", kind._replace(run=off))
    code, text = call(run.path, "--format", "torch", "--output", folder, "--overwrite")
    assert code == 1
    assert text.startswith(f"{run.path}: its generator as a file differs by 0.0002")
    assert text.count("\n") == 1
    assert (folder / "README.md").read_text() == before  # the earlier export stands
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "runs"]


def test_a_folder_that_exists_is_kept(tmp_path: Path) -> None:
    run, other = saved(tmp_path / "runs", "gan"), tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for options, says in (([], "--overwrite"), (["--overwrite"], "no earlier export")):
        code, text = call(run.path, "--format", "torch", "--output", other, *options)
        assert code == 1
        assert text.startswith(f"--output {other}: ")
        assert says in text
        assert text.count("\n") == 1
    assert (other / "thesis.txt").exists()


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    code, text = call(tmp_path, "--format", "onnx", "--output", tmp_path / "export")
    assert code == 1
    assert text == "onnx is not installed: pip install -e '.[export]'\n"


def test_a_data_set_without_a_classifier(tmp_path: Path) -> None:
    run, folder = saved(tmp_path, "gan"), tmp_path / "export"
    config = run.read_config()
    config["data"] |= {"name": "kmnist", "root": str(tmp_path)}
    run.write_config(config)
    edit(run.metrics, fid_lenet=None)
    code, text = call(run.path, "--format", "torch", "--output", folder)
    assert code == 0
    assert "no classifier of kmnist" in text
    assert not list(folder.glob("classifier*"))
    assert "CC BY-SA 4.0" in (folder / "README.md").read_text()


def test_a_disk_that_is_full_is_an_error_and_no_abort(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(100, 100), (torch.zeros(1, 100),))
    file = tmp_path / "generator.pt2"
    file.symlink_to("/dev/full")  # each write to it fails as on a full disk
    with pytest.raises(OSError, match="No space left on device"):
        programs.FORMATS["torch"].write(program, None, file)
