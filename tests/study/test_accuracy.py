from dataclasses import fields

import pandas as pd
import pytest
import torch

from benchmarks import GOALS
from benchmarks.__main__ import SHORT
from era8 import FAST
from era8.models import SeparableNet
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, PARAMETER_LIMIT
from study import accuracy, candidates
from study.candidates import DESIGNS, Candidate
from study.pages import to_markdown
from study.runs import load_part

NAMES = {*DESIGNS, "LargeMaps"}


def make_runs(model, accuracies):
    rows = [
        {"model": model, "norm": norm, "seed": seed, "epochs": 19, "n_parameters": 48_634}
        | {"test_accuracy": value, "train_seconds": 20.0}
        for norm, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_others_report_leads_of_batch_norm_of_one_to_eight_points():
    peers = pd.read_csv(accuracy.PEERS)[["BN", "GN", "LN"]].dropna()
    reported = peers.astype(float).to_numpy().tolist()
    leads = [bn - other for bn, *others in reported for other in others]
    assert len(reported) == 3 and (round(min(leads)), round(max(leads))) == (1, 8)


def test_the_candidates_differ_from_the_separable_network():
    images = torch.randn(2, 3, 32, 32)
    for norm in ("bn", "gn", "ln", "none"):
        torch.manual_seed(0)
        candidate = Candidate(norm)
        torch.manual_seed(0)
        torch.testing.assert_close(SeparableNet(norm)(images), candidate(images))


def test_every_candidate_is_in_the_table_as_it_is():
    runs, table = load_part("candidates"), accuracy.tabulate_candidates().set_index("")
    assert set(table.index) == {"Session8Net", "SeparableNet", "DilatedNet", "Averaged", *NAMES}
    for name in NAMES:
        model = getattr(candidates, name)("gn", skip=False)
        count = sum(p.numel() for p in model.parameters())
        assert f"{count:,}" == table.parameters[name] and count < PARAMETER_LIMIT
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert len({(row.norm, row.epochs, row.lr, row.train_images) for row in runs.itertuples()}) == 1
    assert runs.test_accuracy.isna().all() and set(runs.seed) == {0}


def test_a_stage_that_is_gone_through_twice_shares_convolutions_but_no_norms():
    once, shared = candidates.Candidate("bn"), candidates.Shared("bn")
    assert [len(stage) for stage in (shared.stage1, shared.stage2, shared.stage3)] == [2, 8, 4]
    assert [len(stage) for stage in (once.stage1, once.stage2, once.stage3)] == [2, 4, 2]
    first, again = shared.stage2[0], shared.stage2[4]
    x = torch.rand(2, 56, 16, 16)
    torch.testing.assert_close(first(x), again(x))  # before training norms are alike
    assert first[0] is again[0] and first[3] is again[3]
    assert not {id(p) for p in again[1].parameters()} & {id(p) for p in first.parameters()}


def test_the_table_has_means_and_what_others_reached():
    values = {"bn": [0.88, 0.90], "gn": [0.8, 0.8], "ln": [0.87, 0.87]}
    text = to_markdown(accuracy.tabulate(make_runs("separable", values),
                                         make_runs("Session8Net", values)))  # fmt: skip
    first = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]]
    expected = ["**SeparableNet**", "89.00 ± 1.41", "80.00 ± 0.00", "87.00 ± 0.00", "48,634", "19"]
    assert first == expected
    assert "81.67" in text and "ResNet-8" in text
    assert {line.count("|") for line in text.splitlines()} == {7}


def test_candidates_come_from_the_best_on():
    table = accuracy.tabulate_candidates()
    assert table["held-out accuracy (%)"].astype(float).is_monotonic_decreasing
    rows = table.set_index("")["million multiply-adds"]
    assert rows["SeparableNet"] == "11.8" and rows["DilatedNet"] == "11.1"


def test_what_was_chosen_on_held_out_images_is_what_was_trained():
    chosen, runs = accuracy.tabulate_choice(), load_part("accurate")
    assert chosen["mean of the three"].astype(float).is_monotonic_decreasing
    words = "DilatedNet, batches of {0.batch_size}, shifts of {0.max_shift}"
    assert {words.format(run) for run in runs.itertuples()} == {chosen[""][0]}
    assert set(runs.model) == {"dilated"}
    usual = load_part("dilated").set_index("norm").test_accuracy  # known before the choice
    assert (usual >= runs.groupby("norm").test_accuracy.mean()[usual.index]).all()
    held = accuracy.tabulate_candidates().set_index("")["held-out accuracy (%)"].astype(float)
    assert held.Averaged - held.SeparableNet > held.DilatedNet - held.Averaged > 0


@pytest.mark.parametrize(("part", "preset"), [("fast", FAST), ("short", SHORT)])
def test_the_runs_of_a_preset_have_its_settings(part, preset):
    runs, free = load_part(part), ("seed", "precision")
    names = [field.name for field in fields(preset) if field.name in runs]
    assert all((runs[name] == getattr(preset, name)).all() for name in names if name not in free)
    assert set(runs.data) == {"cifar10"} and set(runs.train_images) == {50_000}
    assert runs.groupby("norm").size().to_dict() == {"bn": 5, "gn": 5, "ln": 5}


def test_the_presets_reach_what_the_page_says():
    fast, short = (
        load_part(part).groupby("norm").test_accuracy.mean() for part in ("fast", "short")
    )
    assert (fast >= ACCURACY_GOAL).all() and FAST.epochs < EPOCH_LIMIT
    short_of = pd.Series(GOALS) - short
    assert short_of.bn <= 0 and short_of.ln <= 0 < short_of.gn < 0.005


def test_small_images_are_not_enough_for_the_fast_preset():
    held, tested = load_part("faster_choice"), load_part("faster")
    assert held.test_accuracy.isna().all() and set(held.val_images) == {5_000}
    means = tested.groupby("norm").test_accuracy.mean()
    assert means.min() == means.gn < ACCURACY_GOAL
    chosen = held[held.warmup == 0.4].groupby("norm").val_accuracy.mean().astype(float)
    assert (chosen >= ACCURACY_GOAL).all()  # so that it was tried


def test_time_holds_the_accuracy_back_more_than_size():
    runs = load_part("limit")
    assert set(runs.norm) == {"bn"} and runs.test_accuracy.isna().all()
    assert set(runs.val_images) == {5_000} and set(runs.seed) == {0}
    found = runs.set_index(["model", "epochs"])[["train_accuracy", "val_accuracy"]]
    best, wide = found.loc["dilated", 38], found.loc["Wide", 19]
    assert (best > wide).all() and (wide > found.loc["dilated", 19]).all()
    assert (found.loc["separable", 38] > found.loc["separable", 19]).all()
    parameters = runs.set_index("model").n_parameters
    assert round(parameters.Wide / parameters.dilated.iloc[0], 1) == 2
