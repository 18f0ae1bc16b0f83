import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from study.statistics import (
    SHARED,
    differences,
    equivalence,
    holm,
)

ACCURACIES = {("bn", True): [0.80, 0.82, 0.81], ("bn", False): [0.79, 0.80, 0.81],
              ("gn", True): [0.70, 0.71, 0.75], ("gn", False): [0.73, 0.72, 0.71]}  # fmt: skip


def make_runs(accuracies=ACCURACIES, **settings):
    rows = [
        {name: 1 for name in SHARED}
        | {"norm": norm, "skip": skip, "seed": seed, "test_accuracy": accuracy}
        | settings
        for (norm, skip), values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_is_welchs_t_test():
    runs = make_runs().sample(frac=1, random_state=0)  # the order of the rows has no meaning
    table = differences(runs, "skip", [(True, False)], by="norm").set_index("norm")
    for norm in ("bn", "gn"):
        one, other = ACCURACIES[norm, True], ACCURACIES[norm, False]
        test = stats.ttest_ind(one, other, equal_var=False)
        row, interval = table.loc[norm], test.confidence_interval(0.95)
        assert (row.n_one, row.n_other) == (3, 3)
        assert row.p == pytest.approx(test.pvalue)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert table.difference["bn"] == pytest.approx(0.01)
    smaller, larger = sorted(table.p)
    assert sorted(table.p_holm) == pytest.approx([min(1, 2 * smaller), max(larger, 2 * smaller)])


def test_the_interval_by_hand():
    """The means 2 and 5, both with variance 1 and three runs: t of 4 degrees is 2.776."""
    runs = make_runs({("bn", True): [1.0, 2.0, 3.0], ("bn", False): [4.0, 5.0, 6.0]})
    (row,) = differences(runs, "skip", [(True, False)]).itertuples()
    assert row.difference == pytest.approx(-3)
    assert row.high - row.difference == pytest.approx(2.776 * (2 / 3) ** 0.5, rel=1e-3)


def test_several_pairs_are_corrected_together():
    table = differences(make_runs(), "norm", [("bn", "gn"), ("gn", "bn")], by="skip")
    assert list(zip(table["skip"], table.one, strict=True)) == [
        (True, "bn"), (True, "gn"), (False, "bn"), (False, "gn")
    ]  # fmt: skip
    assert table.difference[0] == pytest.approx(0.09) == -table.difference[1]
    assert table.p_holm.min() == pytest.approx(4 * table.p.min())


def test_no_run_is_left_out():
    short = ACCURACIES | {("bn", False): [0.79, 0.80]}
    runs = make_runs(short).query("norm == 'bn'")
    (row,) = differences(runs, "skip", [(True, False)], by="norm").itertuples()
    assert (row.n_one, row.n_other) == (3, 2)
    with pytest.raises(ValueError, match="norm=bn must .*; they are fewer than two of a kind"):
        differences(runs[:4], "skip", [(True, False)], by="norm")


def test_runs_that_differ_in_more_are_refused():
    runs = make_runs()
    runs["lr"] = np.where(runs["skip"], 0.1, 0.2)
    with pytest.raises(ValueError, match="norm=bn must differ in skip and seed alone.* in lr"):
        differences(runs, "skip", [(True, False)], by="norm")
    with pytest.raises(ValueError, match="there more than once"):
        differences(pd.concat([make_runs()] * 2), "skip", [(True, False)], by="norm")


def test_a_free_setting_may_differ():
    runs = make_runs()
    runs["lr"] = np.where(runs["skip"], 0.1, 0.2)
    table = differences(runs, "skip", [(True, False)], by="norm", free=["lr"])
    plain = differences(make_runs(), "skip", [(True, False)], by="norm")
    pd.testing.assert_frame_equal(table, plain)
    (row,) = differences(make_runs(), "norm", [("bn", "gn")], free=["skip"]).itertuples()
    assert (row.n_one, row.n_other) == (6, 6)


def test_each_value_of_several_columns_has_comparisons_of_its_own():
    runs = pd.concat([make_runs(epochs=1), make_runs(epochs=2)])
    table = differences(runs, "skip", [(True, False)], by=["norm", "epochs"])
    assert table.columns[:3].tolist() == ["norm", "epochs", "one"]
    assert sorted(zip(table.norm, table.epochs, strict=True)) == [
        ("bn", 1), ("bn", 2), ("gn", 1), ("gn", 2)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="norm=bn, epochs=1 must differ in skip and seed alone"):
        differences(pd.concat([runs] * 2), "skip", [(True, False)], by=["norm", "epochs"])


def test_equivalence_is_that_of_two_one_sided_tests():
    one, other = (pd.Series(ACCURACIES["bn", skip]) for skip in (True, False))
    expected = ttost_ind(one, other, -0.05, 0.05, usevar="unequal")[0]
    assert equivalence(one, other, 0.05) == pytest.approx(expected)
    assert equivalence(one, other, 0.001) > 0.5 > equivalence(one, other, 0.5)


def test_holm():
    assert list(holm([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
