"""The notebooks as a student uses them: in JupyterLab, with a browser."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import urllib3

from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER

driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = driver.expect
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(BROWSERS)} is installed"),
]

REPOSITORY = NOTEBOOKS_FOLDER.parent
SETTINGS = {
    # Cells that are out of view are in the page too.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    # No question about news lies over the buttons.
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
}
SMALL = {"data_dir": "synthetic", "device": "cpu", "train_images": 500, "epochs": 2}
PATIENCE = 240_000  # milliseconds that anything may take


class Notebook:
    """An open notebook: what a student does with it, and what the student then sees."""

    def __init__(self, lab, page, name):
        page.goto(f"{lab}/{name}")
        self.page = page
        self.cells = page.locator(".jp-CodeCell")
        self.waiting = self.cells.locator(".jp-InputPrompt", has_text="[*]:")
        self.parameters, self.training = (
            self.find("epochs: int"),
            self.find("fit_in(out_dir, network"),
        )
        self.figures = page.locator(".jp-RenderedImage img")
        self.committed_figures = (NOTEBOOKS_FOLDER / name).read_text().count('"image/png"')
        red = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")  # errors, warnings
        self.errors = red.filter(has_not_text="font cache")  # matplotlib's word on a slow first day
        self.wait_until_idle()

    def find(self, text):
        """Return the code cell whose source holds a text."""
        return self.cells.filter(has=self.page.locator(".jp-InputArea", has_text=text))

    def set(self, **parameters):
        """Write over the lines of parameters in their cell."""
        for name, value in parameters.items():
            self.parameters.locator(".cm-line", has_text=re.compile(f"^{name}:")).click()
            self.page.keyboard.press("Home")
            self.page.keyboard.press("Shift+End")
            self.page.keyboard.insert_text(f"{name}: {type(value).__name__} = {value!r}")

    def start(self, what="Run All Cells"):
        """Choose from the menu Run."""
        for name in ("Run", what):
            self.page.get_by_role("menuitem", name=name, exact=True).click()
        expect(self.waiting.first).to_be_attached()

    def wait_until_idle(self):
        """Wait until no cell waits and the kernel has nothing to do."""
        expect(self.waiting).to_have_count(0, timeout=PATIENCE)
        status = self.page.get_by_text(re.compile(r"^Python 3 .* \| Idle$"))  # at the very bottom
        expect(status).to_be_visible(timeout=PATIENCE)

    def run(self, what="Run All Cells"):
        """Choose from the menu Run, wait for the end, and see that there is no error."""
        self.start(what)
        self.wait_until_idle()
        expect(self.errors).to_have_count(0)

    def stop_after(self, line):
        """Press the stop button once the training cell shows a line, a regular expression."""
        shown = self.training.locator(".jp-OutputArea-output", has_text=re.compile(line))
        expect(shown).to_be_attached(timeout=PATIENCE)
        self.page.get_by_role("button", name="Interrupt the kernel").click()
        self.wait_until_idle()

    def read_log(self):
        """Return the lines below the training cell."""
        outputs = self.training.locator(".jp-OutputArea-output").all_inner_texts()
        return [line for output in outputs for line in output.strip().splitlines()]

    def read_epochs(self):
        """Return the numbers of the epochs whose lines are below the training cell."""
        return [
            int(n) for n in re.findall(r"^epoch +(\d+)/\d+ +loss", "\n".join(self.read_log()), re.M)
        ]


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab on a copy of notebooks/, beside links to all that these read."""
    root, config = tmp_path / "root", tmp_path / "config"
    ignored = shutil.ignore_patterns("runs", ".*")
    shutil.copytree(NOTEBOOKS_FOLDER, root / "notebooks", ignore=ignored)
    for part in {*REPOSITORY.glob("[!.]*")} - {NOTEBOOKS_FOLDER}:
        (root / part.name).symlink_to(part)
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    changed = {"JUPYTER_CONFIG_DIR": config, "PYTHONPATH": REPOSITORY, "OMP_NUM_THREADS": 1}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        + [f"--ServerApp.root_dir={root}", f"--port={port}", "--IdentityProvider.token="],
        env=os.environ | {name: str(value) for name, value in changed.items()},
    )
    address = f"http://localhost:{port}"
    urllib3.request("GET", address, retries=urllib3.Retry(60, backoff_factor=1, backoff_max=1))
    yield f"{address}/lab/tree/notebooks"
    server.terminate()
    server.wait(30)


@pytest.fixture
def page():
    """An empty page of a browser that nobody has used before."""
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.fixture(params=NOTEBOOKS.values())
def notebook(request, lab, page):
    """One of the notebooks that train, open, with parameters that take seconds."""
    notebook = Notebook(lab, page, request.param)
    notebook.set(**SMALL)
    return notebook


def test_runs_and_shows_every_figure(notebook):
    notebook.run()
    assert notebook.read_epochs() == [1, 2]
    assert notebook.committed_figures >= 5
    expect(notebook.figures).to_have_count(notebook.committed_figures)


def test_goes_on_after_a_stop_and_starts_anew_with_other_parameters(notebook):
    notebook.set(train_images=4_000, epochs=4, compare_skip=False)
    notebook.start()
    notebook.stop_after(r"epoch\s+1/4\s+loss")
    *lines, sentence = notebook.read_log()
    done = notebook.read_epochs()
    assert sentence == f"Stopped after epoch {done[-1]} of 4; run this cell again to resume"
    assert len(lines) == len(done)

    notebook.training.click()
    notebook.run("Run Selected Cell and All Below")
    assert notebook.read_epochs() == [*range(done[-1] + 1, 5)]

    notebook.set(seed=2)
    notebook.start()  # and is stopped again, so that a checkpoint is left
    notebook.stop_after(r"epoch\s+1/4\s+loss")
    notebook.set(train_images=500, epochs=3, seed=1, model="dilated")
    notebook.run()
    assert notebook.read_epochs() == [1, 2, 3]


def test_the_study_runs_beside_its_records(lab, page):
    study = Notebook(lab, page, "study.ipynb")
    study.run()
    assert study.committed_figures >= 5
    expect(study.figures).to_have_count(study.committed_figures)


def test_one_plays_with_the_network_that_was_just_trained(lab, page):
    notebook = Notebook(lab, page, NOTEBOOKS["gn"])
    notebook.set(**SMALL)
    notebook.run()
    live = page.frame_locator("iframe[title='The network that one plays with']")
    expect(live.get_by_role("heading", name="GN, yours")).not_to_have_count(0)
    live.get_by_role("group", name="Your guess").get_by_role("button").first.click()
    expect(live.get_by_text("You said").first).to_be_visible(timeout=PATIENCE)
    bars = live.locator(".answer", has_text="GN, yours").first
    before = bars.inner_text()
    live.get_by_role("slider", name="contrast").focus()
    page.keyboard.press("End")
    expect(bars).not_to_have_text(before, use_inner_text=True)
