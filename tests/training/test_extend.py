"""`extend=RUN`: a longer run that begins where a shorter one ended."""

import itertools
from pathlib import Path

import pytest
from conftest import assert_same, directory_of, read_metrics, small, train
from safetensors.torch import load_file

from gen_models.errors import UserError
from gen_models.runs.weights import BEST
from gen_models.training import validation

OPTIONS = {
    "gan": ["model=gan", "model.ema_decay=0.9", "callbacks.validation_distance.every_n_epochs=2"],
    "vae": ["model=vae", "model.kl_warmup_epochs=3"],
}


@pytest.mark.parametrize("model", OPTIONS)
@pytest.mark.slow
def test_an_extended_run_is_the_whole_run(model: str, tmp_path: Path) -> None:
    short, long = (small(tmp_path, *OPTIONS[model], epochs=epochs) for epochs in (2, 4))
    train(*short)
    before = directory_of(short).weights.read_bytes()
    extending = [*long, f"extend={directory_of(short).path}"]
    train(*extending)
    whole = small(tmp_path / "whole", *OPTIONS[model], epochs=4)
    train(*whole)
    extended, expected = directory_of(extending), directory_of(whole)
    assert extended.path.name == expected.path.name
    assert_same(load_file(extended.weights), load_file(expected.weights))
    assert read_metrics(extended) == read_metrics(expected)
    assert extended.read_status()["steps"] == 16
    assert extended.read_status()["seconds"] > directory_of(short).read_status()["seconds"]
    assert directory_of(short).weights.read_bytes() == before
    train(*extending)  # is trained: the shorter run is not asked for any more


def test_an_extension_that_was_stopped_goes_on(tmp_path: Path) -> None:
    short, long = (small(tmp_path, "model=vae", epochs=epochs) for epochs in (1, 3))
    train(*short)
    extending = [*long, f"extend={directory_of(short).path}"]
    stop = ["+callbacks.stop._target_=test_resume.StopAt", "+callbacks.stop.place='batch end'"]
    with pytest.raises(SystemExit):
        train(*extending, *stop, "+callbacks.stop.step=9", "+callbacks.stop.how=SIGTERM")
    train(*extending)
    whole = small(tmp_path / "whole", "model=vae", epochs=3)
    train(*whole)
    found, expected = (load_file(directory_of(run).weights) for run in (extending, whole))
    assert_same(found, expected)


def test_the_best_checkpoint_so_far_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a run that extends another, and by one whose folder was moved while it was stopped."""
    every = "callbacks.validation_distance.every_n_epochs=1"
    distances = itertools.cycle([1.0, 2.0, 3.0])  # the first epoch's is the best
    monkeypatch.setattr(validation, "frechet_distance", lambda *_: next(distances))
    short, long = (small(tmp_path, "model=vae", every, epochs=epochs) for epochs in (1, 3))
    train(*short)
    best = directory_of(short).checkpoints / BEST
    train(*long, f"extend={directory_of(short).path}")
    assert (directory_of(long).checkpoints / BEST).read_bytes() == best.read_bytes()

    first, moved = (small(tmp_path / name, "model=vae", every, epochs=3) for name in ("a", "b"))
    stop = ["+callbacks.stop._target_=test_resume.StopAt", "+callbacks.stop.place='batch end'"]
    distances = itertools.cycle([1.0, 2.0, 3.0])
    with pytest.raises(SystemExit):
        train(*first, *stop, "+callbacks.stop.step=6", "+callbacks.stop.how=SIGTERM")
    before = (directory_of(first).checkpoints / BEST).read_bytes()
    (tmp_path / "a").rename(tmp_path / "b")
    train(*moved)
    assert (directory_of(moved).checkpoints / BEST).read_bytes() == before


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    short = small(tmp_path, "model=vae", epochs=2)
    train(*short)
    source = f"extend={directory_of(short).path}"
    for options, epochs, message in (
        ([f"extend={tmp_path}"], 3, "not a finished run (no run there)"),
        ([source, "lr=5e-4"], 3, "has model.lr=0.001, not 0.0005: only max_epochs may differ"),
        ([source, "seed=1"], 3, "has seed=0, not 1"),
        ([source, "lr=1e-3", "model.beta=2"], 1, "has model.beta=1.0, not 2"),
        ([source], 1, "has 2 epochs: max_epochs must be more"),
        ([source, "max_steps=3"], 3, "has max_steps=-1, not 3"),
    ):
        with pytest.raises(UserError) as refused:
            train(*small(tmp_path, "model=vae", *options, epochs=epochs))
        assert message in str(refused.value)
    with pytest.raises(
        UserError, match="extend=.*not a finished run"
    ):  # before data are looked for
        train("data=mnist", "data.root=nowhere", f"extend={tmp_path}", f"output_dir={tmp_path}")
    assert len(list(tmp_path.glob("digits/*/*"))) == 1  # nothing half-made
