"""Every control of the page in a browser; left out where there is no Chromium."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chromium import chromium, needs_chromium
from pages import Seen, make_runs, small_flow, written
from PIL import Image
from synthetic import make_run

from gen_models.runs.weights import save_model

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page_file(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "explorer.html"
    written([runs["gan"], runs["vae"]], file)
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def seen(browser: Any, page_file: Path) -> Iterator[Seen]:
    opened = Seen(browser, page_file)
    yield opened
    opened.context.close()
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("data:", "blob:"))] == [
        page_file.as_uri()
    ]


def test_new_images_and_sliders(seen: Seen) -> None:
    page = seen.page
    first = seen.look("#grids")
    page.click("#draw")
    seen.changes("#grids", first)
    page.fill("#seed", "0")
    seen.becomes("#grids", first)  # the same seed, the same images
    for column in (1, 2):  # of both models
        panel = f"#sliders > div:nth-child({column})"
        before = seen.look(f"{panel} canvas")
        page.click(f"#grids > div:nth-child({column}) .grid button:nth-child(7)")
        picked = seen.changes(f"{panel} canvas", before)
        sliders = page.locator(f"{panel} input")
        assert sliders.count() == 8
        last = picked
        for slider in sliders.all():
            slider.focus()
            page.keyboard.press("End")
            last = seen.changes(f"{panel} canvas", last)
        assert "4.0" in page.locator(f"{panel} output").first.text_content()
        assert "sees a" in page.locator(f"{panel} .seen").text_content()
    page.click("#reset")
    seen.becomes(f"{panel} canvas", picked)


def test_a_given_digit(seen: Seen) -> None:
    page = seen.page
    page.locator("#recreate").scroll_into_view_if_needed()
    recreated = [f"#recreated > div:nth-child({n})" for n in (1, 2, 3)]
    gan, vae = recreated[1], recreated[2]
    seen.wait(f"{gan} .status:text('with a search')")
    seen.wait(f"{vae} .status:text('with its encoder')")
    before = [seen.look(f"{part} canvas") for part in recreated]
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + box["height"] / 2)
    for part, old in zip(recreated[::2], before[::2], strict=True):
        seen.changes(f"{part} canvas", old)
    marked = seen.look("#map")
    page.keyboard.press("ArrowRight")
    seen.changes("#map", marked)
    clean = seen.look("#pad")
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    for x, y in ((200, 40), (120, 240)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=10)
    page.locator("#clear").dispatch_event("click")  # in the middle of a stroke, which it ends
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.up()
    seen.becomes("#pad", clean)
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 240, steps=10)
    given = seen.look(f"{recreated[0]} canvas")
    page.mouse.up()
    seen.changes(f"{recreated[0]} canvas", given)
    seen.wait(f"{gan} .status:text('with a search')")
    seen.changes("#pad", clean)
    page.click("#clear")
    seen.becomes("#pad", clean)


def test_between_two_digits(seen: Seen) -> None:
    page = seen.page
    page.locator("#between").scroll_into_view_if_needed()
    strips = [f"#paths > div:nth-child({n}) .strip" for n in (1, 2)]
    for n in (1, 2):  # blank until both ends are found
        seen.wait(f"#paths > div:nth-child({n}) .seen:text('sees a')")
    large = "#paths > div:nth-child(2) .large"
    by_line, path, middle = seen.look(strips[0]), seen.look(strips[1]), seen.look(large)
    page.click("text=arc")
    seen.changes(strips[0], by_line)
    page.locator("#share").focus()
    page.keyboard.press("Home")
    middle = seen.changes(large, middle)
    page.keyboard.press("End")
    seen.changes(large, middle)
    page.click("#ends")
    seen.changes(strips[1], path)
    page.click("#random")
    seen.wait("#recreated .status:text('with its encoder')")
    for button, canvas in (("#left", "#start"), ("#right", "#end")):
        ends = seen.look(canvas)
        page.click(button)
        seen.changes(canvas, ends)


@pytest.mark.parametrize("box", [28, 20])
def test_a_drawing_fills_the_box_of_the_data_set_around_its_mass(
    browser: Any, page_file: Path, tmp_path: Path, box: int
) -> None:
    """By touch, on a phone, small and in a corner; the page's digits fill the frame, MNIST's 20."""
    text = page_file.read_text()
    assert '"box":[28,28],' in text
    file = tmp_path / "page.html"
    file.write_text(text.replace('"box":[28,28],', f'"box":[{box},{box}],'))
    phone = {"width": 390, "height": 844}
    seen = Seen(browser, file, bypass_csp=True, viewport=phone, has_touch=True)
    page = seen.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    corner = pad.bounding_box()
    touch = page.context.new_cdp_session(page)
    points = [(20, 20), (60, 20), (60, 50), (30, 90)]
    for kind, (x, y) in zip(("Start", "Move", "Move", "Move"), points, strict=True):
        at = [{"x": corner["x"] + x, "y": corner["y"] + y}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    script = """() => Array.from(document.querySelector("#recreated canvas").getContext("2d")
        .getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0))"""
    image = np.array(page.evaluate(script)).reshape(28, 28) / 255
    rows, columns = np.nonzero(image > 0.1)
    assert np.ptp(rows) + 1 == pytest.approx(box, abs=1)
    for axis in (0, 1) if box == 20 else (0,):  # a digit as high as the frame cannot be moved
        mass = image.sum(axis)
        assert (mass * (np.arange(28) + 0.5)).sum() / mass.sum() == pytest.approx(14, abs=0.3)
    assert image.max() > 0.95
    seen.context.close()


def test_a_flow_has_a_slider_of_time_and_solves_backwards(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    # an untrained network, as if it predicted the velocity: two steps follow that back
    monkeypatch.setattr("gen_models.models.velocity.ERROR", 1e3)
    run = make_run(tmp_path, "model=flow", "data=digits")
    save_model(run, small_flow(steps=2).eval())
    written([run.path], tmp_path / "flow.html")
    seen = Seen(browser, tmp_path / "flow.html")
    page = seen.page
    seen.wait("#recreated .status:text('solved backwards; z has 784 numbers')")
    assert float(page.locator("#recreated .status").text_content().split()[1].rstrip(",")) < 0.01
    image = seen.look("#sliders .large")
    slider = page.locator("#sliders input")
    assert slider.count() == 1
    assert page.locator("#sliders .strip canvas").count() == 3  # the noise and two steps
    slider.focus()
    page.keyboard.press("Home")
    seen.changes("#sliders .large", image)
    page.click("#reset")
    seen.becomes("#sliders .large", image)
    page.locator("#between").scroll_into_view_if_needed()
    page.wait_for_function("""() => {
        const [given, first] = ["#start", "#paths .strip canvas"].map((part) =>
            document.querySelector(part).getContext("2d").getImageData(0, 0, 28, 28).data);
        const sum = given.reduce((sum, level, i) => sum + (level - first[i]) ** 2, 0);
        return first[3] && sum < 0.01 * 255 ** 2 * given.length; }""")  # the path starts there
    assert seen.errors == []
    seen.context.close()


def test_light_and_dark(seen: Seen) -> None:
    for scheme, (low, high) in {"light": (240, 255), "dark": (0, 40)}.items():
        seen.page.emulate_media(color_scheme=scheme)
        picture = Image.open(io.BytesIO(seen.page.screenshot())).convert("L")
        assert low <= picture.getpixel((2, 2)) <= high


def test_a_conditional_model_makes_the_digit_that_is_asked(
    browser: Any, runs: dict[str, Path], tmp_path: Path
) -> None:
    written([runs["toy"]], tmp_path / "toy.html")
    seen = Seen(browser, tmp_path / "toy.html")
    assert seen.page.locator("#classes button").count() == 11
    before = seen.look("#grids")
    seen.page.click("#classes button:text('7')")
    sevens = seen.changes("#grids", before)
    seen.page.click("#classes button:text('3')")
    seen.changes("#grids", sevens)
    seen.page.locator("#recreate").scroll_into_view_if_needed()
    seen.wait("#recreated .status:text('with its encoder')")
    assert seen.errors == []
    seen.context.close()


def test_without_a_classifier_a_test_image_has_its_own_label(
    browser: Any, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gen_models.runs.classifier.classifier_path", lambda name, root: tmp_path / "none"
    )
    written([runs["toy"]], tmp_path / "bare.html")
    seen = Seen(browser, tmp_path / "bare.html")
    page = seen.page
    page.locator("#recreate").scroll_into_view_if_needed()
    seen.wait("#recreated .status:text('with its encoder')")
    labels = json.loads(page.locator("#content").text_content())["labels"]
    share = (labels.index(7) + 0.5) / len(labels)
    page.evaluate(f"Math.random = () => {share}")
    page.evaluate("""() => {
        globalThis.told = [];
        const post = Worker.prototype.postMessage;
        Worker.prototype.postMessage = function (message) {
            if (message.inputs?.length === 2) told.push(message.inputs[1][0]);
            post.call(this, message);
        }; }""")
    page.click("#random")
    page.wait_for_function("told.length")
    assert page.evaluate("told") == [7]
    seen.context.close()


def test_a_page_without_encoder_and_classifier(
    browser: Any, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gen_models.runs.classifier.classifier_path", lambda name, root: tmp_path / "none"
    )
    written([runs["gan"]], tmp_path / "bare.html")
    seen = Seen(browser, tmp_path / "bare.html")
    assert not seen.page.locator("#map").is_visible()
    assert not seen.page.locator(".bars").first.is_visible()
    seen.page.locator("#recreate").scroll_into_view_if_needed()
    seen.wait("#recreated .status:text('with a search')")
    assert seen.errors == []
    seen.context.close()
