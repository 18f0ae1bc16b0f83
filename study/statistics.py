"""What is compared between runs, how sure it is, and what several tests at once can claim."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from era8.run import SETTINGS

CONFIDENCE = 0.95
UNTRAINED = 0.15  # a test accuracy below this is that of a network that has learnt nothing
# What runs must have in common to be compared, but for what is compared
SHARED = (*(name for name in SETTINGS if name not in ("seed", "limits")), "checksum", "torch")


def differences(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    by: str | Sequence[str] = (),
    measure: str = "test_accuracy",
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the differences of means between runs that share all but a setting and their seeds.

    Seeds are not paired: runs that share one are as different as others (their correlation over
    the comparisons of this study is about zero), and so no run has to be left out.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
        setting: the column that is compared, such as ``skip``.
        pairs: values of it, such as ``[(True, False)]``: the first one minus the second.
        by: the column or columns of which each value has comparisons of its own, such as ``norm``.
        measure: what is compared.
        free: other settings in which the two sides may differ, such as a learning rate that is
            the best one for each.

    Returns:
        One row per value of ``by`` and pair: the values, ``one`` and ``other``, and what
        :func:`contrast` returns, in the unit of the measure.

    Raises:
        ValueError: if a run is there twice, the sides differ in more, or one has fewer than two.
    """
    columns = [by] if isinstance(by, str) else list(by)
    groups = runs.groupby(columns, sort=False) if columns else [((), runs)]
    rows = []
    for (values, group), (one, other) in itertools.product(groups, pairs):
        where = dict(zip(columns, values, strict=True))
        sides = [group[group[setting] == side] for side in (one, other)]
        _check_sides(sides, setting, free, where)
        found = contrast(*(side[measure].astype(float) for side in sides))
        rows.append(where | {"one": one, "other": other} | found)
    return pd.DataFrame(rows)


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

    Arguments and columns are those of :func:`differences`; ``between`` holds pairs of values of
    ``by``, which is a column with both values, such as ``(512, 128)``.
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


def contrast(*samples: pd.Series) -> dict[str, Any]:
    """Return means added and subtracted in turns: of two samples, their difference.

    Returns:
        ``difference``; its 95 % interval ``low`` to ``high`` and ``p``, without the assumption of
        equal variances (Welch 1947, Biometrika 34, p. 28); ``runs``, the sizes of the samples.
    """
    difference = sum(sample.mean() * (-1) ** i for i, sample in enumerate(samples))
    variances = np.array([sample.var() / len(sample) for sample in samples])
    freedom = variances.sum() ** 2 / sum(variances**2 / [len(sample) - 1 for sample in samples])
    error = variances.sum() ** 0.5
    half = stats.t.isf((1 - CONFIDENCE) / 2, freedom) * error
    found = {"difference": difference, "low": difference - half, "high": difference + half}
    p = 2 * stats.t.sf(abs(difference) / error, freedom)
    return found | {"p": p, "runs": ", ".join(str(len(sample)) for sample in samples)}


def holm(p: Sequence[float] | pd.Series) -> Sequence[float]:
    """Return p-values corrected for their number (Holm 1979, Scand. J. Statist. 6, p. 65)."""
    return multipletests(p, method="holm")[1]


def _check_sides(
    sides: Sequence[pd.DataFrame], setting: str, free: Sequence[str], where: dict[str, Any]
) -> None:
    """Raise a ValueError if two sides cannot be compared."""
    both = pd.concat(sides)
    present = [name for name in SHARED if name in both and name != setting]
    mixed = [name for name in present if name not in free and both[name].nunique() > 1]
    if mixed:
        problem = f"differ in {', '.join(mixed)}"
    elif any(side.duplicated([*free, "seed"]).any() for side in sides):
        problem = "are there more than once"
    elif min(map(len, sides)) < 2:
        problem = "are fewer than two of a kind"
    else:
        return
    place = ", ".join(f"{name}={value}" for name, value in where.items()) or "these settings"
    raise ValueError(f"runs with {place} must differ in {setting} and seed alone; they {problem}")
