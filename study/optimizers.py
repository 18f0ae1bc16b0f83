"""What the optimizer changes: the accuracy that each norm reaches, and the rates that suit it."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8.figures import plot_dots, plot_lines
from era8.figures.style import NAMES, norms_of
from era8.recipe import ACCURACY_GOAL
from study.effects import OPTIMIZERS
from study.runs import load_history, load_part, tabulate_rates

PARTS = {"muon": ("again", "play"), "sgd": ("sgd",)}  # long runs in float32
CLOSE = 0.01  # of the best accuracy: a learning rate that is as good in practice


def numbers() -> dict[str, Any]:
    """Return what the pages say of optimizers, but for the effects."""
    return {
        "table": tabulate().rename_axis("").reset_index(),
        "passed": count_epochs(),
        "means": pd.DataFrame({name: _group(name).mean() for name in PARTS}),
        "ranges": find_ranges(),
        "adamw": tabulate_rates("adamw_rates").droplevel("skip").max(axis=1),
    }


def load_long(optimizer: str) -> pd.DataFrame:
    """Return the long runs of an optimizer, with skips, on CPUs in float32."""
    return load_part(*PARTS[optimizer]).query("skip")


def tabulate() -> pd.DataFrame:
    """Return mean and standard deviation of the test accuracy in percent, by norm and optimizer."""
    cells = {
        OPTIMIZERS[name]: (100 * _group(name).agg(["mean", "std"])).apply(
            lambda row: "{:.2f} ± {:.2f}".format(*row), axis=1
        )
        for name in PARTS
    }
    table = pd.DataFrame(cells)
    return table.loc[norms_of(table.reset_index())].rename(index=NAMES)


def count_epochs() -> pd.DataFrame:
    """Return after which of 19 epochs the mean test accuracy is first at the goal.

    The long runs with Muon on CPUs did not watch the test set; those on a GPU did.
    """
    passed = {}
    for name, part in {"muon": "long", "sgd": "sgd"}.items():
        epochs = load_history(part).query("skip").groupby(["norm", "epoch"]).test_accuracy.mean()
        passed[name] = epochs[epochs >= ACCURACY_GOAL].reset_index().groupby("norm").epoch.min()
    return pd.DataFrame(passed)


def find_ranges() -> pd.DataFrame:
    """Return by norm the best learning rate with SGD, and the range of those as good in practice.

    Columns: ``best``, ``accuracy`` (on held-out images), ``low`` and ``high``.
    """
    rates = tabulate_rates("sgd_rates").droplevel("skip")
    close = rates.ge(rates.max(axis=1) - CLOSE, axis=0)
    found = {"best": rates.idxmax(axis=1), "accuracy": rates.max(axis=1)}
    found |= {"low": close.idxmax(axis=1), "high": close.iloc[:, ::-1].idxmax(axis=1)}
    return pd.DataFrame(found)


def draw_optimizers() -> Figure:
    """Draw the test accuracy of every long run with skips, by optimizer."""
    panels = {OPTIMIZERS[name]: load_long(name) for name in PARTS}
    return plot_dots(panels, "With SGD the norms are further apart than with Muon")


def draw_rates() -> Figure:
    """Draw the held-out accuracy of each norm with SGD by the learning rate."""
    runs, title = load_part("sgd_rates"), "With SGD BatchNorm is ahead at every learning rate"
    return plot_lines({"": runs}, "lr", "learning rate (SGD, 6 epochs)", title, "val_accuracy")


def _group(optimizer: str) -> Any:
    return load_long(optimizer).groupby("norm").test_accuracy
