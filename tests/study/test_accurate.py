import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from era8.models import SeparableNet
from era8.recipe import PARAMETER_LIMIT
from study import accurate
from study.candidates import CANDIDATES, make_candidate


def make_runs(model, accuracies):
    rows = [
        {"model": model, "norm": norm, "seed": seed, "epochs": 19, "n_parameters": 48_634}
        | {"test_accuracy": value, "train_accuracy": 0.9}
        | {"device": "cpu", "precision": "bf16", "train_seconds": 1200}
        for norm, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_winner_is_the_candidate_that_won():
    best = accurate.load_candidates().iloc[0]
    images = torch.randn(2, 3, 32, 32)
    for norm in ("bn", "gn", "ln", "none"):
        torch.manual_seed(0)
        candidate = make_candidate(best["name"], norm)
        torch.manual_seed(0)
        torch.testing.assert_close(SeparableNet(norm)(images), candidate(images))


def test_every_candidate_is_in_the_table_as_it_is():
    table = accurate.load_candidates().set_index("name")
    assert set(table.index) == {"Session8Net", *CANDIDATES}
    for name, row in table.iterrows():
        model = make_candidate(name)
        assert sum(p.numel() for p in model.parameters()) == row.parameters < PARAMETER_LIMIT
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert len({(row.norm, row.epochs, row.seed, row.lr) for row in table.itertuples()}) == 1


def test_passes_share_convolutions_but_no_norms():
    once, shared = make_candidate("ResNet"), make_candidate("ResNet, shared")
    more = sum(p.numel() for p in shared.parameters()) - sum(p.numel() for p in once.parameters())
    assert more == 2 * 2 * (28 + 36)


def test_the_table_has_means_and_what_others_reached():
    ours = make_runs("SeparableNet", {"bn": [0.88, 0.90], "ln": [0.87]})
    table = accurate.tabulate_accurate(ours, make_runs("Session8Net", {"bn": [0.8234]}))
    lines = table.splitlines()
    assert lines[2] == "| **SeparableNet** | 48,634 | 19 | **89.00** ± 1.41 |  | **87.00** |"
    assert lines[3] == "| Session8Net | 48,634 | 19 | 82.34 |  |  |"
    assert ": BN 2, LN 1;" in lines[-1] and "with BN is 90.0 %" in lines[-1]
    assert lines[-1].endswith("3 runs took 1.0 hours of training (3 on cpu, bf16).")
    assert "81.67" in table and "ResNet-8" in table
    assert {line.count("|") for line in lines[:-2]} == {7}


def test_what_more_epochs_would_bring():
    runs = make_runs("SeparableNet", {"bn": [0, 0]}).assign(
        epochs=[38, 19], train_images=45_000, val_accuracy=[0.9, 0.89], train_accuracy=[0.93, 0.91]
    )
    text = accurate.describe_limit(runs)
    assert "and 5,000 of the training images held out" in text
    assert "after 19 epochs 89.0 % of them, and 91.0 % of" in text and "38 epochs 90.0 %" in text


def test_candidates_are_numbered_from_the_best_on():
    table = accurate.load_candidates()
    assert table.val_accuracy.is_monotonic_decreasing and list(table.number)[:2] == [1, 2]
    text = accurate.tabulate_candidates(table)
    first = text.splitlines()[2]
    assert first.startswith(f"| 1 | {table['name'][0]}:<br>dw3") and "11.8" in first
    figure = accurate.plot_candidates(table)
    drawn = table[table.block != ""]
    for ax in figure.axes:
        numbers = [t.get_text() for t in ax.findobj(Text) if t.get_text().isdigit()]
        assert {str(n) for n in drawn.number} <= set(numbers)
        points = [xy for line in ax.lines[:2] for xy in line.get_xydata().tolist()]
        assert sorted(y for _, y in points) == pytest.approx(sorted(100 * drawn.val_accuracy))
