"""The pages are what the records say."""

import re
import shutil
from io import BytesIO
from pathlib import Path
from pydoc import locate
from types import SimpleNamespace

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from PIL import Image, ImageChops

from era8.models import Session8Net
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER
from era8.tables import reaches_goal
from study import __main__ as build
from study import effects, norms_and_skips, pages, runs
from study.pages import Numbers, Writer, collect, list_pictures, typeset
from study.runs import ROOT, load_part


def writer(**changes):
    return Writer({**collect(), **changes}, list_pictures())


def test_pages_are_what_the_records_say(monkeypatch):
    """With the address that they were made with: a clone of a fork has another."""
    stamped = re.search(r"github/([^/]+/[^/]+)/blob", (ROOT / "README.md").read_text())
    monkeypatch.setattr(pages, "read_repository", lambda: stamped[1] if stamped else "")
    run = Numbers(pages.describe_runs())
    for page, text in writer(run=run).write_all().items():
        assert (ROOT / page).read_text() == text, f"{page}: run make page"


def test_every_number_comes_from_the_records(monkeypatch):
    """Other accuracies in the records give another page."""
    long = load_part("long")
    changed = long.assign(test_accuracy=long.test_accuracy.mask(long.norm == "gn", 0.22))
    more = 1e-6 * changed.seed  # a test of equal values has no interval
    changed = changed.assign(test_accuracy=changed.test_accuracy + more)
    for module in (norms_and_skips, effects):
        monkeypatch.setattr(
            module,
            "load_part",
            lambda *parts: pd.concat(
                changed if part == "long" else load_part(part) for part in parts
            ),
        )
    found = {name: effects.measure.__wrapped__(name) for name in effects.DECLARED}
    norms = Numbers(norms_and_skips.numbers())
    changed_writer = writer(norms=norms, effects=Numbers(found))
    text = changed_writer.write_page("README.md") + changed_writer.conclude("norms")
    text = text.replace("\xa0", " ")
    lead = 100 * (long[long.norm == "bn"].test_accuracy.mean() - 0.22)
    assert "22.00 ± 0.00" in text and f"+{lead:.1f} points over GroupNorm" in text


def test_the_readme_is_read_in_two_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200 and len(text.split()) <= 1_500


def test_the_names_that_the_pages_give_are_there():
    text = "".join((ROOT / page).read_text() for page in pages.PAGES)
    names = set(re.findall(r"`((?:era8|benchmarks|study)(?:\.\w+)+)", text))
    assert len(names) > 3 and [name for name in names if locate(name) is None] == []


def test_a_number_or_a_picture_that_no_page_uses_fails():
    more = Numbers({**collect()["run"], "forgotten": 1})
    with pytest.raises(ValueError, match="no page uses run.forgotten$"):
        writer(run=more).write_all()
    with pytest.raises(ValueError, match="no page uses picture extra$"):
        Writer(collect(), list_pictures() | {"extra": None}).write_all()


def test_a_hole_that_nothing_fills_fails():
    numbers = Numbers({k: v for k, v in collect()["run"].items() if k != "count"})
    with pytest.raises(UndefinedError, match="count"):
        writer(run=numbers).write_page("README.md")
    with pytest.raises(ValueError, match="there is no picture 'optimizers'; there are axes"):
        Writer(collect(), {"axes": None, "network": None}).write_page("README.md")


def test_numbers_have_a_true_minus_and_are_not_parted_from_what_belongs_to_them():
    text = "BN − GN is -0.4 (-1.1 to +0.2), 80.13 ± 0.59 % (4 to 5), a -b, 2-4, 1e-05, `-p lr -1`"
    assert typeset(text).replace("\N{NO-BREAK SPACE}", "~") == (
        "BN~−~GN is −0.4 (−1.1~to~+0.2), 80.13~±~0.59~% (4~to~5), a -b, 2-4, 1e-05, `-p lr -1`"
    )
    assert typeset('<img src="a/b-1.png">') == '<img src="a/b-1.png">'
    assert typeset("| < 0.001 | -0.1 |\n<b>-1</b>") == "| < 0.001 | −0.1 |\n<b>−1</b>"


def test_pictures_are_what_the_records_say(monkeypatch):
    """All but those of images, for which CIFAR-10 is needed."""
    images = {f"{norm}_misclassified" for norm in NOTEBOOKS} | {"contrast"}
    some = {name: draw for name, draw in list_pictures().items() if name not in images}
    monkeypatch.setattr(build, "list_pictures", lambda: some)
    drawn = build.draw_all()
    assert set(build.FIGURES.iterdir()) == set(drawn) | {
        build.FIGURES / f"{name}{ending}.png" for name in images for ending in pages.THEMES.values()
    }
    for path, picture in drawn.items():
        with Image.open(path) as saved:
            if f"version{matplotlib.__version__}," not in saved.info["Software"]:
                pytest.skip("the pictures were drawn by another version of matplotlib")
            image = Image.open(BytesIO(picture)).convert("RGB")
            assert image.size == saved.size, path
            apart = np.asarray(ImageChops.difference(image, saved.convert("RGB"))).max(axis=2)
        assert (apart > 32).sum() < 20, f"{path} is not what the records say: make page"


def test_links_of_the_pages_lead_somewhere():
    for page in pages.PAGES:
        text, folder = (ROOT / page).read_text(), (ROOT / page).parent
        links = re.findall(r'\]\(([^)#:]+)\)|(?:src|srcset)="([^"]+)"', text)
        assert links
        for link in filter(None, (one or other for one, other in links)):
            assert (folder / link).exists(), f"{page} links to {link}"


