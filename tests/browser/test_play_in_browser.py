"""The page that one plays with, as it is published, in a browser."""

import re
import shutil

import nbformat
import pytest
import torch
from PIL import Image

from era8 import figures
from era8.data import Split
from era8.evaluate import accuracy, predict
from era8.play import read_images
from era8.pretrained import read_picture
from study.inside import change
from study.play import PAGE, load_networks
from study.runs import ROOT

driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = driver.expect
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(BROWSERS)} is there")

ADDRESS = (ROOT / PAGE).as_uri()
ROOMS = ("Fade it", "Its neighbours", "Cut the skips", "Look inside", "A seed is a die")
SECOND = 1000
CONTRAST = """() => {
  // The least contrast of any text that is seen with what is behind it, and that text
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (...colors) => {
    for (const color of colors) {
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
    }
    const part = (value) => value <= 10 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    const [red, green, blue] = Array.from(context.getImageData(0, 0, 1, 1).data, part);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" && node.parentElement ? behind(node.parentElement) : color;
  };
  const texts = [...document.querySelectorAll("body *")].filter((node) =>
    node.checkVisibility() && !node.closest("[inert], option, svg")
      && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  const found = texts.flatMap((node) => {
    const bar = node.closest(".guess")?.querySelector("i"); // text may lie on it
    const over = bar ? [[], [getComputedStyle(bar).backgroundColor]] : [[]];
    return over.map((colors) => {
      const [a, b] = [light(getComputedStyle(node).color), light(behind(node), ...colors)];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent];
    });
  });
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def browser():
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "narrow"])
def view(request):
    return request.param


@pytest.fixture
def page(browser):
    """The page, open; the test fails if it asks for anything or has an error."""
    yield from open_page(browser, 1280, "light")


@pytest.fixture
def page_in_view(browser, view):
    yield from open_page(browser, *view)


def open_page(browser, width, theme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.set_default_timeout(60 * SECOND)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(ADDRESS)
    yield page
    page.close()
    assert [url for url in asked if not url.startswith("blob:")] == [ADDRESS]
    assert not errors


def enter(page, room):
    """Go to a room; return its section."""
    page.get_by_role("navigation").get_by_role("button", name=room).click()
    return page.get_by_role("region", name=room)


def answer(section, which=0):
    """Answer the question of a room, and wait for what the page says of it."""
    section.get_by_role("group", name="Your guess").get_by_role("button").nth(which).click()
    verdict = section.get_by_role("status").first
    expect(verdict).to_contain_text("You said", timeout=120 * SECOND)
    return verdict.inner_text()


@pytest.fixture(scope="module")
def images():
    return read_images((ROOT / PAGE).read_text())


def test_the_curve_is_what_torch_counts(page, images):
    section = enter(page, "Fade it")
    answer(section)
    section.get_by_label("also the networks without skips").check()
    expect(section.locator("circle")).to_have_count(64, timeout=120 * SECOND)
    shown = section.locator("circle title").all_text_contents()
    points = (0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1)
    for network in load_networks():
        name = {"none": "no norm"}.get(network.norm, network.norm.upper())
        name += "" if network.skip else " without skips"
        for point in points:
            split = Split(change(images.images, "contrast", point), images.labels)
            right = round(40 * accuracy(predict(network, split), split.labels))
            assert f"{name}: {right} of 40 at {point:g}" in shown


def test_every_room_begins_with_a_question_and_compares_the_guess(page_in_view, view):
    for room in ROOMS:
        section = enter(page_in_view, room)
        body = section.locator("> div").last
        assert body.evaluate("node => node.inert")
        assert re.match("You said “.+”. (So it is|Not so)", answer(section))
        assert not body.evaluate("node => node.inert")
        assert page_in_view.evaluate("document.documentElement.scrollWidth") <= view[0]
        ratio, text = page_in_view.evaluate(CONTRAST)
        assert ratio >= 4.5, text


def test_an_answer_comes_though_the_reader_goes_elsewhere(page):
    section = enter(page, "Fade it")
    section.get_by_role("group", name="Your guess").get_by_role("button").first.click()
    enter(page, "Cut the skips")
    enter(page, "Fade it")
    expect(section.get_by_role("status").first).to_contain_text("You said", timeout=60 * SECOND)


def test_every_control_is_reached_by_the_keyboard(page):
    for room in ROOMS:
        section = enter(page, room)
        section.get_by_role("group", name="Your guess").get_by_role("button").first.focus()
        page.keyboard.press("Enter")
        expect(section.get_by_role("status").first).to_contain_text("You said", timeout=60 * SECOND)
        page.evaluate("document.activeElement.blur()")
        page.evaluate("window.reached = new Set()")
        controls = "[...document.querySelectorAll('button, select, input')]"
        controls += (
            ".filter((node) => node.checkVisibility() && (node.type !== 'radio' || node.checked))"
        )
        count = page.evaluate(f"{controls}.length")
        for _ in range(count + 3):
            page.keyboard.press("Tab")
            page.evaluate("reached.add(document.activeElement)")
        missed = page.evaluate(
            f"{controls}.filter((node) => !reached.has(node)).map((node) => node.outerHTML)"
        )
        assert not missed
        names = f"{controls}.map((node) => node.ariaLabel || node.textContent || node.labels?.[0]"
        assert all(page.evaluate(f"{names}?.textContent)"))


def test_the_arrow_keys_move_bars_and_choose_images(page):
    section = enter(page, "Fade it")
    answer(section)
    first = section.locator(".answer").first
    before = first.inner_text()
    section.get_by_role("slider", name="contrast").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(section.locator(".value").first).to_have_text("0.45")
    assert first.inner_text() != before
    chosen = page.locator("#thumbnails input:checked")
    name = chosen.get_attribute("aria-label")
    chosen.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#thumbnails input:checked").get_attribute("aria-label") != name


def test_only_the_batchs_own_statistics_mind_the_neighbours(page):
    section = enter(page, "Its neighbours")
    assert "So it is. It moved with “BN, this batch’s averages”, by" in answer(section, 1)
    moved = section.locator(".truth").all_text_contents()
    assert [text == "did not move" for text in moved] == [True, False, True, True, True]
    section.get_by_role("button", name="Swap neighbour 3").click()
    section.get_by_role("button", name="Alone: a batch of one").click()
    expect(section.locator(".batch canvas")).to_have_count(1)


def test_instance_norm_makes_all_images_one(page):
    section = enter(page, "Cut the skips")
    answer(section)
    section.get_by_label("InstanceNorm in C10").check()
    expect(section.get_by_text("all eight images get one and the same answer")).to_have_count(1)
    section.get_by_label("times").focus()
    page.keyboard.press("End")
    texts = section.locator(".truth", has_text="the others:").all_text_contents()
    running, own, groups, layer, none = (int(re.search(r"(\d+) %", text)[1]) for text in texts)
    assert running == own == none == 100 and layer < 30 and layer < groups < 80


def test_a_value_lights_up_all_that_shares_its_statistics(page):
    section = enter(page, "Look inside")
    assert "4,096 values light up: all channels of this image" in answer(section, 2)
    text = section.get_by_role("status").last
    for choice, shown in {
        "BN, running averages": "running averages from training",
        "BN, this batch’s averages": "1,024 values: this channel, in all images of the batch",
        "GN": "2,048 values: one of 2 groups of channels",
        "no norm": "nothing is shared",
    }.items():
        section.get_by_label("network").select_option(label=choice)
        expect(text).to_contain_text(shown)
    section.get_by_label("network").select_option(label="LN")
    before = text.inner_text()
    section.locator(".maps").first.click(position={"x": 30, "y": 30})
    assert text.inner_text() != before
    gamma, x, mean, variance, eps, beta, y = (
        float(number.replace("−", "-"))
        for number in re.findall(r"[−-]?\d+\.\d+", text.locator("code").inner_text())
    )
    assert y == pytest.approx(gamma * (x - mean) / (variance + eps) ** 0.5 + beta, abs=0.01)


def test_an_image_of_ones_own_is_cut_and_shrunk_as_classify_does_it(page, tmp_path):
    path = tmp_path / "own.png"
    small = Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 30).convert("RGB")
    small.save(path)
    page.set_input_files("#file", path)
    expect(page.get_by_label("your image own.png")).to_be_checked()
    pixels = torch.tensor(page.evaluate("[...chosen.pixels]"))
    assert (pixels - read_picture(path).flatten().int()).abs().max() <= 2


@pytest.mark.parametrize("kind, sentence", [
    ("text", "is no picture that your browser can read; choose a PNG or a JPEG."),
    ("dot", "has 1 × 1 pixels; a picture needs 8 × 8 or more"),
    ("huge", "has 65 MB; a picture may have 64: choose a smaller one."),
])  # fmt: skip
def test_bad_input_gets_one_sentence(page, tmp_path, kind, sentence):
    path = tmp_path / f"{kind}.png"
    if kind == "dot":
        Image.new("RGB", (1, 1)).save(path)
    else:
        path.write_text("no picture")
        with path.open("r+b") as file:
            file.truncate(65_000_000 if kind == "huge" else 10)
    page.set_input_files("#file", path)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert page.locator("#thumbnails input").count() == 40


def test_an_exported_notebook_shows_the_trained_network(browser, images, tmp_path):
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    cell = figures.play(load_networks()[0], images)
    output = nbformat.v4.new_output("execute_result", {"text/html": cell.data})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("play", outputs=[output])])
    path = tmp_path / "exported.html"
    path.write_text(nbconvert.HTMLExporter().from_notebook_node(notebook)[0])
    page = browser.new_page()
    page.route(re.compile("^https?:"), lambda route: route.abort())  # what nbconvert asks for
    page.goto(path.as_uri())
    live = page.frame_locator("iframe")
    bars = live.locator(".answer", has_text="BN, yours").first
    before = bars.inner_text()
    live.get_by_role("group", name="Your guess").get_by_role("button").first.click()
    expect(bars).not_to_have_text(before, use_inner_text=True)
    page.close()
