"""The run directory: its name, what is skipped, what is refused, the model in it."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Trained, composed, read_metrics, small, train
from safetensors.torch import load_file, save_file
from test_checkpoints import Payload

from gen_models.composition import compose_job
from gen_models.errors import UserError
from gen_models.evaluation.cost import trained_parameters
from gen_models.models.gan import GAN
from gen_models.models.interface import Encoder, draw_fixed
from gen_models.models.vae import VAE
from gen_models.runs import identity as identities
from gen_models.runs import load_model
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import LONGEST_NAME, Job, essence, fingerprint
from gen_models.training.run import find_run


def path_of(*overrides: str) -> str:
    groups = [text for text in overrides if text.split("=")[0] in ("data", "model", "phase")]
    return str(Job(composed(*overrides), composed(*groups)).path)


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ([], "outputs/mnist/gan_final/seed0"),
        (["model=vae", "phase=baseline", "seed=3"], "outputs/mnist/vae_baseline/seed3"),
        (["lr=5e-4"], "outputs/mnist/gan_final/seed0-lr0.0005"),
        (["lr=2e-4"], "outputs/mnist/gan_final/seed0"),  # as the phase has it
        (["activation=elu"], "outputs/mnist/gan_final/seed0-activation_elu"),
        (["hidden_dims=[64,32]"], "outputs/mnist/gan_final/seed0-generator_dims64x32"),
        (["model=vae", "model.binarize=true"], "outputs/mnist/vae_final/seed0-binarize_true"),
        (["model.lr_d=1e-4", "max_epochs=5"],
         "outputs/mnist/gan_final/seed0-lr_d0.0001-max_epochs5"),
        (["precision=bf16-mixed"], "outputs/mnist/gan_final/seed0-precision_bf16-mixed"),
        (["data=digits", "output_dir=x/y"], "x/y/digits/gan_final/seed0"),
    ],
)  # fmt: skip
def test_the_name_says_what_differs_from_the_phase(overrides: list[str], path: str) -> None:
    assert path_of(*overrides) == path


def test_what_does_not_change_the_figures_does_not_change_the_name() -> None:
    changes = ["overwrite=true", "keep=true", "callbacks=no_pictures", "trainer.accelerator=cpu",
               "data.root=/elsewhere", "callbacks.sample_grid.count=4"]  # fmt: skip
    for change in changes:
        assert path_of(change) == path_of()


def test_what_changes_the_figures_changes_the_name() -> None:
    changes = ["model.latent_dim=7", "model.d_steps=2", "model.betas=[0,0.9]", "data.batch_size=64",
               "max_steps=10", "trainer=smoke", "model.ema_decay=0.9",
               "+trainer.gradient_clip_val=1.0", "+trainer.profiler=a/b"]  # fmt: skip
    assert len({path_of(), *(path_of(change) for change in changes)}) == len(changes) + 1


def test_an_option_of_lightnings_own_is_part_of_the_name() -> None:
    path = Path(path_of("+trainer.gradient_clip_val=0.5", "+trainer.plugins=[a/b]"))
    assert path.name == "seed0-gradient_clip_val0.5-plugins_['a_b']"
    assert path.parent.name == "gan_final"


def test_long_names_are_cut_and_stay_apart() -> None:
    dims = ",".join(["1000"] * 40)
    first, second = (Path(path_of(f"hidden_dims=[{dims},{last}]")).name for last in (1, 2))
    assert first != second
    assert len(first) == len(second) == LONGEST_NAME


def test_names_can_be_passed_back_to_hydra() -> None:
    assert not set("=,") & set(path_of("lr=5e-4", "hidden_dims=[64,32]", "model.betas=[0,0.9]"))


def test_files_of_a_finished_run(trained: Trained) -> None:
    run = trained("model=vae")
    found = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    events = {name for name in found if name.startswith("events.out.tfevents.")}
    assert events
    assert found - events == {
        ".lock", "config.yaml", "architecture.txt", "status.json", "train.log", "metrics.json",
        "model.json", "model.safetensors",
        "checkpoints/latest.ckpt", "checkpoints/latest-previous.ckpt", "checkpoints/best.ckpt",
        "figures/data.png", "figures/samples.png", "figures/curves.png",
        "figures/reconstructions.png", "figures/training.webp",
    }  # fmt: skip
    status = run.read_status()
    metrics = read_metrics(run)
    assert status["status"] == "done"
    assert status["objective"] == metrics["val/fid_lenet"]
    assert 100 < status["peak_memory_mib"] < 10_000
    assert status["steps"] == 8
    assert status["commit"] == "" or len(status["commit"].rstrip("+")) == 12
    assert status["threads"] == torch.get_num_threads()
    assert status["versions"]["torch"] == torch.__version__
    assert "enc1" in run.architecture.read_text()
    assert "451,984 parameters" in run.architecture.read_text()
    losses = {f"{s}/{k}" for s in ("val", "test") for k in ("loss", "recon", "kl")}
    assert set(metrics) == losses | {"val/fid_lenet", "val/coverage", "val/missing_digits"}
    for path in run.checkpoints.iterdir():
        torch.load(path, weights_only=True)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained: Trained) -> None:
    first = load_file(trained("model=gan").weights)
    again = load_file(trained("model=gan", "overwrite=true").weights)
    other = load_file(trained("model=gan", "seed=1").weights)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("model", ["gan", "vae"])
@pytest.mark.parametrize(
    "change",
    [
        "callbacks=no_pictures",
        "trainer.log_every_n_steps=3",
        "trainer.check_val_every_n_epoch=2",
        "callbacks.sample_grid.every_n_epochs=2",
    ],
)
def test_watching_changes_no_weight(
    trained: Trained, copied: Trained, model: str, change: str
) -> None:
    plain = load_file(copied(f"model={model}").weights)
    watched = load_file(trained(f"model={model}", change, "overwrite=true").weights)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_a_finished_run_is_skipped(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("model=vae")
    before = run.weights.stat().st_mtime_ns
    capsys.readouterr()
    objective = train(*small(tmp_path, "model=vae"))
    assert objective == run.read_status()["objective"]
    assert run.weights.stat().st_mtime_ns == before
    assert len(list(run.path.glob("events*"))) == 1
    assert "already trained on 20" in capsys.readouterr().out


def test_overwrite_trains_again(trained: Trained) -> None:
    run = trained("model=vae")
    before = run.weights.stat().st_mtime_ns
    trained("model=vae", "overwrite=true")
    assert run.weights.stat().st_mtime_ns > before
    assert len(list(run.path.glob("events*"))) == 1


def test_other_code_is_never_skipped_silently(trained: Trained, tmp_path: Path) -> None:
    run = trained("model=vae")
    run.write_status(fingerprint="of older code")
    with pytest.raises(UserError, match=r"other code: overwrite=true .* keep=true"):
        train(*small(tmp_path, "model=vae"))
    objective = train(*small(tmp_path, "model=vae", "keep=true"))
    assert objective == run.read_status()["objective"]


def test_a_diverged_run_of_other_code_is_not_offered_to_be_kept(
    copied: Trained, tmp_path: Path
) -> None:
    run = copied("model=vae")
    run.write_status(status="diverged", error="diverged", fingerprint="of older code")
    with pytest.raises(UserError, match="other code: overwrite=true") as refused:
        train(*small(tmp_path, "model=vae"))
    assert "keep" not in str(refused.value)


def test_a_rank_that_does_not_write_judges_no_run(copied: Trained, tmp_path: Path) -> None:
    """It may read while rank 0 writes: config.yaml is not there yet."""
    run = copied("model=vae")
    run.write_status(status="interrupted")
    run.config.unlink()
    job = compose_job(small(tmp_path, "model=vae"))
    with pytest.raises(UserError):
        find_run(job, VAE, judge=True)
    assert find_run(job, VAE, judge=False).checkpoint is not None


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_keep_keeps_no_run_that_is_not_finished(
    state: str, trained: Trained, tmp_path: Path
) -> None:
    run = trained("model=vae")
    run.metrics.unlink()
    run.write_status(status=state, fingerprint="of older code")
    with pytest.raises(UserError, match=r"other code, not finished: overwrite=true") as refused:
        train(*small(tmp_path, "model=vae", "keep=true", "evaluate=quick"))
    assert "\n" not in str(refused.value)
    assert run.read_status()["status"] == state


def test_a_moved_default_is_named(trained: Trained, tmp_path: Path) -> None:
    run = trained("model=vae")
    config = run.read_config()
    config["model"]["beta"] = 3.0
    run.write_config(config)
    with pytest.raises(UserError, match=r"model\.beta=3\.0, now it is 1\.0"):
        train(*small(tmp_path, "model=vae"))


def test_a_diverged_run_is_not_repeated(trained: Trained, tmp_path: Path) -> None:
    run = trained("model=vae")
    run.write_status(status="diverged", error="diverged at step 3")
    with pytest.raises(UserError, match=r"diverged at step 3 .*overwrite=true"):
        train(*small(tmp_path, "model=vae"))


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_commit_is_that_of_the_code_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.check_output(["git", "-C", tmp_path, *who, *words], text=True).strip()

    code, installed = tmp_path / "code.py", tmp_path / "site-packages.py"
    code.write_text("")
    installed.write_text("")
    monkeypatch.setattr(identities, "PACKAGE", tmp_path)
    monkeypatch.setattr(identities, "__file__", str(code))
    assert identities.commit() == ""
    git("init", "-q")
    git("add", "code.py")
    git("commit", "-qm", "first")
    assert identities.commit() == git("rev-parse", "HEAD")[:12]
    code.write_text("changed")
    assert identities.commit() == git("rev-parse", "HEAD")[:12] + "+"
    monkeypatch.setattr(identities, "__file__", str(installed))  # in somebody's repository
    assert identities.commit() == ""


def test_fingerprints_change_with_what_changes_figures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "other_model.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def hashed(text: str) -> str:
        module.write_text(text)
        sys.modules.pop("other_model", None)
        import other_model  # type: ignore[import-not-found]

        return fingerprint(other_model.M)

    plain = """class M:
    def step(self, x):
        if x < 0:
            raise ValueError("negative")
        return 2 * x
