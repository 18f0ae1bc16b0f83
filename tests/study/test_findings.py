"""The README's findings: their numbers, and that the records bear out what they say."""

import re

import pandas as pd
import pytest
from test_study import make_mechanisms, make_runs

from study import findings
from study import runs as study
from study.effects import UNTRAINED
from study.statistics import interval, paired_differences
from study.tables import skip_gains


def test_numbers_are_those_of_the_runs():
    runs = make_runs(n_parameters=20_000, epochs=2)
    stuck = (runs.norm == "none") & ~runs["skip"] & (runs.seed < 2)
    runs["test_accuracy"] = runs.test_accuracy.mask(stuck, 0.1)
    kinds = runs[runs["skip"] & (runs.norm != "none")]
    kinds = kinds.replace({"norm": {"bn": "ln", "gn": "ln_c", "ln": "ln_chw"}})
    kinds["n_parameters"] = kinds.n_parameters.where(kinds.norm != "ln_chw", 100_000)
    sizes = [make_runs(batch_size=n, epochs=8) for n in (8, 32, 64)]
    for some, scale in zip(sizes, (3, 1, 0.4), strict=True):
        some["train_accuracy"] = some["test_accuracy"] = scale * some.test_accuracy
    text = findings.describe(
        long_runs=runs.assign(epochs=19, lr=runs.lr.mask(runs.norm == "none", 0.0125)),
        runs=runs,
        deep_runs=runs,
        kinds=kinds,
        groups=make_runs(groups=16).query("norm == 'gn'"),
        batches=pd.concat(sizes).query("skip"),
        inside=make_mechanisms(),
    )
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == [f"{i}." for i in range(1, len(lines) + 1)]
    assert len(lines) <= 10
    for line in lines:  # one sentence, with an interval and a figure or a table
        assert not re.search(r"[^0-9]\. ", line) and line.endswith(").")
        assert re.search(r"\(\S+( %)? to \S+( %)?\)", line) and "](#" in line
    for part in (
        "after 2 epochs, all with a learning rate of 1, in points by +30.3 (",
        "a rate of its own (0.0125, the others 1), by +30.3 (",
        "by +10.1 (+9.9 to +10.3) points, and of LN by +20.2 (",
        "after 19 epochs, BN − GN is +10.1 (+9.9 to +10.3), BN − LN +20.2 (",
        "after 19 epochs +2.1 (+1.9 to +2.3) with BN, +2.1 (",
        " with LN, after 2 epochs +2.1 (+1.9 to +2.3) with BN, +2.1 (",
        "multiply it by 3.0 with BN, 3.0 with GN, 3.0 with LN and by 3 without a norm",
        "0.0125, which was chosen with skips, 2 of 3 networks (9 % to 99 %) without them learn ",
        "nothing (below 15 %), and 0 of 3 ",
        "20 convolutions, after 2 epochs, by +2.1 (+1.9 to +2.3) with BN, +2.1 (",
        "after 2 epochs -10.1 (-10.3 to -9.9) points against LayerNorm over (C, H, W), ",
        "has 5 times the parameters for -20.2 (",
        "reaches 70.9 % without skips and 73.0 % with them after 1 epochs, +2.1 (+1.9 to +2.3) ",
        "after 8 epochs, BN − GN is +10.1 (+9.9 to +10.3) points with 32 images in a batch and ",
        " and +4.0 (+3.9 to +4.1) with 64, BN − LN +20.2 (+19.7 to +20.7) and +8.1 (",
        "in training goes from 83.1 % to 33.2 % with BN, 73.0 % to 29.2 % with GN, 62.9 % to 25.2 ",
        "fall from 80 % to 40 %, -39.7 (-43.5 to -35.9) points",
    ):
        assert part in text


@pytest.fixture(scope="module")
def runs():
    return study.load_part("norms and skips")


def test_any_norm_beats_none_and_bn_is_ahead_of_gn_early(runs):
    norms = study.norm_effects(runs).set_index(["one", "other"])
    for pair in (("bn", "none"), ("bn", "gn"), ("bn", "ln")):
        assert norms.low[pair] > 0
    assert norms.p_holm["bn", "gn"] < 0.05 < norms.p_holm["bn", "ln"]
    pairs = [(norm, "none") for norm in ("bn", "gn", "ln")]
    for some in (runs, study.load_long_runs()):
        over = paired_differences(some[some["skip"]], "norm", pairs, by="skip", tuned=["lr"])
        assert (over.low > 0).all() and (over.p_holm < 0.05).all()


