"""Wrong commands, configurations and files: each ends in one line that names what is wrong.

In this process, by the programs' own front doors; no traceback, and no half-made run directory.
"""

import argparse
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
from conftest import ROOT, composed, small
from typer.testing import CliRunner

from gen_models.cli import app
from gen_models.composition import BY_USER, WITHOUT_KEY, take_over

pytestmark = pytest.mark.usefixtures("hydra_restore_singletons")


def run_train(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """`python train.py ARGUMENTS`: the exit code and what is on stdout and stderr."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", [str(ROOT / "train.py"), *arguments])
        for name in ("HYDRA_FULL_ERROR", BY_USER):
            patched.setenv(name, "0")  # restored afterwards
        patched.setattr(argparse.ArgumentParser, "print_usage", lambda *_: None)
        capfd.readouterr()
        try:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        else:
            code = 0
    assert isinstance(code, int)
    written = capfd.readouterr()
    assert "Traceback" not in written.out
    return code, written.out, written.err


def call_train(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """`python train.py ARGUMENTS`: the exit code and what is on stderr."""
    code, _, said = run_train(monkeypatch, capfd, *arguments)
    return code, said


COMMANDS = [
    # no command line at all
    ("lr", "lr: missing EQUAL"),
    ("a", "a: missing EQUAL at '<EOF>'"),
    ("=1", "=1"),
    ("lr=[", "lr=["),
    ("lr={a:", "lr={a:"),
    ("output_dir=a=b", "output_dir=a=b"),
    ("output_dir=résultats", "output_dir=r"),
    ("--nonsense", "--nonsense"),
    ("--cfg nonsense", "nonsense"),
    ("-c", "--cfg"),
    ("--config-name nothing", "nothing"),
    ("--config-dir /proc/nowhere", "/proc/nowhere"),
    # groups
    ("model=null", "model=null"),
    ("data=null", "data=null"),
    ("phase=null", "phase=null"),
    ("trainer=null", "trainer=null"),
    ("callbacks=null", "callbacks=null"),
    ("logger=null", "logger=null"),
    ("~logger", "logger"),
    ("logger=[csv,comet]", "logger/comet"),
    ("debug=true", "debug=true"),
    ("debug=slow", "fast, overfit, profile"),
    ("model=1", "model=1"),
    ("model=ＧＡＮ", "ＧＡＮ"),
    ("model=gam", "Did you mean model=gan?"),
    ("phase=finl", "Did you mean phase=final?"),
    ("model=gan,vae", "several values are a sweep: add -m, python train.py -m model=gan,vae"),
    ("+model=vae", "model"),
    ("model=[gan,vae]", "model"),
    ("phase=middle", "baseline, best, final"),
    ("sweep=nothing", "sweep=nothing: unknown sweep, known are activation"),
    ("activation=swish", "leaky_relu"),
    ("~data", "data"),
    ("~model", "model"),
    ("~callbacks", "callbacks"),
    ("~nothing", "nothing"),
    ("model@other=vae", "other"),
    # keys
    ("lrr=1", "unknown option 'lrr'. Did you mean lr?"),
    ("mdoel=gan", "Did you mean model?"),
    ("swep=lr", "Did you mean sweep?"),
    ("latent_dmi=3", "Did you mean model.latent_dim?"),
    ("model.latent_dmi=3", "unknown option 'model.latent_dmi'. Did you mean model.latent_dim?"),
    ("data.num_workers=4", "unknown option 'data.num_workers'; data has batch_size, name"),
    ("xyzzy=1", "unknown option 'xyzzy'; python train.py --help lists"),
    ("seed.deeper=1", "seed has no options of its own"),
    ("+lrr=1", "'lrr'"),
    ("model.lrr=1", "lrr"),
    ("+model.lrr=1", "'lrr'"),
    ("model.lr.deeper=1", "model.lr.deeper"),
    ("model=vae model.dropout=0.1", "model.dropout"),
    ("model=vae network=unet", "network must be one of mlp, conv"),
    ("model=flow network=conv", "network must be one of mlp, unet"),
    ("model=flow network=unet hidden_dims=[64]", "flow takes no hidden_dims"),
    ("model=flow sampler=gmm", "sampler=gmm: the model flow has a z as large as an image"),
    ("model=flow experiment=burda", "model: Flow takes no 'latent_dim': leave out the option"),
    ("model=flow model.solver=dopri5", "model: steps must be null with solver=dopri5"),
    ("~seed", "seed"),
    ("~lr", "lr"),
    ("~trainer.max_epochs", "max_epochs"),
    ("~model._target_", "_target_"),
    # values
    ("lr=", "lr must be"),
    ("lr=1,2", "lr=1,2"),
    ("lr='1e-3'", "lr must be"),
    ("lr=1e400", "lr must be"),
    ("lr=[1e-3]", "lr must be"),
    ("lr={a:1}", "lr must be"),
    ("lr=true", "lr must be"),
    ("'lr=${nope}'", "nope"),
    ("'seed=${seed}'", "nterpolation"),
    ("seed=1.5", "seed must be"),
    ("seed=[]", "seed must be"),
    ("max_epochs=1e3", "max_epochs must be"),
    ("max_epochs=ten", "max_epochs must be"),
    ("max_steps=0", "max_steps must be"),
    ("hidden_dims=[256,-1]", "hidden_dims must be"),
    ("hidden_dims=[1.5]", "hidden_dims must be"),
    ("hidden_dims=[1000000000]", "out of memory building model"),
    ("hidden_dims=[1000000000000000000]", "out of memory building model"),
    ("hidden_dims=[100000000000000000000000]", "model"),
    ("model.latent_dim=100000000000", "out of memory building model"),
    ("data.batch_size=9999999999", "data.batch_size=9999999999: digits has only"),
    ("data.batch_size=null", "batch_size must be"),
    ("data.name=../digits", "data.name=../digits"),
    ("model._target_=os.system", "os.system"),
    ("model._target_=gen_models.nothing.GAN", "gen_models.nothing"),
    ("model=null data=null", "model=null"),
    ("callbacks.sample_grid=null", "callbacks.sample_grid"),
    ("callbacks.sample_grid.every_n_epochs=-1", "every_n_epochs must be"),
    ("trainer.accelerator=toaster", "trainer"),
    ("trainer.devices=-3", "trainer"),
    ("trainer=ddp trainer.devices=1000", "trainer.devices=1000: this machine has"),
    ("trainer.accelerator=gpu trainer.devices=99", "trainer"),
    ("trainer.strategy=nonsense", "trainer"),
    ("precision=64", "precision must be"),
    ("threads=0", "threads must be auto or"),
    ("threads=foo", "threads must be auto or"),
    ("threads=999", "threads=999: this process may use"),
    ("~threads", "threads must be auto or"),
    ("traceback=perhaps", "traceback must be"),
    ("tags=a", "tags must be a list of words"),
    ("tags=[1]", "tags must be a list of words"),
    ("callbacks=early_stopping callbacks.early_stopping.patience=0", "patience must be"),
    ("callbacks=early_stopping ~callbacks.validation_distance", "needs callbacks.validation"),
    ("logger.tensorboard=null", "logger.tensorboard: needs a _target_"),
    ("+logger.mine._target_=lightning.pytorch.callbacks.Timer", "logger.mine"),
    ("overwrite=1", "overwrite must be"),
    ("output_dir=[a]", "output_dir must be"),
    (
        "output_dir=2024",
        """got 2024: a name that looks like a number needs quotes: "output_dir='2024'\"""",
    ),
    ("output_dir=true", "output_dir must be a folder, got True"),
    ("data.root=2024", "data.root must be a folder, got 2024"),
    ("extend=1e3", "extend must be a folder, got 1000.0"),
    ("output_dir=/proc/nothing", "/proc/nothing"),
    ("output_dir=" + "x" * 300, "cannot be written"),
    ("data=mnist data.root=/proc/nowhere", "/proc/nowhere"),
    ("data=mnist data.root=no/where", "no/where"),
    ("-m trainer.devices=2", "trainer.devices"),
    ("-m lr=range(1,x)", "lr=range(1,x)"),
]


