"""A third model is one .py and one .yaml: trained, evaluated and compared like the others."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conftest import ROOT, small
from test_front_door import call_train
from torch import nn
from toy import Toy
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.data.loader import InMemoryLoader
from gen_models.errors import UserError
from gen_models.export.programs import FORMATS, parts_of, write_part
from gen_models.models.interface import reconstruct
from gen_models.runs import load_model

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(HERE),
    "GEN_MODELS_IMPORT": "toy",
}
HERE_TOO = ["--config-dir", str(HERE / "conf"), "model=toy"]
CLI = ["-c", "from gen_models.cli import app; app()"]


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def train(
    *overrides: str, cwd: Path, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    options = [text for text in small(Path("out")) if not text.startswith("evaluate")]
    return call(str(ROOT / "train.py"), *flags, *HERE_TOO, *options, *overrides, cwd=cwd)


@pytest.mark.slow
def test_it_is_trained_evaluated_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = train("seed=0,1", "evaluate=quick", cwd=tmp_path, flags=["-m"])
    assert swept.returncode == 0, swept.stderr
    runs = sorted(path.parent for path in tmp_path.rglob("status.json"))
    assert [run.parent.name for run in runs] == ["toy_baseline"] * 2
    assert "gen-models compare out/digits/toy_baseline" in swept.stdout
    little = ["--restarts", "1", "--iterations", "20"]
    evaluated = call(*CLI, "evaluate", str(runs[0]), *little, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.stderr == ""  # no advice of libraries
    monkeypatch.setenv("GEN_MODELS_IMPORT", "toy")  # what follows is done in this process
    monkeypatch.chdir(tmp_path)
    second = CliRunner().invoke(app, ["evaluate", str(runs[1]), *little])
    assert second.exit_code == 0, second.output
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    for key in ("test/loss", "fid_lenet", "coverage", "encoder/mse", "inversion/mse",
                "active_units", "cost/flops_per_step"):  # fmt: skip
        assert key in metrics
    assert not any(key.startswith(("likelihood/", "grey_pixels/")) for key in metrics)
    for picture in ("samples", "reconstructions", "recreated", "traversal", "latent_map"):
        assert (runs[0] / "figures" / f"{picture}.png").exists()
    compared = CliRunner().invoke(app, ["compare", "out/digits", "--output", "report"])
    assert compared.exit_code == 0, compared.output
    results = json.loads((tmp_path / "report/results.json").read_text())
    (group,) = results["groups"].values()
    assert len(group["metrics"]["encoder/mse"]["values"]) == 2


def test_it_is_exported_with_its_labels(tmp_path: Path) -> None:
    model = Toy().eval()
    decoder, encoder = parts_of(model, None)
    assert list(encoder.inputs) == ["images", "labels"]
    for part in (decoder, encoder):
        assert write_part(part, FORMATS["torch"], tmp_path).difference < 1e-6
    images, labels = torch.rand(3, 1, 28, 28), torch.tensor([7, 0, 9])
    mean, _ = torch.export.load(tmp_path / "encoder.pt2").module()(images, labels)
    assert torch.allclose(mean, model.encode(images, labels)[0], atol=1e-5)


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize("option", ["hidden_dims=[64]", "activation=elu"])
def test_an_option_that_it_does_not_take_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = call_train(monkeypatch, capfd, *HERE_TOO, *small(Path("out")), option)
    assert code == 1
    assert option.partition("=")[0] in said
    assert "takes no" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_looking_at_pictures_changes_no_weight() -> None:
    model = Toy()
    model.encoder = nn.Sequential(model.encoder, nn.BatchNorm1d(8))  # type: ignore[assignment]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reconstruct(model, torch.rand(4, 1, 28, 28), torch.arange(4))
    assert model.encoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_batch_without_labels_is_refused_in_one_line() -> None:
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    (batch,) = InMemoryLoader(images, batch_size=4)
    with pytest.raises(UserError, match="conditional model needs labels, and this data set has no"):
        Toy().training_step(batch, 0)


def test_a_module_that_is_not_allowed_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.json").write_text('{"class": "toy.Toy", "arguments": {}}')
    monkeypatch.delenv("GEN_MODELS_IMPORT", raising=False)
    monkeypatch.delitem(sys.modules, "toy")
    with pytest.raises(UserError, match="GEN_MODELS_IMPORT=toy allows its import"):
        load_model(tmp_path)
    assert "toy" not in sys.modules
