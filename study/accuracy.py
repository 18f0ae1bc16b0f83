"""The most accurate network under the limits, those that were tried, and the fast preset."""

from typing import Any

import pandas as pd
from torchinfo import summary

from benchmarks import GOALS
from era8.figures.style import FULL_NAMES, NAMES
from era8.models import MODELS, SeparableNet
from era8.recipe import Recipe
from study import candidates
from study.runs import ROOT, load_history, load_part
from study.statistics import say_mean

PEERS = ROOT / "results" / "peers.csv"  # what they say of themselves: one run each, last epoch


def numbers() -> dict[str, Any]:
    """Return what the pages say of the most accurate network, and of the fast preset."""
    runs, fast = load_part("accurate"), load_part("fast")
    limit = load_part("limit").sort_values(["model", "epochs"])
    short = load_part("short").groupby("norm").test_accuracy
    faster = load_history("faster")
    seconds = faster.groupby("epoch").seconds.mean()
    return {
        "table": tabulate(runs, load_part("accurate_before"), load_part("long").query("skip")),
        "best": runs[runs.norm == "bn"].test_accuracy.mean(),
        "model": name_network(runs.model.iloc[0]),
        "seeds": int(runs.groupby("norm").seed.nunique().min()),
        "limit": limit.assign(model=limit.model.map(name_network)),
        "candidates": tabulate_candidates(),
        "choice": tabulate_choice(),
        "usual": load_part("dilated").set_index("norm").test_accuracy,
        "tried": load_part("candidates").epochs.iloc[0],
        "fast": fast.groupby("norm").agg(
            seeds=("seed", "size"), mean=("test_accuracy", "mean"), std=("test_accuracy", "std"),
            seconds=("train_seconds", "mean"),
        ),
        "fast_device": f"{fast.device.iloc[0]}, {fast.precision.iloc[0]}",
        "faster_gn": faster[(faster.norm == "gn") & (faster.epoch == 2)].test_accuracy.mean(),
        "small_time": seconds[1] / seconds[2],
        "short": short.agg(["mean", "size"]).assign(goal=pd.Series(GOALS)),
    }  # fmt: skip


def tabulate(*networks: pd.DataFrame) -> pd.DataFrame:
    """Return what networks reached, a table with one row per run for each, and what others did."""
    rows, norms = [], list(FULL_NAMES)
    for runs in networks:
        first, reached = runs.iloc[0], runs.groupby("norm").test_accuracy.agg(say_mean)
        size = f"{first.n_parameters:,}", f"{first.epochs}"
        rows.append((f"**{name_network(first.model)}**", *reached[norms], *size))
    columns = ["", *map(NAMES.get, norms), "parameters", "epochs"]
    others = pd.read_csv(PEERS, names=columns, skiprows=1, dtype=str, keep_default_na=False)
    return pd.concat([pd.DataFrame(rows, columns=columns), others])


def tabulate_candidates() -> pd.DataFrame:
    """Return the networks that were tried, the most accurate one first."""
    rows = []
    for run in load_part("candidates").sort_values("val_accuracy", ascending=False).itertuples():
        kind = MODELS.get(run.model) or vars(candidates)[name_network(run.model)]
        counted = summary(kind(), (1, 3, 32, 32), mode="eval", device="cpu", verbose=0)
        usual = candidates.Candidate.block if issubclass(kind, SeparableNet) else ""
        rows.append(
            {
                "": kind.__name__,
                "held-out accuracy (%)": f"{100 * run.val_accuracy:.1f}",
                "a block adds": getattr(kind, "block", usual),
                "channels": "-".join(map(str, getattr(kind, "widths", ()))),
                "blocks": "-".join(map(str, getattr(kind, "depths", ()))),
                "parameters": f"{run.n_parameters:,}",
                "million multiply-adds": f"{counted.total_mult_adds / 1e6:.1f}",
            }
        )
    return pd.DataFrame(rows)


def tabulate_choice() -> pd.DataFrame:
    """Return the held-out accuracy of the network that ships and of the one before it."""
    runs = load_part("choice")
    recipe = ", batches of " + runs.batch_size.map(str) + ", shifts of " + runs.max_shift.map(str)
    recipe = recipe.where(runs.batch_size != Recipe.batch_size, "")
    columns = runs.norm.map(NAMES) + runs.epochs.map(", {} epochs".format)
    networks = runs.model.map(name_network) + recipe
    table = pd.crosstab(networks, columns, 100 * runs.val_accuracy, aggfunc="mean")
    table["mean of the three"] = table.mean(axis=1)
    table = table.sort_values("mean of the three", ascending=False)
    return table.map("{:.1f}".format).rename_axis("").reset_index()


def name_network(model: str) -> str:
    """Return the class of a network by the name that a run has for it."""
    return MODELS[model].__name__ if model in MODELS else model.rpartition(":")[2]
