"""What else is set: which LayerNorm, the groups, the size of the batch, the learning rate."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from era8.figures import plot_lines
from era8.figures.style import SKIPS
from era8.recipe import PARAMETER_LIMIT
from study.effects import choose_runs
from study.runs import load_part, tabulate_rates


def numbers() -> dict[str, Any]:
    """Return what the pages say of settings, but for the effects."""
    costs = choose_runs("layer_norms").groupby("norm").n_parameters.first()
    batches = choose_runs("batch_lead").groupby(["norm", "batch_size"])
    groups = load_groups()
    means = groups.groupby(["skip", "groups"]).test_accuracy.mean()
    some = groups.query("skip and groups < 16")
    rates = tabulate_rates().drop("none")
    return {
        "times_parameters": costs["ln_chw"] / costs["ln"],
        "over_limit": costs["ln_chw"] / PARAMETER_LIMIT,
        "instance": {"with": means[True, 16], "without": means[False, 16]},
        "groups": {"low": means[True].drop(16).min(), "high": means[True].drop(16).max()},
        "trend": stats.linregress(np.log2(some.groups), some.test_accuracy),
        "batch_fit": batches.train_accuracy.mean(),
        "instance_first": load_part("instance_first").test_accuracy.mean(),
        "rate_loss": (rates.max(axis=1) - rates[0.05]).max(),
    }


def load_groups() -> pd.DataFrame:
    """Return the short runs of GN by their number of groups; LN has one."""
    runs = load_part("groups", "two_epochs").query("norm in ('gn', 'ln')")
    return runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))


def draw_batch_sizes() -> Figure:
    """Draw the accuracy of each norm by the images in a batch."""
    title = "Small batches cost BatchNorm most, large ones GroupNorm and LayerNorm"
    panels = {"Muon": choose_runs("batch_lead"), "SGD (128 and 512)": load_part("sgd_batches")}
    return plot_lines(panels, "batch_size", "images in a batch (8 epochs each)", title)


def draw_groups() -> Figure:
    """Draw the accuracy of GN by its groups, with skips and without."""
    runs = load_groups().assign(norm="gn")
    title = "Without skips a group for each channel leaves 10 %: chance"
    panels = {words: runs[runs["skip"] == skip] for skip, words in SKIPS.items()}
    return plot_lines(panels, "groups", "groups of channels (LN has one)", title)


def draw_rates() -> Figure:
    """Draw the held-out accuracy of each norm by the learning rate, with skips and without."""
    runs, title = load_part("long_rates"), "At 0.1 GN and LN lose accuracy, above all with skips"
    panels = {words: runs[runs["skip"] == skip] for skip, words in SKIPS.items()}
    return plot_lines(panels, "lr", "learning rate (6 epochs each)", title, "val_accuracy")
