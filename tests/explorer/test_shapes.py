"""Pages of the user's own images in a browser: colour with many classes, tall without labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Networks, rounded
from chromium import chromium, needs_chromium
from pages import Seen, bold, written
from synthetic import make_run
from torch import Tensor, nn

from gen_models.data.module import MNISTDataModule
from gen_models.metrics.classifier import Classifier
from gen_models.models.gan import GAN
from gen_models.models.interface import GenerativeModel, reconstruct
from gen_models.models.vae import VAE
from gen_models.runs.weights import save_model

pytestmark = [pytest.mark.slow, needs_chromium]

CLASSES = 12
NEW = "() => [...document.querySelectorAll('#grids > div:first-child canvas')]"
PIXELS = """.map(({ width, height }, i, all) => {
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(all[i], 0, 0);
    return [width, height, Array.from(copy.getImageData(0, 0, width, height).data)]; })"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def open_page(
    browser: Any, folder: Path, models: dict[str, GenerativeModel], arrays: dict[str, Any]
) -> Seen:
    """The page of models of images in an .npz file, which were never trained."""
    file = folder / "my images & more.npz"
    np.savez(file, **arrays)
    paths = []
    for name, model in models.items():
        run = make_run(folder, f"model={name}", "data=npz", f"data.root='{file}'")
        save_model(run, rounded(bold(model)))
        paths.append(run.path)
    written(paths, folder / "page.html", rounds=False)
    return Seen(browser, folder / "page.html", viewport={"width": 390, "height": 844})


def own_data(folder: Path) -> MNISTDataModule:
    """What `open_page` has written."""
    data = MNISTDataModule(name="own", source="npz", root=folder / "my images & more.npz")
    data.setup()
    return data


def pictures(seen: Seen, canvases: str) -> Tensor:
    """What canvases show, (n, 3, h, w) in levels of 255."""
    shown = seen.page.evaluate(canvases + PIXELS)
    rows = [torch.tensor(data).view(height, width, 4) for width, height, data in shown]
    return torch.stack(rows).permute(0, 3, 1, 2)[:, :3].float()


def check(shown: Tensor, images: Tensor) -> None:
    """Compare what a page shows with images (n, c, h, w) in [0, 1], to a level of 255."""
    assert shown.shape == (len(images), 3, *images.shape[2:])
    assert (shown - 255 * images.detach()).abs().max() <= 1


def drawn(browser: Any, model: GenerativeModel, label: int | None) -> Tensor:
    """The images that torch makes of the z that the page draws with seed 0."""
    script = "([model, label]) => Array.from(prior(model, uniforms(0), 20, label))"
    facts = {"latent": model.latent_dim, "classes": model.label_dim, "prior": model.prior_kind}
    z = torch.tensor(Networks(browser).page.evaluate(script, [facts, label]))
    return model.decode(z.view(20, model.latent_dim))


def test_colour_with_many_classes(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"image_shape": (3, 32, 32), "classes": CLASSES, "latent_dim": 6}
    gan = GAN(generator_dims=[16], conditional=True, **options)
    vae = VAE(network="conv", width=4, encoder_dims=None, **options)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, CLASSES))
    kept = "gen_models.runs.classifier."
    monkeypatch.setattr(kept + "is_kept", lambda path: True)
    monkeypatch.setattr(
        kept + "load_classifier", lambda path: Classifier(network, {"test_accuracy": 0.9})
    )  # type: ignore[arg-type]
    images = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
    labels = np.array([f"kind <{i % CLASSES}>" for i in range(120)])
    seen = open_page(
        browser, tmp_path, {"gan": gan, "vae": vae}, {"images": images, "labels": labels}
    )
    page = seen.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    content = json.loads(page.locator("#content").text_content())
    check(pictures(seen, NEW), drawn(browser, gan, None))
    before = seen.look("#grids")
    wanted = content["names"].index("kind <7>")
    page.select_option("#classes select", label="kind <7>")
    seen.changes("#grids", before)
    check(pictures(seen, NEW), drawn(browser, gan, wanted))
    assert page.locator("#sliders .bars").first.locator("span").count() == 5
    assert page.locator("#legend span").count() == CLASSES

    assert not page.locator("#pad").is_visible()
    page.locator("#picks button").nth(3).click()
    seen.wait("#recreated .status:text('with its encoder')")
    seen.wait("#recreated .status:text('with a search of 200 steps')")
    parts = "() => [...document.querySelectorAll('#recreated .large')]"
    own, searched, encoded = pictures(seen, parts)
    data = own_data(tmp_path)
    tests, numbers = data.splits["test"]
    (index,) = (i for i, image in enumerate(tests) if (image == own).all())
    title = f"Your image: {data.class_names[numbers[index]]}"
    assert page.locator("#recreated h3").first.text_content() == title
    check(encoded.unsqueeze(0), reconstruct(vae, tests[index : index + 1] / 255))
    mse = ((searched - own) / 255).square().mean().item()
    status = page.locator("#recreated .status").first.text_content()
    assert float(status.split()[1].rstrip(",")) == pytest.approx(mse, rel=0.01)
    page.evaluate("Math.random = () => 0.999")
    page.click("#random")
    last = content["names"][content["labels"][-1]]
    seen.wait(f"#recreated h3:text-is('Your image: {last}')")
    assert seen.errors == []
    seen.context.close()


def test_tall_grey_images_without_labels(browser: Any, tmp_path: Path) -> None:
    """Dark on a light ground: what is drawn on the pad is so too."""
    torch.manual_seed(0)
    model = VAE(image_shape=(1, 40, 24), classes=0, latent_dim=6, network="conv", width=4,
                encoder_dims=None)  # fmt: skip
    images = np.full((100, 40, 24), 255, dtype=np.uint8)
    images[:, 10:30, 6:18] = np.random.default_rng(0).integers(0, 200, (100, 20, 12))
    seen = open_page(browser, tmp_path, {"vae": model}, {"images": images})
    page = seen.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    check(pictures(seen, NEW), drawn(browser, model, None))
    assert not page.locator("#classes").is_visible()
    assert not page.locator(".bars").first.is_visible()
    parts = "() => [...document.querySelectorAll('#recreated .large')]"
    page.locator("#map").click(position={"x": 150, "y": 150})
    seen.wait("#recreated .status:text('with its encoder')")
    given, recreated = pictures(seen, parts)
    tests = own_data(tmp_path).splits["test"].images
    assert any((image == given).all() for image in tests)
    check(recreated.unsqueeze(0), reconstruct(model, given[None, :1] / 255))
    assert "from my_images_more (source not recorded)" in page.locator("#about").inner_text()
    box = page.locator("#pad").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(24 / 40, abs=0.01)
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 180, steps=5)
    page.mouse.up()
    drawing = pictures(seen, parts)[0, 0]
    rows, columns = np.nonzero(drawing.numpy() < 230)
    assert drawing.max() == 255
    assert np.ptp(rows) + 1 == pytest.approx(20, abs=1)  # the box of the images, half of the frame
    assert np.ptp(columns) + 1 <= 12
    assert seen.errors == []
    seen.context.close()
