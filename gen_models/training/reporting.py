"""What a training shows its user: on the terminal, in TensorBoard, as pictures.

`figures/training.webp` is the grid of fixed noise by epoch, as a film. Its frames are those of
TensorBoard, and so are the curves: a run that was stopped has the earlier ones there alone.
"""

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from PIL import Image, ImageDraw
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gen_models import figures
from gen_models.data.module import MNISTDataModule
from gen_models.models.interface import Encoder, GenerativeModel, draw_fixed, reconstruct
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import run_title
from gen_models.terminal import counted, say
from gen_models.training.callbacks import SampleGrid
from gen_models.training.loggers import KEY_OF

FRAMES = 24  # of a long film; the first epochs change most, so later ones are left out
SECONDS = 0.4  # a frame
LAST_SECONDS = 3.0
WIDTH = 233  # pixels of a frame of 8 x 8 MNIST images: narrower ones are enlarged
BAND = 14  # pixels above the grid, for the epoch's number
QUALITY = 50  # of 100: the noise of the format is smaller than a stroke's edge


def announce(
    config: dict[str, Any],
    model: pl.LightningModule,
    data: MNISTDataModule,
    trainer: pl.Trainer,
    *,
    directory: RunDirectory,
    threads: str,
    resumes: bool,
    extends: RunDirectory | None,
) -> None:
    """Say what is about to be trained and where."""
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    steps = config["max_steps"]
    epochs = counted(config["trainer"]["max_epochs"], "epoch")
    length = epochs if steps == -1 else counted(steps, "batch", "batches")
    say(
        f"{'Resuming' if resumes and not extends else 'Training'} {run_title(config)} on "
        f"{data.name}: {count:,} parameters, {len(data.splits['train'].images):,} images in "
        f"batches of {data.batch_size}, {length}"
    )
    say(f"  in {directory.path}")
    if extends:
        say(f"  from the end of {extends.path}")
    say(f"  {threads}")
    on_cpu = trainer.strategy.root_device.type == "cpu"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if trainer.precision == "bf16-mixed" and on_cpu and not fast:
        say("  bf16-mixed will be slow: this processor has neither AVX512-BF16 nor AMX")


def write_figures(
    directory: RunDirectory,
    config: dict[str, Any],
    model: pl.LightningModule,
    data: MNISTDataModule,
    trainer: pl.Trainer,
) -> None:
    """Draw the pictures of a trained model, on the CPU, in `figures/`."""
    assert isinstance(model, GenerativeModel)
    title, folder = run_title(config), directory.figures
    images, labels = data.splits["test"].take(slice(100))
    test = images.float() / 255
    real = figures.as_bytes(test).numpy()
    with figures.drawing(folder / "data.png") as path:
        columns = figures.columns_for(real, 10)
        figures.save(figures.picture(real, columns, title=f"{data.name}: test images"), path)
    with figures.drawing(folder / "samples.png") as path:
        new = figures.as_bytes(draw_fixed(model, 100)).numpy()
        columns = figures.columns_for(new, 10)
        figures.save(figures.picture(new, columns, title=f"{title}: new images"), path)
    if isinstance(model, Encoder):
        with figures.drawing(folder / "reconstructions.png") as path:
            recreated = figures.as_bytes(reconstruct(model, test, labels)[:40]).numpy()
            picture = figures.picture(
                real[:40],
                figures.columns_for(recreated, 20),
                below=recreated,
                title=f"{title}: test images above, their reconstructions below",
            )
            figures.save(picture, path)
    every = [c.every_n_epochs for c in trainer.callbacks if isinstance(c, SampleGrid)]  # type: ignore[attr-defined]
    with figures.drawing(folder):
        curves, grids = read_events(directory.path)
        with figures.drawing(folder / "curves.png") as path:
            if curves:
                figures.save(figures.curves(curves, title=title), path)
        with figures.drawing(folder / "training.webp") as path:
            if every:
                write_film(grids, path, last=trainer.current_epoch, every=every[0])


def read_events(run: Path) -> tuple[dict[str, tuple[list[int], list[float]]], list[Image.Image]]:
    """The curves and grids that were logged for TensorBoard.

    Returns:
        Every training and validation curve, key -> (training batches, values); and the pictures
        that `SampleGrid` has drawn, in order, of two of one epoch the later one; Pillow decodes
        one when it is used.
    """
    guidance = {"scalars": 0, "images": 0}  # 0: all of them
    events = EventAccumulator(str(run), size_guidance=guidance).Reload()
    tags = events.Tags()
    curves = {}
    for tag in tags["scalars"]:
        key = KEY_OF.get(tag, tag)
        if key.startswith(("train/", "val/")):
            points = {event.step: event.value for event in events.Scalars(tag)}
            curves[key] = (list(points), list(points.values()))
    pictures = events.Images("samples") if "samples" in tags["images"] else []
    by_step = {event.step: event.encoded_image_string for event in pictures}
    grids: list[Image.Image] = [Image.open(io.BytesIO(by_step[step])) for step in sorted(by_step)]
    return curves, grids


def write_film(grids: list[Image.Image], path: Path, *, last: int, every: int) -> None:
    """Write the film of a run; nothing, if it has no pictures.

    Args:
        grids: In order. A run that extends another has those of the last epochs only.
        path: The .webp.
        last: The epoch at which the training ended.
        every: Epochs from one grid to the next.
    """
    frames = []
    zoom = max(1, round(WIDTH / grids[0].width)) if grids else 1
    for index, epoch in pick_frames(len(grids), last=last, every=every):
        grid = grids[index].convert("RGB")
        grid = grid.resize((zoom * grid.width, zoom * grid.height), Image.Resampling.NEAREST)
        frame = Image.new("RGB", (grid.width, grid.height + BAND), "white")
        frame.paste(grid, (0, BAND))
        ImageDraw.Draw(frame).text((2, 1), f"epoch {epoch}", fill="black")
        frames.append(frame)
    if frames:
        durations = [round(1000 * SECONDS)] * (len(frames) - 1) + [round(1000 * LAST_SECONDS)]
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=durations, loop=0,
            quality=QUALITY,
        )  # fmt: skip


def pick_frames(count: int, *, last: int, every: int) -> list[tuple[int, int]]:
    """Index and epoch of at most `FRAMES` of `count` grids.

    The first, the last, and ever fewer in between. The last grid is of the last epoch that has one.
    """
    if count == 0:
        return []
    picked = sorted(set((np.geomspace(1, count, FRAMES).round().astype(int) - 1).tolist()))
    final = last // every * every
    return [(index, final - every * (count - 1 - index)) for index in picked]
