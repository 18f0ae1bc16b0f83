"""What else is set: which LayerNorm, the groups, the size of the batch, the learning rate."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8.figures.style import NAMES, SKIPS
from era8.recipe import PARAMETER_LIMIT
from study.figures import plot_lines
from study.runs import load_part
from study.statistics import UNTRAINED, differences


def numbers() -> dict[str, Any]:
    """Return what the pages say of settings."""
    kinds, groups, batches = load_layer_norms(), load_groups(), load_part("batch_sizes")
    costs = kinds.groupby("norm").n_parameters.first()
    means = groups.groupby(["skip", "groups"]).test_accuracy.mean()
    fit = batches.groupby(["norm", "batch_size"]).train_accuracy.mean()
    rates = load_part("rates")
    learns = rates[rates.groupby(["norm", "skip"]).val_accuracy.transform("max") >= UNTRAINED]
    best = learns.loc[learns.groupby(["norm", "skip"]).val_accuracy.idxmax()]
    return {
        "layer_norms": layer_norm_effects(kinds).set_index("one"),
        "times_parameters": costs["ln_chw"] / costs["ln"],
        "over_limit": costs["ln_chw"] / PARAMETER_LIMIT,
        "instance": {"with": means[True, 16], "without": means[False, 16]},
        "groups": {"low": means[True].drop(16).min(), "high": means[True].drop(16).max()},
        "batch_lead": batch_leads(batches).set_index(["batch_size", "other"]),
        "batch_fit": fit,
        "step_lead": batch_leads(load_part("steps")).set_index("other"),
        "instance_first": load_part("instance_first").test_accuracy.mean(),
        "precision": precision_effect().iloc[0],
        "long_best": best_long_rates(),
        "best_rate": ", ".join(f"{rate:g}" for rate in sorted(set(best.lr))),
    }


def load_layer_norms() -> pd.DataFrame:
    """Return the short runs with each kind of LayerNorm, with skips."""
    runs = load_part("two_epochs", "layer_norms")
    return runs[runs.norm.str.startswith("ln") & runs["skip"]]


def layer_norm_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the other kinds of LayerNorm add to GroupNorm with one group."""
    return differences(runs, "norm", [("ln_c", "ln"), ("ln_chw", "ln")])


def load_groups() -> pd.DataFrame:
    """Return the short runs of GN by their number of groups; LN has one."""
    runs = load_part("groups")
    return runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))


def batch_leads(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what BN has over GN and LN at each size of batch."""
    return differences(runs, "norm", [("bn", "gn"), ("bn", "ln")], by="batch_size")


def precision_effect() -> pd.DataFrame:
    """Return what bfloat16 adds to the accuracy of BN with skips after 19 epochs."""
    runs = load_part("long", "precision")
    runs = runs[(runs.norm == "bn") & runs["skip"]]
    return differences(runs, "precision", [("bf16", "fp32")])


def draw_batch_sizes() -> Figure:
    """Draw the accuracy of each norm by the images in a batch."""
    title = "Large batches cost GroupNorm and LayerNorm accuracy, not BatchNorm"
    runs = load_part("batch_sizes")
    return plot_lines({"": runs}, "batch_size", "images in a batch, in training", title)


def draw_groups() -> Figure:
    """Draw the accuracy of GN by its groups, with skips."""
    runs = load_groups()
    runs = runs[runs["skip"]].assign(norm="gn")
    title = "The number of groups matters little until each channel is alone"
    return plot_lines({"": runs}, "groups", "groups of channels (LN has one)", title)


def draw_rates() -> Figure:
    """Draw the held-out accuracy of each norm by the learning rate, with skips and without."""
    runs = load_part("rates")
    panels = {SKIPS[skip]: runs[runs["skip"] == skip] for skip in (True, False)}
    title = "One learning rate is the best for all that learn"
    return plot_lines(panels, "lr", "learning rate", title, "val_accuracy")


def best_long_rates() -> dict[str, str]:
    """Return by norm the rate that is the best after six epochs."""
    runs = load_part("long_rates").astype({"val_accuracy": float})
    best = runs.loc[runs.groupby("norm").val_accuracy.idxmax()]
    return dict(zip(best.norm, best.lr.map("{:g}".format), strict=True))


def tabulate_rates(part: str) -> pd.DataFrame:
    """Return held-out accuracy in percent by norm and learning rate, and by batch if several."""
    runs = load_part(part)
    index = ["batch_size", "lr"] if runs.batch_size.nunique() > 1 else ["lr"]
    table = runs.pivot(index=index, columns="norm", values="val_accuracy").astype(float)
    return (100 * table).rename(columns=NAMES).round(1)
