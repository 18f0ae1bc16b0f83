"""What the optimizer changes: the accuracy that each norm reaches, and the rates that suit it."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8.figures import plot_dots, plot_lines
from era8.figures.many import say_range
from era8.figures.style import NAMES, SKIPS, norms_of
from era8.recipe import ACCURACY_GOAL
from study.effects import OPTIMIZERS
from study.runs import load_history, load_part, tabulate_rates
from study.statistics import say_mean

PARTS = {"muon": ("again", "play"), "sgd": ("sgd",), "adamw": ("adamw",)}  # long, in float32
RATES = {"muon": ["muon_rates"], "sgd": ["sgd_rates", "sgd_no_skip_rates"],
         "adamw": ["adamw_rates", "adamw_no_skip_rates"]}  # fmt: skip
CLOSE = 0.01  # of the best accuracy: a learning rate that is as good in practice


def numbers() -> dict[str, Any]:
    """Return what the pages say of optimizers, but for the effects."""
    both = load_part("adamw", "adamw_other", "sgd", "sgd_other")
    at = both.groupby(["optimizer", "norm", "lr"]).test_accuracy.mean()
    return {
        "table": tabulate().reset_index(),
        "passed": count_epochs().reset_index(),
        "others": (_group("sgd").mean() + _group("adamw").mean()) / 2,
        "ranges": tabulate_ranges().reset_index(),
        "muon_none": _group("muon").size()["none"],
        "none_at": at["adamw", "none"],
        "ln_at": at["sgd", "ln"],
        "runs": say_range(pd.concat(_group(name).size() for name in PARTS)),
    }


def load_long(optimizer: str) -> pd.DataFrame:
    """Return the long runs of an optimizer, with skips, on CPUs in float32."""
    return load_part(*PARTS[optimizer]).query("skip")


def tabulate() -> pd.DataFrame:
    """Return mean and standard deviation of the test accuracy in percent, by norm and optimizer."""
    return _name_rows(pd.DataFrame({OPTIMIZERS[n]: _group(n).agg(say_mean) for n in PARTS}))


def count_epochs() -> pd.DataFrame:
    """Return by norm and optimizer after which of 19 epochs the mean test accuracy is at the goal.

    The long runs with Muon on CPUs did not watch the test set; those on a GPU did.
    """
    passed = {}
    for name, title in OPTIMIZERS.items():
        epochs = load_history("long" if name == "muon" else name).query("skip")
        means = epochs.groupby(["norm", "epoch"]).test_accuracy.mean()
        passed[title] = means[means >= ACCURACY_GOAL].reset_index().groupby("norm").epoch.min()
    return _name_rows(pd.DataFrame(passed))


def tabulate_ranges() -> pd.DataFrame:
    """Return by norm, skips and optimizer the best learning rate, and the range of those close."""

    def say(rates: pd.Series) -> str:
        return f"{rates.idxmax():g} ({say_range(rates.index[rates >= rates.max() - CLOSE])})"

    columns = {OPTIMIZERS[n]: tabulate_rates(*RATES[n]).apply(say, axis=1) for n in RATES}
    table = pd.DataFrame(columns).fillna("").sort_index(ascending=False).reset_index("skip")
    return _name_rows(table.assign(skip=table["skip"].map(SKIPS)).rename(columns={"skip": " "}))


def draw_optimizers() -> Figure:
    """Draw the test accuracy of every long run with skips, by optimizer."""
    panels = {OPTIMIZERS[name]: load_long(name) for name in PARTS}
    return plot_dots(panels, "With SGD and AdamW BatchNorm is further ahead than with Muon")


def draw_rates() -> Figure:
    """Draw the held-out accuracy of each norm with each optimizer by the learning rate."""
    panels = {OPTIMIZERS[name]: load_part(*parts).query("skip") for name, parts in RATES.items()}
    title = "BatchNorm is ahead at every learning rate, with each optimizer (6 epochs)"
    return plot_lines(panels, "lr", "learning rate", title, "val_accuracy")


def _name_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of norms in their order, by their names in words."""
    return table.loc[norms_of(table.reset_index())].rename(index=NAMES).rename_axis("")


def _group(optimizer: str) -> Any:
    return load_long(optimizer).groupby("norm").test_accuracy
