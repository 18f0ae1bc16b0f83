"""A folder of runs as a table, as figures and as a notebook."""

import shutil
import warnings
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from support import invoke

from era8 import load_runs
from era8.report import compare, draw_curves, draw_differences, draw_dots
from era8.run import DEFAULTS
from era8.tables import average

RUNS = Path(__file__).parents[2] / "results" / "runs"


def make_runs(*cells, seeds=3):
    """Return runs of the given settings; of each next one the accuracy is a point less."""
    plain = DEFAULTS | {"checksum": "", "torch": "2", "val_accuracy": None}
    return pd.DataFrame(
        plain | cell | {"seed": seed, "test_accuracy": 0.8 - 0.01 * i + 0.002 * seed}
        for i, cell in enumerate(cells)
        for seed in range(seeds)
    )


@pytest.fixture
def folder(tmp_path):
    """Runs of the study, three of them without skips, one with held-out images."""
    names = [
        f"{norm}-seed={seed}-epochs=19{skip}-precision=bf16"
        for norm in ("bn", "ln") for seed in (0, 1) for skip in ("", "-skip=False")
    ]  # fmt: skip
    names.append("bn-seed=0-epochs=6-val_images=5000-lr=0.1-precision=bf16")
    for name in names:
        shutil.copytree(RUNS / name, tmp_path / "some" / name)
    return tmp_path / "some"


def test_a_grid_is_averaged_over_its_seeds():
    """0.80, 0.802, 0.804 have the mean 0.802 and the deviation 0.002; a single run has none."""
    runs = make_runs({"norm": "bn"}, {"norm": "mine:X"}, {"norm": "mine:X", "val_images": 9})
    runs = runs.drop(index=[7, 8])
    runs.loc[6, ["val_accuracy", "test_accuracy"]] = 0.5, None
    assert average(runs).astype(object).values.tolist() == [
        ["bn", 0, "80.20 ± 0.20", "", 3],
        ["mine:X", 0, "79.20 ± 0.20", "", 3],
        ["mine:X", 9, "", "50.00", 1],
    ]
    assert list(average(runs.query("norm == 'bn'"))) == ["norm", "test accuracy (%)", "seeds"]


def test_each_setting_is_compared_with_its_usual_value():
    cells = [{"norm": n, "skip": s} for n in ("ln", "bn", "mine:X") for s in (False, True)]
    runs = make_runs(*cells).drop(index=[0, 1])  # one seed is no sample
    found = compare(pd.concat([runs, runs[:3]]))  # as a folder that was copied into itself
    said = {part: (100 * rows.difference).round(6).to_dict() for part, rows in found.items()}
    assert said["skip"] == {f"with skips − without skips, {norm}": -1 for norm in ("BN", "X")}
    assert said.pop("norm") == {
        "BN − X, without skips": 2, "BN − LN, with skips": -2, "BN − X, with skips": 2
    }  # fmt: skip
    assert list(said) == ["skip"]


def test_what_always_changes_with_a_setting_is_said_with_it():
    own = {"muon": 0.05, "sgd": 0.1, "adamw": 0.008}
    found = compare(make_runs(*({"optimizer": name, "lr": lr} for name, lr in own.items())))
    ((part, rows),) = found.items()
    assert part == "optimizer, and with it lr"
    assert list(rows.index) == [f"optimizer=muon − optimizer={name}" for name in ("adamw", "sgd")]


def test_equal_runs_have_a_difference_without_an_interval():
    runs = make_runs({"norm": "bn"}, {"norm": "gn"}).assign(test_accuracy=1.0)
    with warnings.catch_warnings(action="error"):
        row = compare(runs)["norm"].iloc[0]
        draw_differences(runs)
    assert row.difference == 0 and pd.isna(row.low)


def test_figures_show_every_run_once(folder):
    runs = load_runs(folder)
    shutil.copytree(folder, folder / "sweep")
    assert len(load_runs(folder)) == 2 * len(runs)
    pd.testing.assert_frame_equal(average(load_runs(folder)), average(runs))
    test, held_out = draw_dots(load_runs(folder))
    dots = [x for line in test.axes[0].lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert sorted(dots) == pytest.approx(sorted(100 * runs.test_accuracy.dropna()))
    assert "held-out" in held_out.axes[0].get_xlabel()
    curves = draw_curves(load_runs(folder))
    ends = [line for f in curves for line in f.axes[1].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in ends) == len(runs)
    titles = [figure.get_suptitle() for figure in curves]
    assert len(titles) == 3 and sum(title.startswith("LN") for title in titles) == 1
    (figure,) = draw_differences(load_runs(folder))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()][2:] == [
        "with skips − without skips, BN", "with skips − without skips, LN"
    ]  # fmt: skip


@pytest.mark.process
def test_a_report_is_one_notebook_beside_the_runs(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    result = invoke("report", "some")
    assert result.exit_code == 0 and result.output == "written to some/report.ipynb\n"
    book = nbformat.read(folder / "report.ipynb", as_version=4)
    outputs = [o for cell in book.cells if cell.cell_type == "code" for o in cell.outputs]
    assert not any(o.output_type in ("error", "stream") for o in outputs)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2 + 3 + 1
    html = "".join(o.get("data", {}).get("text/html", "") for o in outputs)
    table = average(load_runs(folder))
    assert all(text in html for text in table["test accuracy (%)"])
    assert str(folder.parent) not in str(book)  # it can be sent to somebody else


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "the folder of runs 'nowhere' does not exist"),
        ("file", "the folder of runs 'file' does not exist"),
        ("empty", "empty must hold runs, such as era8 sweep writes; it has no record"),
    ],
)
def test_what_is_no_folder_of_runs_has_no_report(tmp_path, monkeypatch, folder, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    result = invoke("report", folder)
    assert result.exit_code == 1 and result.output == f"Error: {message}\n"
    assert not list(tmp_path.rglob("*.ipynb"))
