"""The records of many runs as tables: one row per run, or one per epoch."""

import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from era8.disk import atomic_write, claim
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, PARAMETER_LIMIT
from era8.records import Record, load_run
from era8.run import SETTINGS

# What is no single value
MANY = {"confusion", "misclassified", "history", "versions", "fingerprints", "sha256"}
# What runs must have in common to be compared, but for what is compared
SHARED = (*(name for name in SETTINGS if name not in ("seed", "limits")), "checksum", "torch")
MEASURES = {"test_accuracy": "test", "val_accuracy": "held-out"}
CONFIDENCE = 0.95


def load_runs(folder: str | os.PathLike) -> pd.DataFrame:
    """Gather the records below a folder into one table, one row per run.

    Columns are what is a single value in :class:`era8.records.Record`, the library versions, and
    ``folder``, from which :func:`era8.records.load_run` reads the rest. A damaged record is named
    in a warning and left out.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    names = [field.name for field in fields(Record) if field.name not in MANY]
    perhaps = {name: float for name, kind in Record.__annotations__.items() if kind == float | None}
    rows = [
        {name: getattr(record, name) for name in names} | record.versions | {"folder": str(path)}
        for path, record in _load(folder)
    ]
    table = pd.DataFrame(rows, columns=None if rows else [*names, "folder"])
    return table.astype(perhaps)  # where no run has one, too


def load_epochs(folder: str | os.PathLike) -> pd.DataFrame:
    """Gather the histories below a folder into one table, one row per run and epoch.

    Columns are those of :attr:`era8.records.Record.history`, and ``folder``. Warns and raises as
    :func:`load_runs`.
    """
    rows = [row | {"folder": str(path)} for path, run in _load(folder) for row in run.history]
    return pd.DataFrame(rows, columns=None if rows else ["folder"])


def write_tables(folder: str | os.PathLike) -> pd.DataFrame:
    """Write both tables beside the runs, as ``runs.csv`` and ``epochs.csv``; return the first."""
    with claim(Path(folder), timeout=-1):  # or a sweep that read earlier might write later
        tables = {"runs.csv": load_runs(folder), "epochs.csv": load_epochs(folder)}
        for name, table in tables.items():
            with atomic_write(Path(folder) / name) as path:
                table.to_csv(path, index=False)
    return tables["runs.csv"]


def reaches_goal(runs: pd.DataFrame) -> pd.Series:
    """Return, for each run of :func:`load_runs`, whether all three conditions hold."""
    return summarise(runs).conditions == "hold"


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table that a batch of runs ends with, one row per run."""
    return pd.DataFrame(
        {
            "norm": runs.norm,
            "skips": runs["skip"].map({True: "yes", False: "no"}),
            "data": runs.data,
            "parameters": runs.n_parameters.map("{:,}".format),
            "epochs": runs.epochs,
            "train accuracy": runs.train_accuracy.apply(percent, decimals=2),
            **{
                f"{words} accuracy": runs[measure].apply(percent, decimals=2)
                for measure, words in MEASURES.items()
                if runs[measure].notna().any()
            },
            "seconds": runs.train_seconds.round().astype(int),
            "conditions": [_judge(run) for run in runs.itertuples()],
        }
    )


def find_varied(runs: pd.DataFrame) -> list[str]:
    """Return what must be alike in runs that are averaged, and is not; norm and skip come first."""
    varied = [name for name in SHARED if name in runs and runs[name].nunique() > 1]
    return sorted(varied, key=lambda name: {"norm": 0, "skip": 1}.get(name, 2))


def drop_copies(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each run once, as those of a folder that also holds an earlier sweep of the same."""
    return runs.drop_duplicates([name for name in (*SHARED, "seed") if name in runs])


def average(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a grid: one row for each combination of the settings that vary.

    Its accuracies are in percent: the mean over the seeds ± their standard deviation.
    """
    runs = drop_copies(runs)
    columns = list(dict.fromkeys(["norm", *find_varied(runs)]))
    groups = runs.groupby(columns, dropna=False)
    table = pd.DataFrame(
        {
            f"{words} accuracy (%)": groups[measure].agg(_average)
            for measure, words in MEASURES.items()
            if runs[measure].notna().any()
        }
    )
    return table.assign(seeds=groups.seed.nunique()).reset_index()


def _average(fractions: pd.Series) -> str:
    mean, std = 100 * fractions.mean(), 100 * fractions.std()
    return "" if mean != mean else f"{mean:.2f}" + (f" ± {std:.2f}" if std == std else "")


def differences(
    runs: pd.DataFrame,
    setting: str,
    pairs: Sequence[tuple[Any, Any]],
    by: str | Sequence[str] = (),
    measure: str = "test_accuracy",
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the differences of means between runs that share all but a setting and their seeds.

    Seeds are not paired: runs that share one are as different as others.

    Args:
        runs: one row per run, as :func:`load_runs` returns them.
        setting: the column that is compared, such as ``skip``.
        pairs: values of it, such as ``[(True, False)]``: the first one minus the second.
        by: the column or columns of which each value has comparisons of its own, such as ``norm``.
        measure: what is compared.
        free: other settings in which the two sides may differ, such as the best ``lr`` for each.

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
        found = contrast(*(side[measure] for side in sides))
        rows.append(where | {"one": one, "other": other} | found)
    return pd.DataFrame(rows)


def contrast(*samples: pd.Series) -> dict[str, Any]:
    """Return means added and subtracted in turns: of two samples, their difference.

    Returns:
        ``difference``; its 95 % interval ``low`` to ``high`` and ``p``, without the assumption of
        equal variances (Welch 1947, Biometrika 34, p. 28); ``runs``, the sizes of the samples.
    """
    from scipy import stats

    difference = sum(sample.mean() * (-1) ** i for i, sample in enumerate(samples))
    variances = np.array([sample.var() / len(sample) for sample in samples])
    error = variances.sum() ** 0.5
    with np.errstate(invalid="ignore", divide="ignore"):  # equal values have no interval
        freedom = variances.sum() ** 2 / sum(variances**2 / [len(sample) - 1 for sample in samples])
        p = 2 * stats.t.sf(abs(difference) / error, freedom)
    half = stats.t.isf((1 - CONFIDENCE) / 2, freedom) * error
    found = {"difference": difference, "low": difference - half, "high": difference + half}
    return found | {"p": p, "runs": ", ".join(str(len(sample)) for sample in samples)}


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


def _judge(run: Any) -> str:
    """Return whether the assignment's conditions hold, or the first that does not."""
    if run.data != "cifar10":
        return "not on CIFAR-10"
    if run.test_accuracy != run.test_accuracy:  # NaN: images were held out
        return "not tested"
    if run.test_accuracy < ACCURACY_GOAL:
        return f"below {percent(ACCURACY_GOAL, 0)}"
    if run.n_parameters >= PARAMETER_LIMIT:
        return "too many parameters"
    return "too many epochs" if run.epochs >= EPOCH_LIMIT else "hold"


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction in percent, nothing for NaN."""
    return f"{100 * fraction:.{decimals}f} %" if fraction == fraction else ""


def _load(folder: str | os.PathLike) -> Iterator[tuple[Path, Record]]:
    """Yield each folder below the given one that holds a record, and the record."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"the folder of runs {str(folder)!r} does not exist")
    found = (path for depth in ("*", "**") for path in Path(folder).glob(f"{depth}/record.json"))
    for path in sorted({path.resolve(): path for path in found}.values()):  # ** follows no links
        try:
            yield path.parent, load_run(path.parent)
        except (ValueError, OSError) as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
