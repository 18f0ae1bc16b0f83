"""What is compared between runs, how sure it is, and what several tests at once can claim."""

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

CONFIDENCE = 0.95
UNTRAINED = 0.15  # a test accuracy below this is that of a network that learnt nothing
SHARED = (  # what runs must have in common to be compared, but for what is compared
    "model", "norm", "skip", "groups", "epochs", "batch_size", "optimizer", "lr", "momentum",
    "weight_decay", "warmup", "max_shift", "flip", "init", "train_images", "data", "checksum",
    "precision", "low_res_epochs", "torch",
)  # fmt: skip


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
        One row per value of ``by`` and pair: the values, ``one`` and ``other``, ``difference``
        (in the unit of the measure), its 95 % interval ``low`` to ``high`` and ``p`` of Welch's
        t-test (1947, Biometrika 34, p. 28), the numbers of runs ``n_one`` and ``n_other``, and
        ``p_holm``, corrected for the number of rows.

    Raises:
        ValueError: if a run is there twice, the sides differ in more, or one has fewer than two.
    """
    columns = [by] if isinstance(by, str) else list(by)
    groups = runs.groupby(columns, sort=False) if columns else [((), runs)]
    rows = []
    for (values, group), (one, other) in itertools.product(groups, pairs):
        sides = [group[group[setting] == side] for side in (one, other)]
        _check_sides(sides, setting, free, dict(zip(columns, values, strict=True)))
        row = dict(zip(columns, values, strict=True)) | {"one": one, "other": other}
        rows.append(row | welch(*(side[measure].astype(float) for side in sides)))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table.p))


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`differences` returns as it is shown: in points of accuracy, rounded."""
    points = table[["difference", "low", "high"]].mul(100).round(2)
    return table.assign(**points, **table[["p", "p_holm"]].round(4))


def welch(one: pd.Series, other: pd.Series) -> dict[str, float]:
    """Return the difference of two means, its 95 % interval, and p of Welch's t-test."""
    test = stats.ttest_ind(one, other, equal_var=False)
    low, high = test.confidence_interval(CONFIDENCE)
    found = {"difference": one.mean() - other.mean(), "low": low, "high": high, "p": test.pvalue}
    return found | {"n_one": len(one), "n_other": len(other)}


def equivalence(one: pd.Series, other: pd.Series, margin: float) -> float:
    """Return p of two one-sided tests that two means differ by less than a margin, either way.

    Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15, p. 657.
    """
    above = stats.ttest_ind(one + margin, other, equal_var=False, alternative="greater")
    below = stats.ttest_ind(one - margin, other, equal_var=False, alternative="less")
    return max(above.pvalue, below.pvalue)


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