"""
    same = '''"""Docstring."""
import math  # a comment
class M:
    """Other."""
    def step(self, x):
        """Schritt für Schritt."""

        if x < 0:  # größer
            raise ValueError(
                f"x must not be negative, got {x}"  # noqa
            )
        return 2 * x
'''
    first = hashed(plain)
    assert hashed(same) == first
    assert hashed(plain.replace("2 * x", "3 * x")) != first
    assert hashed(plain.replace("x < 0", "x < 1")) != first


def test_a_fingerprint_is_of_the_text_and_so_the_same_in_every_python() -> None:
    """A printed syntax tree, by `ast.dump` or `ast.unparse`, differs between versions of Python."""
    source = (
        '"""Doc."""\nimport os\n\n\ndef f(x):\n    "doc"\n    log.info(f"{x!r:>{3}}")\n'
        "    # why\n    return f'ä{{{x}}}', '#'  # ä\n"
    )
    assert essence(source) == "def f(x):\n return f'ä{{{x}}}', '#'"


def test_a_fingerprint_follows_imports_and_outlives_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gen_models"
    for name in ("data/module.py", "training/schedule.py", "training/trainer.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"PATH = {name!r}")
    monkeypatch.setattr(identities, "PACKAGE", package)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def hashed(factor: int, name: str) -> str:
        shutil.rmtree(package / "models", ignore_errors=True)
        (package / "models").mkdir()
        (package / "models" / f"{name}.py").write_text(f"FACTOR = {factor}")
        (tmp_path / "its_model.py").write_text(
            f"class M:\n def f(self):\n  from gen_models.models import {name} as shared\n"
        )
        sys.modules.pop("its_model", None)
        import its_model  # type: ignore[import-not-found]

        return fingerprint(its_model.M)

    assert hashed(2, "layers") == hashed(2, "blocks") != hashed(3, "blocks")


def test_two_processes_cannot_share_a_run(trained: Trained, tmp_path: Path) -> None:
    run = trained("model=vae")
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
         "print('held', flush=True); sys.stdin.read()", str(run.path / ".lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UserError, match="another process is at work on this run"):
        train(*small(tmp_path, "model=vae", "overwrite=true"))
    holder.kill()
    holder.communicate()
    train(*small(tmp_path, "model=vae"))  # a kill -9 leaves no lock behind


def test_an_output_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        train(*small(tmp_path / "file", "model=vae"))


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_load_model_needs_two_files_alone(trained: Trained, tmp_path: Path, model: str) -> None:
    run = trained(f"model={model}", "model.latent_dim=5")
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (run.model, run.weights):
        os.link(path, alone / path.name)
    first, second = load_model(run.path), load_model(alone)
    assert not first.training
    assert first.latent_dim == 5
    assert torch.equal(draw_fixed(first, 10), draw_fixed(second, 10))


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_what_is_loaded_asks_for_no_gradients(trained: Trained, model: str) -> None:
    """Its images are arrays at once; the model that was trained is counted as it was."""
    run = trained(f"model={model}", "model.latent_dim=5")
    loaded = load_model(run.path)
    assert loaded.sample(16).numpy().shape == (16, 1, 28, 28)
    assert loaded.decode(loaded.prior(2)).numpy().shape == (2, 1, 28, 28)
    if isinstance(loaded, Encoder):
        parts = loaded.encode(torch.zeros(2, 1, 28, 28))
        assert [part.numpy().shape for part in parts] == [(2, 5)] * 2
    record = json.loads(run.model.read_text(encoding="utf-8"))
    built = {"gan": GAN, "vae": VAE}[model](**record["arguments"])
    count = sum(p.numel() for p in built.parameters() if p.requires_grad)
    assert trained_parameters(loaded) == count > 0


def test_the_weights_are_the_last_epochs_and_best_is_an_extra(trained: Trained) -> None:
    run = trained("model=vae", epochs=3)
    last = torch.load(run.checkpoints / "latest.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(last[k], v) for k, v in load_file(run.weights).items())
    best = torch.load(run.checkpoints / "best.ckpt", weights_only=True)
    found = load_model(run.path, checkpoint="best").state_dict()
    assert all(torch.equal(best["state_dict"][k], found[k]) for k in found)


def test_load_model_refuses_what_is_not_ours(trained: Trained, tmp_path: Path) -> None:
    run = trained("model=vae")
    made = tmp_path / "made"
    with pytest.raises(UserError, match="not a finished run"):
        load_model(tmp_path)
    (run.checkpoints / "best.ckpt").unlink()
    with pytest.raises(UserError, match="no best weights"):
        load_model(run.path, checkpoint="best")
    torch.save({"state_dict": Payload(made)}, run.checkpoints / "best.ckpt")
    with pytest.raises(UserError, match="not weights of this model"):
        load_model(run.path, checkpoint="best")
    run.weights.write_bytes(pickle.dumps(Payload(made)))
    with pytest.raises(UserError, match="not weights of this model"):
        load_model(run.path)
    save_file({"other": torch.zeros(1)}, run.weights)
    with pytest.raises(UserError, match="not weights of this model"):
        load_model(run.path)
    for name in ("os.system", "gen_models.models.vae.LinearVAE", "gen_models.nothing.VAE", None):
        run.model.write_text(json.dumps({"class": name, "arguments": {}}))
        with pytest.raises(UserError, match="is not a model of gen_models"):
            load_model(run.path)
    run.model.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_model(run.path)
    assert not made.exists()


def test_a_run_directory_reads_what_it_wrote(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    config = composed("model=vae", "lr=5e-5", "hidden_dims=[3,4]")
    run.write_config(config)
    assert run.read_config() == config
