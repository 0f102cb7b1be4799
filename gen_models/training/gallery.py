"""`figures/training.webp`: the grid of fixed noise by epoch, as a film.

Its frames are TensorBoard's, which a stopped run keeps; so nothing is drawn or kept twice.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

FRAMES = 24  # of a long run; the first epochs change most, so later ones are left out
SECONDS = 0.4  # a frame
LAST_SECONDS = 3.0
BAND = 14  # pixels above the grid, for the epoch's number
QUALITY = 50  # of 100: the noise of the format is smaller than a stroke's edge


def write_gallery(run: Path, *, epochs: int, every_n_epochs: int, path: Path) -> None:
    """Write the film of a run; nothing, if it has no pictures.

    Args:
        run: Its directory, with TensorBoard's events.
        epochs: That it has trained. A run that extends another has pictures of the last ones only.
        every_n_epochs: Epochs from one picture to the next.
        path: The .webp.
    """
    grids = read_grids(run)
    if not grids:
        return
    numbers = epochs_of(len(grids), epochs=epochs, every=every_n_epochs)
    picked = pick_frames(len(grids))
    frames = [_titled(grids[index], f"epoch {numbers[index]}") for index in picked]
    durations = [round(1000 * SECONDS)] * (len(frames) - 1) + [round(1000 * LAST_SECONDS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=QUALITY
    )


def read_grids(run: Path) -> list[Image.Image]:
    """The pictures that `SampleGrid` has drawn, in order; of two of one epoch the later one."""
    events = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 1}).Reload()
    if "samples" not in events.Tags()["images"]:
        return []
    by_step = {event.step: event.encoded_image_string for event in events.Images("samples")}
    return [Image.open(io.BytesIO(by_step[step])).convert("L") for step in sorted(by_step)]


def epochs_of(count: int, *, epochs: int, every: int) -> list[int]:
    """The epochs of so many pictures, the last of which is of the last epoch that has one."""
    last = epochs // every * every
    return list(range(last - every * (count - 1), last + 1, every))


def pick_frames(count: int) -> list[int]:
    """At most `FRAMES` of so many: the first, the last, and ever fewer in between."""
    return sorted(set((np.geomspace(1, count, FRAMES).round().astype(int) - 1).tolist()))


def _titled(grid: Image.Image, text: str) -> Image.Image:
    frame = Image.new("L", (grid.width, grid.height + BAND), 255)
    frame.paste(grid, (0, BAND))
    ImageDraw.Draw(frame).text((2, 1), text, fill=0)
    return frame
