"""The page that one plays with, docs/play/index.html, from the weights and the records.

Its images are the first four of each class of the test set. Once the page is there they are read
from it, so that it can be rebuilt without the data set. ``python -m study.play`` takes pictures of
the page for the README; it needs playwright and Chromium.
"""

import shutil

from era8.data import load_cifar10
from era8.figures.style import NAMES, THEMES
from era8.models import Session8Net
from era8.play import fill, pick, read_images
from study.inside import load_kept, load_network
from study.pages import PLAY as PAGE
from study.pages import THEMES as ENDINGS
from study.runs import ROOT, load_part


def write_page() -> str:
    """Return the page with a network of each norm, with and without skips."""
    page = ROOT / PAGE
    if page.is_file():
        images = read_images(page.read_text())
    else:
        images = pick(load_cifar10(device="cpu").test, each=4)
    runs = load_part("long").query("skip")
    accuracies = {norm: some.test_accuracy.tolist() for norm, some in runs.groupby("norm")}
    return fill(load_networks(), images, THEMES, NAMES, accuracies)


def load_networks() -> list[Session8Net]:
    """Return the networks of seed 0 whose weights are kept, those with skips first."""
    runs = load_kept().query("seed == 0").itertuples()
    order = sorted(runs, key=lambda run: (not run.skip, list(NAMES).index(run.norm)))
    return [load_network(run) for run in order]


def take_pictures() -> None:
    """Take pictures of the page, light and dark, and put them beside it."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme, ending in ENDINGS.items():
            page = browser.new_page(viewport={"width": 1060, "height": 585})
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.goto((ROOT / PAGE).as_uri())
            page.get_by_role("group", name="Your guess").get_by_role("button").first.click()
            page.get_by_text("You said").wait_for(timeout=120_000)
            page.add_style_tag(content="header, .chooser, footer { display: none }")
            page.screenshot(path=(ROOT / PAGE).with_name(f"picture{ending}.png"))
        browser.close()


if __name__ == "__main__":
    take_pictures()
