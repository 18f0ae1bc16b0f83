"""What norms and skips change: after 19 epochs, after two, and in depth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8 import figures
from era8.data import load_cifar10
from era8.figures.style import COLORS, FULL_NAMES, NAMES, norms_of
from era8.records import Record, load_run
from study.figures import plot_dots
from study.runs import load_part
from study.statistics import UNTRAINED, differences, effect_for_power, equivalence, holm

NORMS = tuple(FULL_NAMES)
MARGIN = 0.01  # a difference of accuracies below this is as good as none


def numbers() -> dict[str, Any]:
    """Return what the pages say of norms and skips."""
    long, short, deep = load_part("long"), load_part("two_epochs"), load_part("depth")
    bare = long[long.norm == "none"]
    stuck = bare[bare.test_accuracy < UNTRAINED].groupby("skip").size()
    skips, equal = skip_effects(long), equivalences(long)
    seeds = long.groupby(["norm", "skip"]).seed.nunique()
    spread = long[long.norm != "none"].groupby(["norm", "skip"]).test_accuracy.std().mean()
    return {
        "results": tabulate(long),
        "seeds": " to ".join(str(count) for count in sorted({seeds.min(), seeds.max()})),
        "rates": {norm: f"{long[long.norm == norm].lr.iloc[0]:g}" for norm in ("bn", "none")},
        "over_none": norm_effects(long[long["skip"]], NORMS[:1], ["none"]).set_index("other"),
        "lead": norm_effects(long).set_index("other"),
        "early_lead": norm_effects(short).set_index("other"),
        "skips": skips.set_index("norm"),
        "equal": {"p": max(holm(equal.p)), "margin": MARGIN},
        "least": effect_for_power(spread, int(long.groupby(["norm", "skip"]).size().min())),
        "stuck": {"of": int((~bare["skip"]).sum()), "without": int(stuck.get(False, 0)),
                  "with": int(stuck.get(True, 0))},
        "short_skips": skip_effects(short).set_index("norm"),
        "depth": skip_effects(deep).set_index("norm"),
        "decay": differences(
            load_part("decay"), "weight_decay", [(0.0001, 0)], measure="val_accuracy", free=["norm"]
        ).iloc[0],
        "start": {kind: count for kind, count in count_learning().itertuples(index=False)},
    }  # fmt: skip


def tabulate(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation of the test accuracy in percent, a row per norm."""
    rows = []
    for norm in norms_of(runs):
        row = {"": f"{FULL_NAMES[norm]} ({NAMES[norm]})" if norm in FULL_NAMES else NAMES[norm]}
        for skip, column in ((True, "with skips"), (False, "without")):
            some = runs[(runs.norm == norm) & (runs["skip"] == skip)].test_accuracy
            stuck = (some < UNTRAINED).sum()
            text = f"{100 * some.mean():.2f} ± {100 * some.std():.2f}"
            row[column] = f"{stuck} of {len(some)} learn nothing" if stuck else text
        rows.append(row)
    return pd.DataFrame(rows)


def norm_effects(
    runs: pd.DataFrame, ones: tuple[str, ...] = ("bn",), others: Any = ("gn", "ln"), **how: Any
) -> pd.DataFrame:
    """Return what some norms have over others, with and without skips in equal parts.

    A network without a norm has a learning rate of its own.
    """
    pairs = [(one, other) for one in ones for other in others]
    return differences(runs, "norm", pairs, free=["skip", "lr"], **how)


def skip_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what skips add with each norm.

    Networks without a norm are left out: they either learn or do not, so a mean says nothing.
    """
    return differences(runs[runs.norm != "none"], "skip", [(True, False)], by="norm")


def equivalences(runs: pd.DataFrame) -> pd.DataFrame:
    """Return by norm p of the test that skips change the accuracy by less than ``MARGIN``."""
    rows = []
    for norm in NORMS:
        some = runs[runs.norm == norm]
        one, other = (some[some["skip"] == skip].test_accuracy for skip in (True, False))
        rows.append((norm, equivalence(one, other, MARGIN)))
    return pd.DataFrame(rows, columns=["norm", "p"])


def count_learning() -> pd.DataFrame:
    """Return how many networks without a norm and without skips learn, by start and decay.

    Columns: ``kind``, such as ``torch, decay``, and ``learn``, such as ``1 of 5``.
    """
    runs = load_part("start")
    runs = runs[~runs["skip"]]
    kinds = runs.init + runs.weight_decay.map(lambda decay: ", decay" if decay else "")
    learns = (runs.val_accuracy.astype(float) >= UNTRAINED).groupby(kinds)
    table = learns.sum().astype(str) + " of " + learns.size().astype(str)
    return table.rename_axis("kind").rename("learn").reset_index()


def draw_skips() -> Figure:
    """Draw every run of two epochs, and beside them those of a network twice as deep."""
    panels = {
        "10 convolutions": load_part("two_epochs"),
        "20 convolutions": load_part("depth"),
    }
    return plot_dots(panels, "With a norm, only the deeper network needs its skips (2 epochs)")


def draw_long() -> Figure:
    """Draw every run of 19 epochs."""
    return plot_dots({"": load_part("long")}, "After 19 epochs BN is half a point ahead")


def list_examples() -> dict[str, Callable[[], Figure]]:
    """Return what draws each norm's curves, mistakes and confusion, from its notebook's runs."""
    pictures: dict[str, Callable[[], Figure]] = {}
    for norm in NORMS:
        pictures |= {
            f"{norm}_curves": partial(draw_curves, norm),
            f"{norm}_misclassified": partial(draw_mistakes, norm),
            f"{norm}_confusion": partial(draw_confusion, norm),
        }
    return pictures


def load_example(norm: str, skip: bool = True) -> Record:
    """Return the record of a run that is shown in a norm's notebook."""
    runs = load_part("notebooks")
    return load_run(runs[(runs.norm == norm) & (runs["skip"] == skip)].folder.item())


def draw_curves(norm: str) -> Figure:
    """Draw loss and accuracy over the epochs, with and without skips."""
    records = {"with skips": load_example(norm), "without": load_example(norm, False)}
    figure = figures.plot_curves(records)
    title = f"{FULL_NAMES[norm]}: one run with skips, and one without"
    figure.suptitle(title, color=COLORS["ink"])
    return figure


def draw_mistakes(norm: str) -> Figure:
    """Draw the ten most costly mistakes on the test images."""
    mistakes = pd.DataFrame(load_example(norm).misclassified)
    return figures.plot_misclassified(load_cifar10(device="cpu").test, mistakes)


def draw_confusion(norm: str) -> Figure:
    """Draw which class is taken for which."""
    return figures.plot_confusion(load_example(norm))