def test_the_same_learning_rate_is_best_and_bn_bears_the_largest_best():
    rates = study.load_part("learning rates")
    rates = rates[rates.groupby(["norm", "skip"]).val_accuracy.transform("max") > UNTRAINED]
    best = rates.loc[rates.groupby(["norm", "skip"]).val_accuracy.idxmax()]
    assert best.lr.nunique() == 1 and len(best) == 7
    largest = rates[rates.lr == rates.lr.max()]
    assert largest.loc[largest.val_accuracy.idxmax()].norm == "bn"
    assert set(largest[largest["skip"]].norm) == {"bn", "none"}


def test_only_no_norm_can_be_told_from_the_others_in_the_end_and_is_nearer(runs):
    effects = study.norm_effects(study.load_long_runs())
    bare = effects.other == "none"
    assert (effects.p_holm[~bare] > 0.05).all() and (effects.low[bare] > 0).all()
    early = study.norm_effects(runs)
    assert effects.difference[bare].item() < early.low[early.other == "none"].item()


def test_skips_matter_without_a_norm_or_in_depth(runs):
    assert (study.skip_effects(runs).p_holm > 0.05).all()
    long_runs = study.load_long_runs()
    bare = long_runs[long_runs.norm == "none"].groupby("skip").test_accuracy
    assert bare.median()[False] < UNTRAINED < bare.min()[True]
    for some in (runs, long_runs):  # the same first weights learn without either
        bare = some[(some.norm == "none") & ~some["skip"]]
        assert bare.seed[bare.test_accuracy > UNTRAINED].tolist() == [2]
    assert (study.skip_effects(study.load_part("depth")).low > 0).all()


def test_a_layer_norm_costs_accuracy_and_one_instance_norm_learns_nothing():
    effects = study.layer_norm_effects(study.load_layer_norms()).set_index("one")
    assert effects.high["ln_c"] < 0
    groups = study.load_part("groups").query("groups == 16").groupby("skip").test_accuracy.max()
    assert groups[False] < UNTRAINED < groups[True]


def test_large_batches_cost_gn_and_ln_accuracy_and_not_bn():
    runs = study.load_part("batch sizes")
    leads = study.batch_effects(runs).set_index(["batch_size", "other"])
    many, most = sorted(set(runs.batch_size))[-2:]
    fit = runs[runs.batch_size.isin([many, most])]
    fit = paired_differences(
        fit, "batch_size", [(most, many)], "norm", "train_accuracy", tuned=["lr"]
    ).set_index("norm")
    assert fit.difference["bn"] > 0
    for norm in ("gn", "ln"):
        assert leads.high[many, norm] < leads.low[most, norm] and leads.p_holm[most, norm] < 0.05
        assert fit.high[norm] < 0


def test_no_learning_rate_brings_gn_or_ln_near_bn_in_large_batches():
    rates = study.load_part("batch learning rates")
    rule = study.load_part("batch sizes").groupby("batch_size").lr.first()
    best = rates.loc[rates.groupby(["batch_size", "norm"]).val_accuracy.idxmax()]
    best = best.set_index(["batch_size", "norm"])
    few, most = min(rates.batch_size), max(rates.batch_size)
    assert best.lr[most, "bn"] == rule[most] and set(best.lr[few]) == {rule[few] / 2}
    others = best.val_accuracy[most].drop("bn")
    assert others.max() < best.val_accuracy[most, "bn"] - 0.03


def test_bn_loses_by_batches_of_two_and_only_without_a_norm_skips_bring_the_gradient():
    inside = study.load_mechanisms()
    gains = skip_gains(inside).groupby("norm")
    assert gains.max().drop("none").max() < 10 < gains.min()["none"]
    batch = inside[(inside.measure == "batch") & (inside.norm == "bn") & inside["skip"]]
    batch = batch.pivot(index="seed", columns="at", values="value")
    assert interval(batch["2"] - batch["0"])[1] < 0
    assert (batch["512"] - batch["0"]).abs().max() < 0.01
