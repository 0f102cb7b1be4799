"""Runs that were never trained, their page, and that page in a browser."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from synthetic import make_run
from toy import Toy

from gen_models.explorer.explore import explore
from gen_models.models.flow import Flow
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.runs.weights import save_model

SAME = 0.005  # levels of 255, mean over pixels


def bold(model: Any) -> Any:
    """The model with larger weights, so that it makes images of strong contrast untrained."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5)
    return model.eval()


def small_flow(**options: Any) -> Flow:
    """A flow that moves noise although it was never trained: its last layers start at 0."""
    model = Flow(width=4, dense=8, **options)
    for weight in model.parameters():
        weight.data += 0.03 * torch.randn_like(weight)
    return model


def a_run(folder: Path, name: str, model: Any, *overrides: str) -> Path:
    """A finished run of a model that was never trained."""
    run = make_run(folder, f"model={name}", "data=digits", *overrides)
    save_model(run, bold(model))
    return run.path


def make_runs(folder: Path) -> dict[str, Path]:
    """A GAN, a VAE and a conditional model of digits."""
    torch.manual_seed(0)
    return {
        "gan": a_run(folder, "gan", GAN(generator_dims=[64])),
        "vae": a_run(folder, "vae", VAE()),
        "toy": a_run(folder / "toy", "vae", Toy()),
    }


def written(paths: list[Path], file: Path, *, rounds: bool = True) -> list[str]:
    """Write a page; returns its sentences about what is left out."""
    page = explore(paths, file, say=lambda line: None)
    assert page.size == file.stat().st_size
    assert (page.difference > 0) == rounds  # unless 16 bits hold the weights
    return page.left_out


class Seen:
    """The open page, as its reader sees and uses it."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        size = {"width": 1100, "height": 900}
        self.context = browser.new_context(**({"viewport": size} | options))
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.wait("#grids > div:last-child button:last-child[aria-label^=Image]")

    def wait(self, selector: str) -> Any:
        """Until something is there."""
        found = self.page.locator(selector).first
        found.wait_for(state="attached", timeout=60_000)
        return found

    def look(self, selector: str) -> np.ndarray:
        """The grey levels of one part, when nothing in it changes any more."""
        part, last = self.page.locator(selector).first, np.zeros((0, 0))
        for _ in range(100):
            now = np.asarray(Image.open(io.BytesIO(part.screenshot())).convert("L"), dtype=int)
            if alike(now, last):
                return now
            last = now
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{selector} keeps changing")

    def becomes(self, selector: str, expected: np.ndarray) -> None:
        """Until a part looks as expected."""
        for _ in range(50):
            if alike(self.look(selector), expected):
                return
        raise AssertionError(f"{selector} does not become what it was")

    def changes(self, selector: str, before: np.ndarray) -> np.ndarray:
        """Until a part looks otherwise than before; returns how."""
        for _ in range(50):
            now = self.look(selector)
            if not alike(now, before):
                return now
        raise AssertionError(f"{selector} does not change")


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures are the same, but for a few pixels at edges, which a browser varies."""
    return a.shape == b.shape and bool(abs(a - b).mean() <= SAME)
