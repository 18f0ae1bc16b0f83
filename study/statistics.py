"""Paired comparisons of runs: mean differences, and how sure one may be of them."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

CONFIDENCE = 0.95
SHARED = (  # what the runs of a comparison must have in common, but for what is compared
    "model", "norm", "skip", "groups", "epochs", "batch_size", "optimizer", "lr", "momentum",
    "weight_decay", "warmup", "crop", "flip", "train_images", "data", "checksum", "precision",
)  # fmt: skip


def paired_differences(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    by: str | Sequence[str],
    measure: str = "test_accuracy",
    tuned: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the mean differences between runs that share their seed and all else but a setting.

    Runs whose partner is missing are left out. The interval is that of the paired t-test.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
        setting: the column that is compared, such as ``skip``.
        pairs: values of it, such as ``[(True, False)]``: the first one minus the second.
        by: the column or columns of which each value has comparisons of its own, such as ``norm``.
        measure: what is compared.
        tuned: settings of which each side may have its own best value, such as ``lr``.

    Returns:
        One row per value of ``by`` and pair that share at least two seeds: the values, ``one`` and
        ``other``, ``seeds``, ``difference`` (in the unit of the measure), its 95 % interval ``low``
        to ``high``, ``std`` of the differences, ``p`` of the paired t-test, and ``p_holm``,
        corrected for the number of rows (Holm 1979, Scandinavian Journal of Statistics 6, p. 65).

    Raises:
        ValueError: if runs are there twice, or differ in more than the setting.
    """
    columns = [by] if isinstance(by, str) else list(by)
    rows = []
    groups = runs.groupby(columns, sort=False)
    for (values, group), (one, other) in itertools.product(groups, pairs):
        sides = [group[group[setting] == side].set_index("seed") for side in (one, other)]
        seeds = sides[0].index.intersection(sides[1].index)
        both = pd.concat([side.loc[seeds] for side in sides])
        tables = {name: sides if name in tuned else [both] for name in SHARED if name != setting}
        mixed = [name for name, ts in tables.items() if any(t[name].nunique() > 1 for t in ts)]
        if mixed or len(both) != 2 * len(seeds):
            problem = f"differ in {', '.join(mixed)}" if mixed else "are there more than once"
            where = ", ".join(f"{c}={v}" for c, v in zip(columns, values, strict=True))
            raise ValueError(
                f"runs with {where} must differ in {setting} and seed alone; they {problem}"
            )
        if len(seeds) < 2:
            continue
        differences = (sides[0][measure] - sides[1][measure]).loc[seeds].astype(float)
        mean, std, (low, high) = differences.mean(), differences.std(), interval(differences)
        p = stats.ttest_1samp(differences, 0.0).pvalue
        rows.append((*values, one, other, len(seeds), mean, low, high, std, p))
    columns += ["one", "other", "seeds", "difference", "low", "high", "std", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=multipletests(table.p, method="holm")[1] if rows else [])


def interval(values: pd.Series) -> tuple[float, float]:
    """Return the 95 % interval of the mean of at least two values, by the t distribution."""
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return low, high


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934, Biometrika 26, 404)."""
    low, high = stats.binomtest(count, total).proportion_ci(CONFIDENCE)
    return low, high


def seeds_for_power(std: float, difference: float, power: float = 0.8) -> int:
    """Return how many pairs show a true mean difference with this probability, at p < 0.05."""
    found = TTestPower().solve_power(difference / std, alpha=1 - CONFIDENCE, power=power)
    return math.ceil(float(found))


def effect_for_power(std: float, seeds: int, power: float = 0.8) -> float:
    """Return the true mean difference that so many pairs show with this probability, at p < 0.05.

    Args:
        std: of the differences, estimated from the seeds; the result is in the same unit.
        seeds: pairs that are compared.
        power: the probability.
    """
    return std * float(TTestPower().solve_power(nobs=seeds, alpha=1 - CONFIDENCE, power=power))
