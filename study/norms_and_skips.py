"""What norms and skips change: after 19 epochs, after two, and in depth."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8 import figures
from era8.data import load_cifar10
from era8.figures.style import (
    COLORS,
    FULL_NAMES,
    NAMES,
    finish,
    new_figure,
    norms_of,
    place_legend,
    style,
)
from era8.records import Record, load_run
from study.figures import plot_dots
from study.runs import load_history, load_part
from study.statistics import UNTRAINED, differences, equivalence, holm

NORMS = tuple(FULL_NAMES)
MARGIN = 0.005  # a difference of accuracies below this is as good as none


def numbers() -> dict[str, Any]:
    """Return what the pages say of norms and skips."""
    long, short, again = load_part("long"), load_part("two_epochs"), load_part("again")
    bare = load_bare()
    return {
        "results": tabulate(pd.concat([long[long.norm != "none"], bare])),
        "seeds_bare": bare.groupby("skip").size().min(),
        "seeds": long.groupby(["norm", "skip"]).size().min(),
        "rates": {"bn": f"{long.lr.max():g}", "none": f"{bare.lr.max():g}"},
        "over_none": norm_effects(long, NORMS, ["none"]).set_index("one"),
        "over_bare": bare_effects().set_index("one"),
        "over_bare_again": bare_effects("again").set_index("one"),
        "lead": norm_effects(long).set_index("other"),
        "lead_by": norm_effects(long, by="skip").set_index(["skip", "other"]),
        "lead_again": norm_effects(again, free=["torch"]).set_index("other"),
        "short_skips": skip_effects(short).set_index("norm"),
        "early_lead": norm_effects(short).set_index("other"),
        "skips": skip_effects(long).set_index("norm"),
        "skips_all": skip_effect(long),
        "skips_again": skip_effect(again),
        "skips_bare": differences(long[long.norm == "none"], "skip", [(True, False)]).iloc[0],
        "equal": equivalences(long),
        "first": first_effects().set_index("norm"),
        "best": best_epochs().assign(gain=lambda table: table.best - table["last"]),
        "depth": skip_effects(load_part("depth")).set_index("norm"),
        "depth_other": load_part("depth_other").test_accuracy.mean(),
        "depth_short": skip_effects(load_part("depth_short")).set_index("norm"),
        "deeper": depth_effects().set_index(["norm", "skip"]),
        "decay": differences(
            load_part("decay"), "weight_decay", [(0.0001, 0)], measure="val_accuracy", free=["norm"]
        ).iloc[0],
        "start": count_learning(),
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
    runs: pd.DataFrame,
    ones: tuple[str, ...] = ("bn",),
    others: Sequence[str] = ("gn", "ln"),
    free: Sequence[str] = (),
    **how: Any,
) -> pd.DataFrame:
    """Return what some norms have over others, with and without skips in equal parts.

    A network without a norm has a learning rate and first weights of its own.
    """
    pairs = [(one, other) for one in ones for other in others]
    return differences(runs, "norm", pairs, free=["skip", "lr", "init", *free], **how)


def bare_effects(part: str = "long") -> pd.DataFrame:
    """Return what each norm has over none, which has the start that did best on held-out images."""
    both = pd.concat([load_part(part).query("norm != 'none'"), load_bare()])
    return norm_effects(both, NORMS, ["none"], free=["weight_decay", "torch", "precision"])


def load_bare() -> pd.DataFrame:
    """Return the long runs without a norm, with torch's first weights and without weight decay."""
    return load_part("bare").query("weight_decay == 0")


def tabulate_bare() -> pd.DataFrame:
    """Return mean and spread without a norm, in percent, by first weights and weight decay."""
    runs = load_part("long", "bare").query("norm == 'none'")
    kinds = runs.init.map({"he": "He et al.", "torch": "torch"})
    kinds += runs.weight_decay.map(lambda decay: ", decay" if decay else "")
    return pd.concat(tabulate(some).assign(**{"": kind}) for kind, some in runs.groupby(kinds))


