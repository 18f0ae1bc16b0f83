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
) -> pd.DataFrame:
    """Return how much larger a difference is at one value of ``by`` than at another.

    Arguments and columns are those of :func:`era8.tables.differences`; ``between`` holds pairs of
    values of ``by``, which is a column with both values, such as ``(512, 128)``.
    """
    rows = []
    for (one, other), values in itertools.product(pairs, between):
        for value in values:
            differences(runs[runs[by] == value], setting, [(one, other)], free=free)  # may raise
        cells = zip((one, other, other, one), (0, 0, 1, 1), strict=True)
        samples = [runs[(runs[setting] == side) & (runs[by] == values[i])] for side, i in cells]
        found = contrast(*(sample[measure].astype(float) for sample in samples))
        rows.append({by: values, "one": one, "other": other} | found)
    return pd.DataFrame(rows)


def holm(p: Sequence[float] | pd.Series) -> Sequence[float]:
    """Return p-values corrected for their number (Holm 1979, Scand. J. Statist. 6, p. 65)."""
    return multipletests(p, method="holm")[1]