def test_the_readme_names_what_is_there():
    tree = (ROOT / "README.md").read_text().split("## What is where")[1]
    for name in re.findall(r"\b\w+\.py\b", tree):
        assert (ROOT / "era8" / name).is_file()
    for folder in ("notebooks", "era8", "study", "benchmarks", "results", "docs", "tests"):
        assert f"\n{folder}/" in tree


def test_results_come_before_the_first_picture():
    text = (ROOT / "README.md").read_text()
    assert (
        text.index("**Trained with Muon") < text.index("| BatchNorm (BN)") < text.index("<picture>")
    )
    assert len(text[: text.index("| BatchNorm (BN)")].splitlines()) < 15


def test_the_summary_counts_every_parameter_of_each_norm():
    table = pages.summarise_network().set_index("layer")
    model = Session8Net("gn")
    for name, layer in model.named_children():
        count = sum(p.numel() for p in layer.parameters())
        assert table.convolution[name] + table.GroupNorm[name] == count
    own = table.loc["all", ["BatchNorm", "GroupNorm", "LayerNorm"]]
    assert set(own + table.convolution["all"]) == {22_672}


def test_every_test_behind_the_findings_is_printed():
    text = writer().conclude("family")
    for row in effects.collect_family().itertuples():
        assert row.effect in text and row.Index in text.replace("\xa0", " ")
    assert text.count("\n| ") == 1 + len(effects.collect_family()) and text.count("<details>") == 1


def test_the_examples_hold_the_conditions():
    long = load_part("notebooks")
    assert len(long) == 6 and reaches_goal(long).all()
    assert not reaches_goal(long.assign(data="synthetic")).any()
    assert not reaches_goal(long.assign(test_accuracy=0.69)).any()
    assert not reaches_goal(long.assign(epochs=20)).any()
    assert not reaches_goal(long.assign(n_parameters=50_000)).any()


def test_a_missing_run_is_named(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="must hold all runs of depth; 30 are missing .* bn-seed"):
        load_part("depth", folder=tmp_path)


def test_a_damaged_run_is_named(tmp_path):
    for path in map(Path, load_part("depth").folder):
        shutil.copytree(path, tmp_path / path.name)
    (tmp_path / path.name / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="1 are miss"):
        load_part("depth", folder=tmp_path)


def test_every_run_belongs_to_a_part():
    assert set(load_part().folder) == {str(path) for path in runs.RUNS.iterdir() if path.is_dir()}


@pytest.mark.parametrize("name", NOTEBOOKS.values())
def test_stamp_is_repeatable_and_removable(tmp_path, name):
    path = tmp_path / name
    shutil.copy(NOTEBOOKS_FOLDER / name, path)
    build.stamp(path, "")
    plain = path.read_text()
    build.stamp(path, "someone/era8")
    build.stamp(path, "someone/else")
    cells = nbformat.read(path, as_version=4).cells
    link = f"https://colab.research.google.com/github/someone/else/blob/main/notebooks/{name}"
    assert cells[0].source.count(link) == 1 and "someone/era8" not in path.read_text()
    for other in {*NOTEBOOKS.values(), "study.ipynb"} - {name}:
        assert cells[0].source.count(f"]({link.replace(name, other)})") == 1
    assert cells[2].source.startswith('repository = "someone/else"')
    build.stamp(path, "")
    assert path.read_text() == plain


@pytest.mark.parametrize(("address", "badges"), [("", 0), ("someone/era8", 3)])
def test_badges_open_the_address_that_is_known(monkeypatch, address, badges):
    monkeypatch.setattr(pages, "read_repository", lambda: address)
    text = writer(run=Numbers(pages.describe_runs())).write_page("README.md")
    assert text.count("colab-badge.svg") == badges == text.count("/github/someone/era8/blob/")
    assert ("upload a notebook" in text) == (not address)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://github.com/someone/era8.git", "someone/era8"),
        ("git@github.com:someone/era8", "someone/era8"),
        ("https://example.org/someone/era8", ""),
        ("/a/path/era8", ""),
    ],
)
def test_the_address_is_that_of_the_clones_origin(monkeypatch, origin, expected):
    monkeypatch.setattr(pages.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout=origin))
    assert pages.read_repository() == expected


def test_an_address_that_is_none_is_refused(tmp_path, monkeypatch):
    text = "[tool.era8]\nrepository = 'x\"; import os'"
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="repository in pyproject.toml must be owner/name; got"):
        pages.read_repository()


def test_a_figure_that_cannot_be_drawn_leaves_everything_as_it_was(monkeypatch):
    files = [ROOT / "README.md", build.STUDY, *(ROOT / "figures").iterdir()]
    before = {path: path.read_bytes() for path in files}

    def fail():
        raise ValueError("cannot be drawn")

    monkeypatch.setattr(build, "execute_into", lambda *args, **settings: None)
    monkeypatch.setattr(build, "draw_all", fail)
    with pytest.raises(ValueError, match="cannot be drawn"):
        build.main.callback()
    assert {path: path.read_bytes() for path in before} == before


def test_an_interval_that_ends_just_below_zero_does_not_seem_to_reach_it():
    row = {"effect": "Depth", "difference": -0.005, "low": -0.01, "high": -2e-5, "p": 0.04}
    rows = pd.DataFrame([row | {"runs": "5, 5"}], index=["BN"])
    assert pages.interval(rows.iloc[0]) == "-0.5 (-1.0 to -0.0)"
    assert effects.show(rows)["95 % interval"].item().split() == ["-1.00", "to", "-0.00"]


def test_text_of_records_is_escaped():
    """The other holes are numbers, and what the study itself writes."""
    for page in pages.TEMPLATES.glob("*.md"):
        for hole in re.findall(
            r"{{ [a-z_.]*(?:device|machine|commit|precision)[^}]*", page.read_text()
        ):
            assert "| e " in hole or ".startswith" in hole or "interval" in hole or "n_" in hole
