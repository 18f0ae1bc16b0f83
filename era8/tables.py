"""The records of many runs as tables: one row per run, or one per epoch."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, PARAMETER_LIMIT
from era8.records import Record, atomic_write, claim, load_run

# What is no single value
MANY = {"confusion", "misclassified", "history", "versions", "fingerprints", "sha256"}


def load_runs(folder: str | os.PathLike) -> pd.DataFrame:
    """Gather the records below a folder into one table, one row per run.

    Columns are what is a single value in :class:`era8.records.Record`, the library versions, and
    ``folder``, from which :func:`era8.records.load_run` reads the rest. A damaged record is named
    in a warning and left out.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    names = [field.name for field in fields(Record) if field.name not in MANY]
    rows = [
        {name: getattr(record, name) for name in names} | record.versions | {"folder": str(path)}
        for path, record in _load(folder)
    ]
    return pd.DataFrame(rows, columns=None if rows else [*names, "folder"])


def load_epochs(folder: str | os.PathLike) -> pd.DataFrame:
    """Gather the histories below a folder into one table, one row per run and epoch.

    Columns are those of :attr:`era8.records.Record.history`, and ``folder``, as in
    :func:`load_runs`, with which the table can be joined. Warns and raises as that does.
    """
    rows = [row | {"folder": str(path)} for path, run in _load(folder) for row in run.history]
    return pd.DataFrame(rows, columns=None if rows else ["folder"])


def write_tables(folder: str | os.PathLike) -> None:
    """Write both tables beside the runs, as ``runs.csv`` and ``epochs.csv``."""
    with claim(Path(folder), timeout=-1):  # or a sweep that read earlier might write later
        for name, load in (("runs.csv", load_runs), ("epochs.csv", load_epochs)):
            with atomic_write(Path(folder) / name) as path:
                load(folder).to_csv(path, index=False)


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
            "test accuracy": runs.test_accuracy.astype(float).apply(percent, decimals=2),
            "seconds": runs.train_seconds.round().astype(int),
            "conditions": [_judge(run) for run in runs.itertuples()],
        }
    )


def _judge(run: Any) -> str:
    """Return whether the assignment's conditions hold, or the first that does not."""
    if run.data != "cifar10":
        return "not on CIFAR-10"
    if not run.test_accuracy >= ACCURACY_GOAL:  # NaN where images were held out
        return f"below {percent(ACCURACY_GOAL, 0)}"
    if run.n_parameters >= PARAMETER_LIMIT:
        return "too many parameters"
    return "too many epochs" if run.epochs >= EPOCH_LIMIT else "hold"


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction in percent."""
    return f"{100 * fraction:.{decimals}f} %"


def _load(folder: str | os.PathLike) -> Iterator[tuple[Path, Record]]:
    """Yield each folder below the given one that holds a record, and the record."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"the folder of runs {str(folder)!r} does not exist")
    for path in sorted(Path(folder).rglob("record.json")):
        try:
            yield path.parent, load_run(path.parent)
        except (ValueError, OSError) as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