@pytest.mark.parametrize(("line", "names"), COMMANDS, ids=[line[:40] for line, _ in COMMANDS])
def test_a_wrong_command_is_one_line(
    line: str,
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gen_models.data.datasets.DOWNLOAD_TIMEOUT", 0.1)
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    words = [word.strip("'") if "$" in word or '"' in word else word for word in split(line)]
    given = {word.lstrip("~+").partition("=")[0] for word in words}
    base = [text for text in small(Path("out")) if text.partition("=")[0] not in given]
    base = [text for text in base if text.partition("=")[0].partition(".")[0] not in given]
    code, said = call_train(monkeypatch, capfd, *base, *words)
    assert code in (1, 2)
    first, *others = said.splitlines()
    assert names in first
    if words[0] == "-m":  # Hydra itself names the job of a sweep
        others = [text for text in others if not text.startswith("Error executing job with")]
    assert others == []
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["multirun.yaml"] * (words[0] == "-m" and bool(left))


def split(line: str) -> list[str]:
    """Words of a command line, as a shell would; quotes inside of words are Hydra's."""
    return re.findall(r"(?:'[^']*'|[^\s'])+", line) if line.count("'") % 2 == 0 else line.split()


def test_groups_that_have_no_key_until_they_are_picked() -> None:
    groups = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()}
    keys = {*composed(), "hydra", "study", "search"}  # the last two: for gen-models
    follow = {name for name in groups if name.startswith(("model_", "phase_"))}
    assert set(WITHOUT_KEY) == groups - keys - follow


