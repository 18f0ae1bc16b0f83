from dataclasses import fields

import pandas as pd
import torch

from era8 import FAST
from era8.models import SeparableNet
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, PARAMETER_LIMIT
from study import accuracy
from study.candidates import CANDIDATES, make_candidate
from study.pages import to_markdown
from study.runs import load_part


def make_runs(model, accuracies):
    rows = [
        {"model": model, "norm": norm, "seed": seed, "epochs": 19, "n_parameters": 48_634}
        | {"test_accuracy": value, "train_seconds": 20.0}
        for norm, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_winner_is_the_candidate_that_won():
    best = accuracy.tabulate_candidates().iloc[0]
    images = torch.randn(2, 3, 32, 32)
    for norm in ("bn", "gn", "ln", "none"):
        torch.manual_seed(0)
        candidate = make_candidate(best[""], norm)
        torch.manual_seed(0)
        torch.testing.assert_close(SeparableNet(norm)(images), candidate(images))


def test_every_candidate_is_in_the_table_as_it_is():
    table = pd.read_csv(accuracy.CANDIDATES, keep_default_na=False).set_index("name")
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
    values = {"bn": [0.88, 0.90], "gn": [0.8, 0.8], "ln": [0.87, 0.87]}
    text = to_markdown(accuracy.tabulate(make_runs("SeparableNet", values),
                                         make_runs("Session8Net", values)))  # fmt: skip
    first = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]]
    expected = ["**SeparableNet**", "89.00 ± 1.41", "80.00 ± 0.00", "87.00 ± 0.00", "48,634", "19"]
    assert first == expected
    assert "81.67" in text and "ResNet-8" in text
    assert {line.count("|") for line in text.splitlines()} == {7}


def test_candidates_come_from_the_best_on():
    table = accuracy.tabulate_candidates()
    assert table["held-out accuracy (%)"].astype(float).is_monotonic_decreasing
    assert table["million multiply-adds"].iloc[0] == "11.8"


def test_the_fast_runs_are_those_of_the_preset_and_reach_70_percent():
    runs = load_part("fast")
    names = [field.name for field in fields(FAST) if field.name in runs and field.name != "seed"]
    assert all((runs[name] == getattr(FAST, name)).all() for name in names if name != "precision")
    assert set(runs.data) == {"cifar10"} and set(runs.train_images) == {50_000}
    means = runs.groupby("norm").test_accuracy.agg(["mean", "count"])
    assert set(means.index) == {"bn", "gn", "ln"} and set(means["count"]) == {5}
    assert (means["mean"] >= ACCURACY_GOAL).all() and FAST.epochs < EPOCH_LIMIT


def test_the_runs_that_look_for_the_limit():
    runs = load_part("limit")
    assert sorted(runs.epochs) == [19, 38] and set(runs.norm) == {"bn"}
    assert runs.test_accuracy.isna().all() and set(runs.train_images) == {45_000}
    found = accuracy.numbers()["limit"]
    assert list(found.index) == [19, 38] and found.val_accuracy.is_monotonic_increasing
