import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.statistics import SHARED, effect_for_power, paired_differences, seeds_for_power

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


def test_is_the_paired_t_test():
    runs = make_runs().sample(frac=1, random_state=0)  # the order of the rows has no meaning
    table = paired_differences(runs, "skip", [(True, False)], by="norm").set_index("norm")
    for norm in ("bn", "gn"):
        test = stats.ttest_rel(ACCURACIES[norm, True], ACCURACIES[norm, False])
        row, interval = table.loc[norm], test.confidence_interval(0.95)
        assert row.seeds == 3
        assert row.p == pytest.approx(test.pvalue)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert table.difference["bn"] == pytest.approx(0.01)
    smaller, larger = sorted(table.p)
    assert sorted(table.p_holm) == pytest.approx([min(1, 2 * smaller), max(larger, 2 * smaller)])


def test_several_pairs_are_corrected_together():
    table = paired_differences(make_runs(), "norm", [("bn", "gn"), ("gn", "bn")], by="skip")
    assert list(zip(table["skip"], table.one, strict=True)) == [
        (True, "bn"), (True, "gn"), (False, "bn"), (False, "gn")
    ]  # fmt: skip
    assert table.difference[0] == pytest.approx(0.09) == -table.difference[1]
    assert table.p_holm.min() == pytest.approx(4 * table.p.min())


def test_runs_without_a_partner_are_left_out():
    short = ACCURACIES | {("bn", False): [0.79, 0.80], ("gn", False): [0.73]}
    table = paired_differences(make_runs(short), "skip", [(True, False)], by="norm")
    assert list(table.norm) == ["bn"] and list(table.seeds) == [2]
    assert paired_differences(make_runs(short)[:1], "skip", [(True, False)], by="norm").empty


def test_runs_that_differ_in_more_are_refused():
    runs = make_runs()
    runs["lr"] = np.where(runs["skip"], 0.1, 0.2)
    with pytest.raises(ValueError, match="norm=bn must differ in skip and seed alone.* in lr"):
        paired_differences(runs, "skip", [(True, False)], by="norm")
    with pytest.raises(ValueError, match="there more than once"):
        paired_differences(pd.concat([make_runs()] * 2), "skip", [(True, False)], by="norm")


def test_each_value_of_several_columns_has_comparisons_of_its_own():
    runs = pd.concat([make_runs(epochs=1), make_runs(epochs=2)])
    table = paired_differences(runs, "skip", [(True, False)], by=["norm", "epochs"])
    assert table.columns[:3].tolist() == ["norm", "epochs", "one"]
    assert sorted(zip(table.norm, table.epochs, strict=True)) == [
        ("bn", 1), ("bn", 2), ("gn", 1), ("gn", 2)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="norm=bn, epochs=1 must differ in skip and seed alone"):
        paired_differences(pd.concat([runs] * 2), "skip", [(True, False)], by=["norm", "epochs"])


def test_each_side_may_have_one_value_of_a_tuned_setting():
    runs = make_runs()
    runs["lr"] = np.where(runs["skip"], 0.1, 0.2)
    table = paired_differences(runs, "skip", [(True, False)], by="norm", tuned=["lr"])
    plain = paired_differences(make_runs(), "skip", [(True, False)], by="norm")
    pd.testing.assert_frame_equal(table, plain)
    runs["lr"] = np.where(runs.seed > 0, 0.1, 0.2)
    with pytest.raises(ValueError, match="norm=bn must differ in skip and seed alone.* in lr"):
        paired_differences(runs, "skip", [(True, False)], by="norm", tuned=["lr"])


def test_seeds_for_power():
    assert seeds_for_power(1.0, 0.5) == 34  # G*Power's manual, paired t-test, d = 0.5


@pytest.mark.parametrize("seeds", [5, 13, 34])
def test_effect_for_power_is_found_by_as_many_seeds(seeds):
    least = effect_for_power(0.01, seeds)
    assert seeds_for_power(0.01, 1.001 * least) == seeds < seeds_for_power(0.01, 0.98 * least)
