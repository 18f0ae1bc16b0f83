"""The runs of the study: the parts of study.yaml, each as one table."""

from functools import cache
from pathlib import Path

import pandas as pd

from era8.sweep.grid import expand, read_parts
from era8.tables import load_epochs, load_runs

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "results" / "runs"


def load_part(*parts: str, folder: Path = RUNS) -> pd.DataFrame:
    """Return the runs of some parts of the study, or of all, one row per run.

    Raises:
        ValueError: if a run is missing or its record cannot be read.
    """
    grids = read_parts(ROOT / "study" / "study.yaml")
    names = [cell.name for part in parts or grids for cell in expand(grids[part])]
    table = _load_all(folder).reindex(list(dict.fromkeys(names)))
    if missing := table.index[table.folder.isna()].tolist():
        raise ValueError(
            f"{folder} must hold all runs of {', '.join(parts) or 'the study'}; {len(missing)} are "
            f"missing or cannot be read, such as {missing[0]} "
            "(python -m era8 sweep study/study.yaml --out results/runs trains them)"
        )
    return table.reset_index(drop=True).infer_objects()


def load_history(*parts: str) -> pd.DataFrame:
    """Return the epochs of some parts' runs: a row for each, with the settings of its run."""
    runs, epochs = load_part(*parts), _load_epochs(RUNS)
    return epochs.merge(runs.drop(columns=epochs.columns.drop("folder"), errors="ignore"))


def tabulate_rates(*parts: str) -> pd.DataFrame:
    """Return mean held-out accuracy: a row per norm and skips, a column per learning rate."""

    def average(tried: pd.DataFrame) -> pd.Series:  # so that no rate gains by a lucky seed alone
        luck = tried.dropna(axis=1).mean(axis=1)
        return tried.sub(luck - luck.mean(), axis=0).mean()

    runs = load_part(*parts or ["long_rates"])
    kind = ["norm", "skip"]
    return runs.pivot_table("val_accuracy", [*kind, "seed"], "lr").groupby(kind).apply(average)


_load_epochs = cache(load_epochs)


@cache
def _load_all(folder: Path) -> pd.DataFrame:
    """Return all runs of a folder by the name of theirs."""
    runs = load_runs(folder)
    return runs.set_index(runs.folder.map(lambda path: Path(path).name))
