"""Differences of differences, and what several tests at once can claim."""

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from era8.tables import contrast, differences

UNTRAINED = 0.15  # a test accuracy below this is that of a network that has learnt nothing


def interactions(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    by: str,
    between: Sequence[tuple[Any, Any]],
    measure: str = "test_accuracy",
    free: Sequence[str] = (),
    over: str = "",
) -> pd.DataFrame:
    """Return how much larger a difference is at one value of ``by`` than at another.

    Arguments and columns are those of :func:`era8.tables.differences`; ``between`` holds pairs of
    values of ``by``, which is a column with both values, such as ``(512, 128)``; ``over`` is as for
    :func:`averages`.
    """
    rows = []
    for (one, other), values in itertools.product(pairs, between):
        sides = [(values[0], one, other), (values[1], other, one)]
        found = _average(runs, setting, sides, by, measure, free, over)
        rows.append({by: values, "one": one, "other": other} | found)
    return pd.DataFrame(rows)


def averages(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    over: str,
    measure: str = "test_accuracy",
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return differences that are averaged over the values of a column, such as over the norms.

    What distinguishes these values is no part of the error then. Arguments and columns are those
    of :func:`era8.tables.differences`.
    """
    found = [
        {"one": one, "other": other}
        | _average(runs.assign(all=True), setting, [(True, one, other)], "all", measure, free, over)
        for one, other in pairs
    ]
    return pd.DataFrame(found)


def _average(
    runs: pd.DataFrame,
    setting: str,
    sides: Sequence[tuple[Any, Any, Any]],
    by: str,
    measure: str,
    free: Sequence[str],
    over: str,
) -> dict[str, Any]:
    """Return the sum of differences at values of ``by``, averaged over the values of a column."""
    strata = [some for _, some in runs.groupby(over)] if over else [runs]
    samples = list[pd.Series]()
    for some, (value, one, other) in itertools.product(strata, sides):
        there = some[some[by] == value]
        differences(there, setting, [(one, other)], free=free)  # may raise
        samples += [there[there[setting] == side][measure].astype(float) for side in (one, other)]
    found, cells = contrast(*samples), 2 * len(sides)
    sizes = [sum(map(len, samples[i::cells])) for i in range(cells)]
    parts = {name: found[name] / len(strata) for name in ("difference", "low", "high")}
    return found | parts | {"runs": ", ".join(map(str, sizes))}


def holm(p: Sequence[float] | pd.Series) -> Sequence[float]:
    """Return p-values corrected for their number (Holm 1979, Scand. J. Statist. 6, p. 65)."""
    return multipletests(p, method="holm")[1]
