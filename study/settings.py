"""What else is set: which LayerNorm, the groups, the size of the batch, the learning rate."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8.figures.style import SKIPS
from era8.recipe import PARAMETER_LIMIT
from study.figures import plot_lines
from study.runs import load_part
from study.statistics import differences


def numbers() -> dict[str, Any]:
    """Return what the pages say of settings."""
    kinds, groups, batches = load_layer_norms(), load_groups(), load_batches()
    short = load_part("two_epochs", "layer_norms_short").query("skip")
    bare = load_part("bare").query("skip and weight_decay == 0")
    costs = kinds.groupby("norm").n_parameters.first()
    means = groups.groupby(["skip", "groups"]).test_accuracy.mean()
    rates = tabulate_rates().drop("none")
    return {
        "layer_norms": layer_norm_effects(kinds).set_index("one"),
        "layer_norms_again": layer_norm_effects(load_layer_norms("again")).set_index("one"),
        "layer_norms_short": layer_norm_effects(short).set_index("one"),
        "pixel_over_bare": differences(
            pd.concat([kinds, bare]), "norm", [("ln_c", "none")], free=["lr", "weight_decay"]
        ).iloc[0],
        "times_parameters": costs["ln_chw"] / costs["ln"],
        "over_limit": costs["ln_chw"] / PARAMETER_LIMIT,
        "instance": {"with": means[True, 16], "without": means[False, 16]},
        "groups": {"low": means[True].drop(16).min(), "high": means[True].drop(16).max()},
        "batch_lead": batch_leads(batches).set_index(["batch_size", "other"]),
        "batch_fit": batches.groupby(["norm", "batch_size"]).train_accuracy.mean(),
        "step_lead": batch_leads(load_part("steps")).set_index("other"),
        "instance_first": load_part("instance_first").test_accuracy.mean(),
        "precision": machine_effects().set_index("norm"),
        "rate_loss": (rates.max(axis=1) - rates[0.05]).max(),
    }  # fmt: skip


def load_layer_norms(part: str = "long") -> pd.DataFrame:
    """Return the long runs with each kind of LayerNorm, with skips; ``part`` has the usual ones."""
    return load_part(part, "layer_norms").query("skip and norm.str.startswith('ln')")


def layer_norm_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the other kinds of LayerNorm add to GroupNorm with one group."""
    pairs, free = [("ln_c", "ln"), ("ln_chw", "ln")], ["lr", "torch", "precision"]
    return differences(runs, "norm", pairs, free=free)


def load_groups() -> pd.DataFrame:
    """Return the short runs of GN by their number of groups; LN has one."""
    runs = load_part("groups", "two_epochs").query("norm in ('gn', 'ln')")
    return runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))


def load_batches() -> pd.DataFrame:
    """Return the runs with each size of batch, with skips.

    The rate grows with the square root of the size; with 512 images each norm has the best of
    three on held-out images.
    """
    best = tabulate_rates("large_rates").idxmax(axis=1).droplevel("skip")
    runs = load_part("batch_sizes", "large")
    return runs[(runs.batch_size != 512) | (runs.lr == runs.norm.map(best))]


def batch_leads(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what BN has over GN and LN at each size of batch."""
    return differences(runs, "norm", [("bn", "gn"), ("bn", "ln")], by="batch_size", free=["lr"])


def machine_effects() -> pd.DataFrame:
    """Return what bfloat16 on a GPU adds to float32 on a CPU, after 19 epochs.

    By norm, and ``all`` for five seeds of each norm and choice of skip together.
    """
    runs, free = load_part("long", "again").query("norm != 'none'"), ["skip", "torch"]
    pair = [("bf16", "fp32")]
    every = differences(runs[runs.seed < 5], "precision", pair, free=[*free, "norm"])
    by_norm = differences(runs, "precision", pair, "norm", free=free)
    return pd.concat([by_norm, every.assign(norm="all")])


def draw_batch_sizes() -> Figure:
    """Draw the accuracy of each norm by the images in a batch."""
    title = "Large batches cost GroupNorm and LayerNorm accuracy, not BatchNorm"
    runs = load_batches()
    return plot_lines({"": runs}, "batch_size", "images in a batch, in training", title)


def draw_groups() -> Figure:
    """Draw the accuracy of GN by its groups, with skips."""
    runs = load_groups().query("skip").assign(norm="gn")
    title = "The number of groups matters little until each channel is alone"
    return plot_lines({"": runs}, "groups", "groups of channels (LN has one)", title)


def draw_rates() -> Figure:
    """Draw the held-out accuracy of each norm by the learning rate, with skips and without."""
    runs, title = load_part("long_rates"), "With a norm 0.05 is the best rate, or as good"
    panels = {SKIPS[skip]: runs[runs["skip"] == skip] for skip in (True, False)}
    return plot_lines(panels, "lr", "learning rate", title, "val_accuracy")


def tabulate_rates(part: str = "long_rates") -> pd.DataFrame:
    """Return mean held-out accuracy: a row per norm and skips, a column per learning rate."""
    runs = load_part(part).astype({"val_accuracy": float})
    return runs.pivot_table("val_accuracy", ["norm", "skip"], "lr")