def test_a_traceback_is_shown_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong, wanted in (("lr=-1", "traceback=true"), ("lrr=1", "traceback=True")):
        code, said = call_train(monkeypatch, capfd, "data=digits", wrong, wanted)
        assert code == 1
        assert said.startswith("Traceback (most recent call last)")
        assert "lr" in said.splitlines()[-1]


def test_a_process_started_by_a_training_shows_tracebacks_only_if_the_user_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "print_usage", None)
    monkeypatch.setenv("PYTHONWARNINGS", "")
    for wanted in ("0", "1"):
        monkeypatch.setenv("HYDRA_FULL_ERROR", wanted)
        monkeypatch.setenv(BY_USER, "")
        monkeypatch.delenv(BY_USER)
        for _ in range(2):  # of this process, and of one that it starts
            take_over()
            assert os.environ["HYDRA_FULL_ERROR"] == "1"
            assert os.environ[BY_USER] == wanted


def call_cli(*arguments: str) -> tuple[int, str]:
    """`gen-models ARGUMENTS`: the exit code and what is on stderr."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("simple", "simple"),
        ("sample", "RUN"),
        ("sample x --count 0", "count"),
        ("sample x --count many", "--count"),
        ("sample x --seed -1", "seed"),
        ("sample x --nonsense", "--nonsense"),
        ("sample x y", "y"),
        ("sample x --checkpoint newest", "newest"),
        ("sample /no/where/ü", "/no/where/ü"),
        ("sample x --output a.jpg", "a.jpg"),
        ("reconstruct x --output no/folder/a.png", "no/folder"),
        ("evaluate train.py", "train.py"),
        ("evaluate", "RUN"),
        ("runs", "outputs: no runs"),
        ("runs no/where", "no/where"),
        ("runs . --watch", ".: no runs"),
        ("remove", "RUN"),
        ("remove . --yes", ".: not a run"),
        ("train-classifier", "data"),
        ("train-classifier --data cifar", "cifar"),
    ],
)
def test_a_wrong_call_of_gen_models_is_one_line(
    line: str, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = call_cli(*line.split())
    assert code in (1, 2)
    assert names in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
