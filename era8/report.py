"""What a folder of runs shows, as figures: the notebook report.ipynb has them all.

Of runs that are there twice one is taken.
"""

import pandas as pd
from matplotlib.figure import Figure

from era8.figures import plot_curves, plot_differences, plot_dots
from era8.figures.style import describe, norms_of
from era8.records import load_run
from era8.run import DEFAULTS
from era8.tables import MEASURES, differences, drop_copies, find_varied


def draw_dots(runs: pd.DataFrame) -> list[Figure]:
    """Draw the accuracy of every run of :func:`era8.load_runs`: on test images, on held-out ones.

    Each combination of settings has a row, with skips and without.
    """
    figures = []
    for measure, some in _measured(runs):
        by = ["norm", *(name for name in find_varied(some) if name not in ("norm", "skip"))]
        figures.append(plot_dots({"": some}, "", by, measure))
    return figures


def draw_curves(runs: pd.DataFrame) -> list[Figure]:
    """Draw loss and accuracy over the epochs, with and without skips, a figure for all else.

    Where all runs have the same choice of skips, a figure shows the norms instead.
    """
    runs = drop_copies(runs)
    varied, figures = find_varied(runs), []
    shown = "skip" if "skip" in varied else "norm"
    others = [name for name in varied if name != shown]
    for values, some in runs.groupby(others) if others else [((), runs)]:
        sides = [True, False] if shown == "skip" else norms_of(some)
        found = {side: some[some[shown] == side].folder for side in sides}
        curves = {describe({shown: side}): [*map(load_run, there)] for side, there in found.items()}
        title = describe(dict(zip(others, values, strict=True)))
        figures.append(plot_curves({name: some for name, some in curves.items() if some}, title))
    return figures


def draw_differences(runs: pd.DataFrame) -> list[Figure]:
    """Draw what each setting changes, where two of its values have two seeds or more."""
    figures = []
    for measure, some in _measured(runs):
        if parts := compare(some, measure):
            figures.append(plot_differences(parts, "Differences of means", measure, some.data))
    return figures


def compare(runs: pd.DataFrame, measure: str = "test_accuracy") -> dict[str, pd.DataFrame]:
    """Return what each setting that varies changes, by its name: see :func:`differences`.

    Its usual value, or the first that there is, is compared with each other one, at each
    combination of all other settings, but for those that always change with it.
    """
    runs = drop_copies(runs)
    varied, parts, done = find_varied(runs), {}, set[str]()
    for setting in varied:
        free = [n for n in varied if n != setting and runs.groupby(setting)[n].nunique().max() == 1]
        if any(runs.groupby(name)[setting].nunique().max() == 1 for name in done & {*free}):
            continue  # the two are one choice
        done.add(setting)
        by, tables = [n for n in varied if n not in (setting, *free)], []
        for _, some in runs.groupby(by) if by else [((), runs)]:
            sizes, usual = some.groupby(setting).size(), DEFAULTS.get(setting)
            values = sorted(sizes[sizes > 1].index, key=lambda value: (value != usual, value))
            pairs = [(values[0], other) for other in values[1:]]
            tables.append(differences(some, setting, pairs, by, measure, free))
        if len(table := pd.concat(tables)):
            said = [
                f"{describe({setting: row['one']})} − "
                + describe({setting: row["other"]} | {name: row[name] for name in by})
                for row in table.to_dict("records")
            ]
            title = f"{setting}, and with it {', '.join(free)}" if free else setting
            parts[title] = table.set_index(pd.Index(said))
    return parts


def _measured(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs whose test accuracy was measured, and those with held-out images."""
    runs = drop_copies(runs)
    found = [(measure, runs[runs[measure].notna()]) for measure in MEASURES]
    return [(measure, some) for measure, some in found if len(some)]
