"""Draw docs/explorer.webp and docs/explorer.png: the explorer in Chromium while a digit is drawn.

gen-models explore GAN_RUN VAE_RUN --output explorer.html && python docs/film.py explorer.html
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
Curve = list[tuple[float, float]]  # points of the pad, in [0, 1]
DIGITS: list[list[list[Curve]]] = [  # each of strokes, and these of curves that meet in corners
    [[[(0.27, 0.20), (0.50, 0.18), (0.74, 0.17)], [(0.74, 0.17), (0.58, 0.50), (0.46, 0.88)]],
     [[(0.37, 0.52), (0.54, 0.49), (0.71, 0.49)]]],
    [[[(0.30, 0.24), (0.50, 0.12), (0.70, 0.26), (0.62, 0.44), (0.44, 0.49)],
      [(0.44, 0.49), (0.68, 0.54), (0.73, 0.72), (0.56, 0.88), (0.28, 0.80)]]],
]  # fmt: skip
WIDTH, CORNER = 1280, {"x": 0, "y": 0}
SCALE = 0.7  # of the film's frames
STEPS = 8  # of the search from a frame to the next
EVERY, LAST = 80, 2500  # milliseconds of a frame, and of the last one of a digit


def smooth(points: Curve, steps: int = 12) -> Curve:
    """Points of a curve through some points (Catmull and Rom's)."""
    padded = [points[0], *points, points[-1]]
    curve = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for step in range(steps):
            t = step / steps
            curve.append(tuple(
                (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2
                 + (3 * q - p - 3 * r + s) * t**3) / 2
                for p, q, r, s in zip(a, b, c, d, strict=True)
            ))  # fmt: skip
    return [*curve, points[-1]]


def film(page: Page) -> tuple[list[Image.Image], list[int]]:
    """Frames of the part "Recreate a digit", and how long each is shown in milliseconds."""
    part, pad = page.locator("#recreate"), page.locator("#pad")
    status, bar = page.locator("#recreated .status"), page.locator("#recreated progress").first
    page.evaluate("document.querySelector('#recreate').scrollIntoView()")
    frames: list[Image.Image] = []
    lengths: list[int] = []

    def shoot(milliseconds: int) -> None:
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        lengths.append(milliseconds)

    def finished() -> bool:
        return all("numbers" in text for text in status.all_inner_texts())

    while not finished():  # the test image that the page begins with
        page.wait_for_timeout(500)
    for strokes in DIGITS:
        page.locator("#clear").click()
        page.mouse.move(0, 0)
        box = pad.bounding_box()
        assert box
        for stroke in strokes:
            for number, (x, y) in enumerate(point for curve in stroke for point in smooth(curve)):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                if number == 0:
                    page.mouse.down()
                if number % 4 == 0:
                    shoot(EVERY)
            page.mouse.up()
        shown = -STEPS
        while not finished():
            step = bar.evaluate("bar => bar.value")
            if not shown <= step < shown + STEPS:
                shoot(EVERY)
                shown = step
        shoot(LAST)
    box, last = part.bounding_box(), page.locator("#recreated").bounding_box()
    assert box
    assert last
    edges = (box["x"] - 12, box["y"], box["x"] + box["width"] + 12, last["y"] + last["height"] + 2)
    size = [round(SCALE * (edges[end] - edges[end - 2])) for end in (2, 3)]
    return [frame.resize(size, Image.Resampling.LANCZOS, edges) for frame in frames], lengths


def main(file: Path) -> None:
    """Open an explorer's page, and write both pictures."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": 1400})
        page.goto(file.resolve().as_uri())
        frames, lengths = film(page)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=DOCS / "explorer.png", clip={**CORNER, "width": WIDTH, "height": 1180})
        chromium.close()
    first, *rest = frames
    first.save(
        DOCS / "explorer.webp", save_all=True, append_images=rest, duration=lengths, loop=0,
        quality=60, method=4, minimize_size=True,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
