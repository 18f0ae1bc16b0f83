import shutil
from io import BytesIO
from types import SimpleNamespace

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageChops

from era8 import load_runs
from era8.figures.style import FULL_NAMES
from era8.notebooks import NOTEBOOKS_FOLDER
from era8.tables import reaches_goal
from study import __main__ as report
from study import readme
from study import runs as study

RESULTS = readme.ROOT / "results"
README = readme.ROOT / "README.md"


SETTINGS = ("optimizer", "batch_size", "lr", "momentum", "weight_decay", "warmup", "crop", "flip")


def load_reference_table():
    return pd.concat([load_runs(RESULTS / norm) for norm in FULL_NAMES])


@pytest.fixture(scope="module")
def records():
    return report.load_reference(RESULTS)


def test_readme_is_what_the_records_say(records):
    text = README.read_text()
    assert readme.render(text, records) == text


def test_every_number_comes_from_the_records(records, monkeypatch):
    """Other accuracies in the records give another README."""
    long_runs = study.load_long_runs()
    changed = long_runs.assign(
        test_accuracy=long_runs.test_accuracy.mask(long_runs.norm == "gn", 0.22)
    )
    monkeypatch.setattr(study, "load_long_runs", lambda: changed)
    text = readme.render(README.read_text(), records).replace("\N{NO-BREAK SPACE}", " ")
    assert "**22.00 ± 0.00 %**" in text and "BN − GN +6" in text


def test_numbers_have_a_true_minus_and_are_not_parted_from_what_belongs_to_them():
    text = "BN − GN is -0.4 (-1.1 to +0.2), 80.13 ± 0.59 % (4 to 5), a -b, 2-4, 1e-05, `-p lr -1`"
    assert readme.typeset(text).replace("\N{NO-BREAK SPACE}", "~") == (
        "BN~−~GN is −0.4 (−1.1~to~+0.2), 80.13~±~0.59~% (4~to~5), a -b, 2-4, 1e-05, `-p lr -1`"
    )


def test_figures_are_what_the_records_say(records, monkeypatch):
    """All but the grids of misclassified images, for which CIFAR-10 is needed."""
    monkeypatch.setattr(report, "load_cifar10", lambda device: SimpleNamespace(test=None))
    monkeypatch.setattr(report.plots, "plot_misclassified", lambda images, mistakes: None)
    figures = report.draw_all(records)
    assert set(figures) == {path.stem for path in (readme.ROOT / "figures").iterdir()}
    for name, figure in figures.items():
        if figure is None:
            continue
        with Image.open(readme.ROOT / "figures" / f"{name}.png") as saved:
            if f"version{matplotlib.__version__}," not in saved.info["Software"]:
                pytest.skip("the figures were drawn by another version of matplotlib")
            drawn = Image.open(BytesIO(report.encode(figure))).convert("RGB")
            assert drawn.size == saved.size, name
            apart = np.asarray(ImageChops.difference(drawn, saved.convert("RGB"))).max(axis=2)
        assert (apart > 32).sum() < 20, f"figures/{name}.png is not what the records say"


def test_readme_shows_every_figure_and_no_other():
    text = README.read_text()
    figures = {f"figures/{path.name}" for path in (readme.ROOT / "figures").iterdir()}
    assert figures == {link for link in figures if f"]({link})" in text}
    assert text.count("](figures/") == len(figures)


def test_readme_names_every_module():
    tree = README.read_text().split("## What is where")[1]
    for path in (readme.ROOT / "era8").glob("[a-z]*.py"):
        assert path.name in tree


def test_reference_runs_are_complete_and_hold_the_conditions(records):
    runs = load_reference_table()
    assert len(runs) == len(records) == 6
    assert reaches_goal(runs).all()
    assert set(runs.epochs) == {19} and set(runs.train_images) == {50_000}
    assert set(runs.seed) == {0} and set(runs.data) == {"cifar10"}
    assert all(runs[name].nunique() == 1 for name in (*SETTINGS, "checksum"))


def test_synthetic_records_are_refused(tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    path = tmp_path / "results" / "ln" / "record.json"
    path.write_text(path.read_text().replace('"cifar10"', '"synthetic"'))
    with pytest.raises(ValueError, match="must hold a run of ln with skip=True on cifar10"):
        report.load_reference(tmp_path / "results")


def test_synthetic_records_never_reach_the_goal():
    runs = load_reference_table()
    assert not reaches_goal(runs.assign(data="synthetic")).any()
    assert not reaches_goal(runs.assign(test_accuracy=0.69)).any()
    assert not reaches_goal(runs.assign(epochs=20)).any()
    assert not reaches_goal(runs.assign(n_parameters=50_000)).any()


def test_missing_records_are_named(tmp_path):
    with pytest.raises(ValueError, match="bn holds no readable record"):
        report.load_reference(tmp_path)


def test_readme_without_a_section(records):
    with pytest.raises(ValueError, match="README.md must have the section <!-- badges -->"):
        readme.render("# empty", records)


@pytest.mark.parametrize("name", ["batch_norm.ipynb", "group_norm.ipynb", "layer_norm.ipynb"])
def test_stamp_is_repeatable_and_removable(tmp_path, name):
    path = tmp_path / name
    shutil.copy(NOTEBOOKS_FOLDER / name, path)
    readme.stamp(path, "")
    plain = path.read_text()
    readme.stamp(path, "someone/era8")
    readme.stamp(path, "someone/else")
    cells = nbformat.read(path, as_version=4).cells
    link = f"https://colab.research.google.com/github/someone/else/blob/main/notebooks/{name}"
    assert cells[0].source.count(link) == 1 and "someone/era8" not in path.read_text()
    assert cells[2].source.startswith('repository = "someone/else"')
    readme.stamp(path, "")
    assert path.read_text() == plain


def test_no_badge_before_an_address_is_set():
    assert (readme.read_repository() != "") == ("colab-badge.svg" in README.read_text())


def test_a_figure_that_cannot_be_drawn_leaves_everything_as_it_was(monkeypatch):
    before = {path: path.read_bytes() for path in (README, report.COMPARE)}

    def fail(*args, **settings):
        raise ValueError("cannot be drawn")

    monkeypatch.setattr(report.papermill, "execute_notebook", lambda *args, **settings: None)
    monkeypatch.setattr(report, "render", lambda *args: "another README")
    monkeypatch.setattr(report, "draw_all", fail)
    with pytest.raises(ValueError, match="cannot be drawn"):
        report.build(RESULTS)
    assert {path: path.read_bytes() for path in before} == before
