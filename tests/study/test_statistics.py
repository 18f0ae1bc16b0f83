import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from era8.tables import SHARED, differences
from study.statistics import combine, holm

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
        assert row.runs == "3, 3"
        assert row.p == pytest.approx(test.pvalue)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert table.difference["bn"] == pytest.approx(0.01)


def test_the_interval_by_hand():
    """The means 2 and 5, both with variance 1 and three runs: t of 4 degrees is 2.776."""
    runs = make_runs({("bn", True): [1.0, 2.0, 3.0], ("bn", False): [4.0, 5.0, 6.0]})
    (row,) = differences(runs, "skip", [(True, False)]).itertuples()
    assert row.difference == pytest.approx(-3)
    assert row.high - row.difference == pytest.approx(2.776 * (2 / 3) ** 0.5, rel=1e-3)


def test_several_pairs_each_have_a_row():
    table = differences(make_runs(), "norm", [("bn", "gn"), ("gn", "bn")], by="skip")
    assert list(zip(table["skip"], table.one, strict=True)) == [
        (True, "bn"), (True, "gn"), (False, "bn"), (False, "gn")
    ]  # fmt: skip
    assert table.difference[0] == pytest.approx(0.09) == -table.difference[1]


def test_an_average_over_norms_has_nothing_of_their_levels_in_its_error():
    (row,) = combine(make_runs(), "skip", [(True, False)], over="norm").itertuples()
    table = differences(make_runs(), "skip", [(True, False)], by="norm")
    assert row.difference == pytest.approx(table.difference.mean()) and row.runs == "6, 6"
    samples = [np.array(values) for values in ACCURACIES.values()]
    error = sum(sample.var(ddof=1) / 3 for sample in samples) ** 0.5 / 2
    assert row.p == pytest.approx(2 * stats.t.sf(row.difference / error, df_of(samples)))
    assert (row.high - row.low) / 2 == pytest.approx(stats.t.isf(0.025, df_of(samples)) * error)
    raised = {kind: np.add(values, kind[0] == "gn") for kind, values in ACCURACIES.items()}
    (other,) = combine(make_runs(raised), "skip", [(True, False)], over="norm").itertuples()
    assert (other.low, other.high) == pytest.approx((row.low, row.high))


def df_of(samples):
    """Welch's and Satterthwaite's degrees of freedom of samples of three."""
    parts = [sample.var(ddof=1) / 3 for sample in samples]
    return sum(parts) ** 2 / sum(part**2 / 2 for part in parts)


def test_no_run_is_left_out():
    short = ACCURACIES | {("bn", False): [0.79, 0.80]}
    runs = make_runs(short).query("norm == 'bn'")
    (row,) = differences(runs, "skip", [(True, False)], by="norm").itertuples()
    assert row.runs == "3, 2"
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
    assert row.runs == "6, 6"


def test_each_value_of_several_columns_has_comparisons_of_its_own():
    runs = pd.concat([make_runs(epochs=1), make_runs(epochs=2)])
    table = differences(runs, "skip", [(True, False)], by=["norm", "epochs"])
    assert table.columns[:3].tolist() == ["norm", "epochs", "one"]
    assert sorted(zip(table.norm, table.epochs, strict=True)) == [
        ("bn", 1), ("bn", 2), ("gn", 1), ("gn", 2)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="norm=bn, epochs=1 must differ in skip and seed alone"):
        differences(pd.concat([runs] * 2), "skip", [(True, False)], by=["norm", "epochs"])


def test_an_interaction_by_hand():
    """Differences of 3 and 1 between means with variance 1 and three runs each: 8 degrees."""
    cells = {("bn", True): [4.0, 5.0, 6.0], ("bn", False): [1.0, 2.0, 3.0],
             ("gn", True): [3.0, 4.0, 5.0], ("gn", False): [2.0, 3.0, 4.0]}  # fmt: skip
    runs = make_runs(cells)
    (row,) = combine(runs, "skip", [(True, False)], "norm", [("bn", "gn")]).itertuples()
    assert row.difference == pytest.approx(2) and row.runs == "3, 3, 3, 3"
    assert row.high - row.difference == pytest.approx(2.306 * (4 / 3) ** 0.5, rel=1e-3)
    assert row.p == pytest.approx(2 * stats.t.sf(2 / (4 / 3) ** 0.5, 8))
    fit = ols("test_accuracy ~ C(norm) * C(skip)", runs).fit()  # the same where n is the same
    assert row.p == pytest.approx(fit.pvalues.iloc[-1])
    with pytest.raises(ValueError, match="must differ in skip and seed alone"):
        combine(pd.concat([runs] * 2), "skip", [(True, False)], "norm", [("bn", "gn")])


def test_an_interaction_averaged_over_norms_is_the_mean_of_each_norms_own():
    shifted = {kind: np.add(values, 0.02 * kind[1]) for kind, values in ACCURACIES.items()}
    runs = pd.concat([make_runs(epochs=1), make_runs(shifted, epochs=2)])
    runs = runs[(runs.epochs == 1) | (runs.seed > 0)]  # three runs of a kind, and two
    how = {"setting": "skip", "pairs": [(True, False)], "by": "epochs", "between": [(2, 1)]}
    (row,) = combine(runs, over="norm", **how).itertuples()
    each = [combine(some, **how).iloc[0] for _, some in runs.groupby("norm")]
    assert row.difference == pytest.approx(sum(one.difference for one in each) / 2)
    assert row.runs == "4, 4, 6, 6"
    few = runs[(runs.epochs == 2) | (runs.seed != 1) | ~runs["skip"]]
    assert combine(few, over="norm", **how).runs.item() == "4, 4, 4, 6"
    with pytest.raises(ValueError, match="zip"):  # a third value would go unheard
        combine(runs, over="norm", **how | {"between": [(2, 1, 1)]})


def test_holm():
    assert list(holm([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
