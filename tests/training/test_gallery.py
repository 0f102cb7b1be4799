"""The film of a training: a frame an epoch, whether it was stopped or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import directory_of, small, train
from PIL import Image, ImageSequence

from gen_models import figures
from gen_models.figures import as_bytes
from gen_models.models.interface import draw_fixed
from gen_models.runs import load_model
from gen_models.training import reporting
from gen_models.training.callbacks import ReconstructionGrid
from gen_models.training.reporting import BAND, FRAMES, pick_frames, read_events


def test_a_frame_an_epoch_and_the_last_is_the_trained_models(tmp_path: Path) -> None:
    overrides = small(tmp_path, "model=vae", epochs=3)
    train(*overrides)
    run = directory_of(overrides)
    film = Image.open(run.figures / "training.webp")
    frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(film)]
    assert len(frames) == 3
    images = as_bytes(draw_fixed(load_model(run.path), 64)).numpy()
    last = figures.tile(images, 8)
    assert np.array_equal(np.asarray(read_events(run.path)[1][-1].convert("L")), last)
    errors = [np.abs(frame[BAND:] - last).mean() for frame in frames]
    assert errors[2] < 6  # of 255: the format loses a little
    assert errors[0] > 2 * errors[2]
    assert (frames[0][:BAND] < 100).any()  # the epoch's number


def test_a_stop_leaves_no_trace_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, trainer: Any, module: object) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("stopped by the test")  # drawn, and not yet saved

    def stop_at_the_end(*_: object, **__: object) -> None:
        raise RuntimeError("stopped by the test")  # nothing is left to train

    films = []
    for name in ("whole", "stopped"):
        overrides = small(tmp_path / name, "model=vae", epochs=3)
        if name == "stopped":
            for where, how in (
                (ReconstructionGrid, ("on_train_epoch_end", stop)),
                (reporting, ("write_figures", stop_at_the_end)),
            ):
                with monkeypatch.context() as patched:
                    patched.setattr(where, *how)
                    with pytest.raises(RuntimeError, match="stopped by the test"):
                        train(*overrides)
        train(*overrides)
        films.append((directory_of(overrides).figures / "training.webp").read_bytes())
    assert films[0] == films[1]


def test_an_extended_run_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = small(tmp_path, "model=vae", epochs=2)
    train(*shorter)
    films: list[dict[str, Any]] = []
    monkeypatch.setattr(
        reporting, "write_film", lambda grids, _, **of: films.append({"count": len(grids)} | of)
    )
    train(*small(tmp_path, "model=vae", f"extend={directory_of(shorter).path}", epochs=4))
    assert [epoch for _, epoch in pick_frames(**films[0])] == [3, 4]


@pytest.mark.parametrize(
    ("count", "epochs", "every", "expected"),
    [(3, 3, 1, [1, 2, 3]), (2, 5, 2, [2, 4]), (1, 30, 1, [30])],
)
def test_the_epochs_of_the_pictures(
    count: int, epochs: int, every: int, expected: list[int]
) -> None:
    assert [epoch for _, epoch in pick_frames(count, last=epochs, every=every)] == expected


def test_without_pictures_there_is_no_film(tmp_path: Path) -> None:
    overrides = small(tmp_path, "model=gan", "callbacks=no_pictures", epochs=1)
    train(*overrides)
    assert not (directory_of(overrides).figures / "training.webp").exists()


@pytest.mark.parametrize("count", [1, 2, 5, FRAMES, 100, 1000])
def test_the_frames_of_a_long_run(count: int) -> None:
    picked = [index for index, _ in pick_frames(count, last=count, every=1)]
    assert picked[0] == 0
    assert picked[-1] == count - 1
    assert picked == sorted(set(picked))
    assert len(picked) <= FRAMES
    assert count > 5 or picked == list(range(count))
