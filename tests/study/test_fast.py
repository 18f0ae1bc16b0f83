import json
from dataclasses import fields, replace

import pytest
from matplotlib.text import Text

from era8 import FAST, Session8Net, fit, load_runs
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT
from era8.records import save_run
from study import fast


@pytest.fixture(scope="module")
def table(tmp_path_factory, data):
    """Three runs with each of two norms, as a sweep would have left them."""
    folder = tmp_path_factory.mktemp("fast")
    model = Session8Net("gn")
    record = fit(model, data, replace(FAST, batch_size=50), log=lambda line: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast.scaling, "RESULTS", folder / "scaling.json")
        fast.scaling.RESULTS.write_text(json.dumps({"local_seconds": 3.5}))
        for norm in ("ln", "bn"):
            for seed, accuracy in enumerate((0.70, 0.72, 0.74)):
                run = {"norm": norm, "seed": seed, "test_accuracy": accuracy, "train_seconds": 20.0}
                save_run(folder / f"{norm}-{seed}", replace(record, **run), model)
        return fast.summarise(load_runs(folder))


def test_table_has_mean_spread_and_time_of_each_norm(table):
    assert table.norm.tolist() == ["bn", "ln"] and table.seeds.tolist() == [3, 3]
    assert table["mean"].tolist() == pytest.approx([0.72, 0.72])
    assert table["std"].tolist() == pytest.approx([0.02, 0.02])
    assert table.accuracies[0] == [0.70, 0.72, 0.74] and table.total.tolist() == [23.5, 23.5]


def test_the_readme_says_what_the_table_says(table):
    lines = fast.render(table).splitlines()
    assert lines[2] == "| BN | 3 | **72.0 %** ± 2.0 | 20 s | 24 s |" and lines[3][:5] == "| LN "
    assert f"after {FAST.epochs} epochs" in lines[0] and table.device[0] in lines[-1]


def test_figure_shows_every_run(table):
    figure = fast.plot_fast(table)
    (ax,) = figure.axes
    dots = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    assert [list(x) for x in dots] == [pytest.approx([70, 72, 74])] * 2
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"BN, 24 s", "LN, 24 s", "A mean of 70 % in at most 24 seconds, test included"} <= texts


def test_the_runs_are_those_of_the_preset_and_reach_70_percent():
    runs = fast.load_fast()
    names = [field.name for field in fields(FAST) if field.name in runs and field.name != "seed"]
    assert all((runs[name] == getattr(FAST, name)).all() for name in names if name != "precision")
    assert set(runs.data) == {"cifar10"} and set(runs.train_images) == {50_000}
    table = fast.summarise(runs)
    assert list(table.norm) == ["bn", "gn", "ln"] and set(table.seeds) == {5}
    assert (table["mean"] >= ACCURACY_GOAL).all() and FAST.epochs < EPOCH_LIMIT
