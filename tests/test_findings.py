"""The README's findings: their numbers, and that the records bear out what they say."""

import pandas as pd
import pytest
from test_study import make_mechanisms, make_runs

from era8 import findings, study
from era8.study_effects import UNTRAINED


def test_numbers_are_those_of_the_runs():
    runs = make_runs(n_parameters=20_000, epochs=2)
    stuck = (runs.norm == "none") & ~runs["skip"] & (runs.seed < 2)
    runs["test_accuracy"] = runs.test_accuracy.mask(stuck, 0.1)
    kinds = runs[runs["skip"] & (runs.norm != "none")]
    kinds = kinds.replace({"norm": {"bn": "ln", "gn": "ln_c", "ln": "ln_chw"}})
    kinds["n_parameters"] = kinds.n_parameters.where(kinds.norm != "ln_chw", 100_000)
    sizes = [make_runs(batch_size=n, epochs=8, train_accuracy=n / 100) for n in (8, 64)]
    text = findings.describe(
        long_runs=runs.assign(epochs=19, lr=runs.lr.mask(runs.norm == "none", 0.0125)),
        runs=runs,
        deep_runs=runs,
        kinds=kinds,
        groups=make_runs(groups=16).query("norm == 'gn'").assign(test_accuracy=0.25),
        batches=pd.concat(sizes).query("skip"),
        inside=make_mechanisms(),
    )
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == [f"{i}." for i in range(1, len(lines) + 1)]
    assert len(lines) <= 10
    for part in (
        "after 2 epochs, BN is +30.3 (",
        "no norm has a learning rate of its own (0.0125, the others 1), only +30.3 (",
        "by +10.1 (+9.9 to +10.3) points of GN and +20.2 (",
        "after 19 epochs, BN − GN is +10.1 (+9.9 to +10.3), BN − LN +20.2 (",
        "after 19 epochs +2.1 (+1.9 to +2.3) with BN, +2.1 (",
        " with LN, after 2 +2.1 (+1.9 to +2.3), +2.1 (",
        "multiply it by 3.0 with BN and by 3 without a norm",
        "in 19 epochs 2 of 3 networks without them learn nothing, and 0 of 3 with them",
        "20 convolutions, after 2 epochs, by +2.1 (+1.9 to +2.3) with BN, +2.1 (",
        "-10.1 (-10.3 to -9.9) points against LayerNorm over (C, H, W). ",
        "has 5 times the parameters for -20.2 (",
        "reaches 25.0 % without skips and 25.0 % with them",
        "after 8 epochs with 8 images in a batch, BN − GN is +10.1 (+9.9 to +10.3) and BN − LN ",
        "BN − LN +20.2 (+19.7 to +20.7) points, with 64 +10.1 (+9.9 to +10.3) and +20.2 (",
        "in training it reaches 64.0 %, GN 64.0 % and LN 64.0 %",
        "falls from 80 % to 40 %",
    ):
        assert part in text


@pytest.fixture(scope="module")
def runs():
    return study.load_part("norms and skips")


def test_any_norm_beats_none_and_bn_is_ahead_early(runs):
    norms = study.norm_effects(runs).set_index(["one", "other"])
    for pair in (("bn", "none"), ("bn", "gn"), ("bn", "ln")):
        assert norms.low[pair] > 0
    for some in (runs, study.load_long_runs()):
        means = some[some["skip"]].groupby("norm").test_accuracy.mean()
        assert means.idxmin() == "none"


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


def test_bn_minds_small_batches_and_gn_and_ln_large_ones():
    runs = study.load_part("batch sizes")
    effects = study.batch_effects(runs).set_index(["other", "batch_size"])
    small, large = min(runs.batch_size), max(runs.batch_size)
    means = runs.groupby(["norm", "batch_size"])[["test_accuracy", "train_accuracy"]].mean()
    for norm in ("gn", "ln"):
        assert effects.difference[norm, small] < 0 < effects.low[norm, large]
        worst = means.loc[norm].idxmin()
        assert (worst == large).all()
    assert effects.high["gn", small] < 0
    assert means.train_accuracy["bn"].idxmax() == large