def skip_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what skips add with each norm, at the rate that each choice of skip has."""
    some = runs[runs.norm != "none"]
    return differences(some, "skip", [(True, False)], by="norm", free=["lr"])


def skip_effect(runs: pd.DataFrame) -> pd.Series:
    """Return what skips add with a norm, all norms in equal parts."""
    some, free = runs[runs.norm != "none"], ["norm", "torch"]
    return differences(some, "skip", [(True, False)], free=free).iloc[0]


def equivalences(runs: pd.DataFrame) -> pd.Series:
    """Return p of the test that skips change the accuracy by less than ``MARGIN``.

    By norm, with Holm's correction over them, and ``all`` for all of them together.
    """
    found = {}
    for norm in ("all", *NORMS):
        some = runs[runs.norm != "none"] if norm == "all" else runs[runs.norm == norm]
        one, other = (some[some["skip"] == skip].test_accuracy for skip in (True, False))
        found[norm] = equivalence(one, other, MARGIN)
    return pd.Series(found | dict(zip(NORMS, holm([found[n] for n in NORMS]), strict=True)))


def depth_effects() -> pd.DataFrame:
    """Return what 20 convolutions have over eleven after 19 epochs, each with its own rate."""
    deep, pair = load_part("depth"), [("deep", "session8")]
    both = pd.concat([deep, load_part("long").query("norm != 'none'")])
    return differences(both, "model", pair, by=["norm", "skip"], free=["lr", "torch"])


def first_effects() -> pd.DataFrame:
    """Return what a norm before the ReLU has over one after it, with skips; two are from a CPU."""
    runs = load_part("long", "norm_first").query("skip and norm != 'none'")
    return differences(runs, "model", [("norm_first", "session8")], by="norm", free=["torch"])


def best_epochs() -> pd.DataFrame:
    """Return by norm the test accuracy of the last epoch, and of the best one by the test set.

    Column ``runs`` counts all runs, ``is_last`` those whose last epoch is the best one.
    """
    epochs = load_history("long").groupby(["norm", "folder"]).test_accuracy
    runs = pd.DataFrame({"last": epochs.last(), "best": epochs.max()})
    runs["is_last"] = runs.best == runs["last"]
    table = runs.groupby("norm").agg({"last": "mean", "best": "mean", "is_last": "sum"})
    return table.assign(runs=runs.groupby("norm").size()).loc[[*NORMS, "none"]]


def leads_by_epoch() -> pd.DataFrame:
    """Return what BN has over GN and LN after each epoch, with its interval: watched, not chosen.

    Columns as of :func:`study.statistics.differences`, and ``epoch``.
    """
    return norm_effects(load_history("long").query("norm != 'none'"), by="epoch")


def count_learning() -> pd.Series:
    """Return how many networks without a norm and without skips learn, such as ``1 of 5``.

    By start and decay, such as ``torch, decay``.
    """
    runs = load_part("start").query("not skip")
    kinds = runs.init + runs.weight_decay.map(lambda decay: ", decay" if decay else "")
    learns = (runs.val_accuracy.astype(float) >= UNTRAINED).groupby(kinds)
    return learns.sum().astype(str) + " of " + learns.size().astype(str)


def draw_skips() -> Figure:
    """Draw every long run, and beside them those of a network twice as deep."""
    panels = {
        "11 convolutions": load_part("long").query("norm != 'none'"),
        "20 convolutions": load_part("depth"),
    }
    return plot_dots(panels, "Twenty convolutions are better than eleven only with skips")


@style()
def draw_lead() -> Figure:
    """Draw what BN has over the others after each epoch."""
    table = leads_by_epoch()
    figure, (ax,) = new_figure(3.6)
    ax.axhline(0, color=COLORS["grey"], linewidth=1)
    for norm in NORMS[1:]:
        some = table[table.other == norm]
        ax.plot(some.epoch, 100 * some.difference, color=COLORS[norm], label=f"over {NAMES[norm]}")
        ax.fill_between(some.epoch, 100 * some.low, 100 * some.high, color=COLORS[norm], alpha=0.2)
    ax.set(xlabel="epoch", ylabel="BN's lead (points)", xticks=range(1, 20, 3))
    place_legend(figure, ax.get_lines()[1:], 2)
    return finish(figure, "BatchNorm's lead comes in the last epochs, as the rate falls", [])


def list_examples() -> dict[str, Callable[[], Figure]]:
    """Return what draws each norm's curves, mistakes and confusion, from its notebook's runs."""
    kinds = {"curves": draw_curves, "misclassified": draw_mistakes, "confusion": draw_confusion}
    return {f"{norm}_{kind}": partial(draw, norm) for norm in NORMS for kind, draw in kinds.items()}


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
