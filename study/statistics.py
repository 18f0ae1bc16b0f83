"""Differences of differences, and what several tests at once can claim."""

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from era8.tables import contrast, differences

UNTRAINED = 0.15  # a test accuracy below this is that of a network that has learnt nothing


def combine(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    by: str = "",
    between: Sequence[tuple[Any, ...]] = (),
    over: str = "",
    measure: str = "test_accuracy",
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return averages of differences, or how much larger a difference is here than there.

    ``over`` is a column over whose values differences are averaged, such as the norm: what
    distinguishes these values is no part of the error then. ``between`` holds pairs of values of
    the column ``by``, such as ``(512, 128)``: the difference at the first one minus that at the
    second. Other arguments and columns are those of :func:`era8.tables.differences`.
    """
    strata = [some for _, some in runs.groupby(over)] if over else [runs]
    rows = []
    for (one, other), values in itertools.product(pairs, between or [()]):
        samples = list[pd.Series]()
        for some in strata:
            groups = [some[some[by] == value] for value in values] if values else [some]
            turns = [(one, other), (other, one)][: len(groups)]
            for there, sides in zip(groups, turns, strict=True):
                differences(there, setting, [sides], free=free)  # may raise
                samples += [there[there[setting] == side][measure] for side in sides]
        found, cells = contrast(*samples), len(samples) // len(strata)
        found |= {name: found[name] / len(strata) for name in ("difference", "low", "high")}
        sizes = [sum(map(len, samples[i::cells])) for i in (0, 1, 3, 2)[:cells]]  # no turn here
        found["runs"] = ", ".join(map(str, sizes))
        rows.append(({by: values} if values else {}) | {"one": one, "other": other} | found)
    return pd.DataFrame(rows)


def say_mean(accuracies: pd.Series) -> str:
    """Return mean and standard deviation in percent, or how many of the networks learn nothing."""
    if stuck := (accuracies < UNTRAINED).sum():
        return f"{stuck} of {len(accuracies)} learn nothing"
    return f"{100 * accuracies.mean():.2f} ± {100 * accuracies.std():.2f}"


def holm(p: Sequence[float] | pd.Series) -> Sequence[float]:
    """Return p-values corrected for their number (Holm 1979, Scand. J. Statist. 6, p. 65)."""
    return multipletests(p, method="holm")[1]
