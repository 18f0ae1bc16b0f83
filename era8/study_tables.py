"""What the other parts of the study found, as tables and lists for the README."""

import pandas as pd

from era8.study_effects import UNTRAINED
from era8.style import FULL_NAMES, NAMES, SKIPS, norms_of
from era8.tables import percent

ZERO = 1e-6  # the norm of a gradient below this is as good as none


def tabulate_rates(runs: pd.DataFrame, loss: float = 0.05) -> str:
    """Return what one of the parts on learning rates found, as a table.

    Args:
        runs: of that part.
        loss: accuracy that a learning rate may lose against the best one and be called good.
    """
    rows = []
    for norm, skip in ((norm, skip) for norm in norms_of(runs) for skip in (True, False)):
        line = runs[(runs.norm == norm) & (runs["skip"] == skip)].sort_values("lr")
        if line.empty:
            continue
        best = line.loc[line.val_accuracy.astype(float).idxmax()]
        good = line[line.val_accuracy.astype(float) >= best.val_accuracy - loss].lr
        learns = best.val_accuracy >= UNTRAINED
        where = f"{best.lr:g} | {good.min():g} to {good.max():g}" if learns else "none | none"
        name, skips = NAMES[norm], "yes" if skip else "no"
        rows.append(f"| {name} | {skips} | {percent(best.val_accuracy)} | {where} |")
    head = [
        "| | skips | best validation accuracy | at learning rate | within "
        f"{100 * loss:.0f} points of it |",
        "|---|---|---:|---:|---:|",
    ]
    kind = (
        f"{len(runs)} runs of {runs.epochs.iloc[0]} epochs; seeds of each: {runs.seed.nunique()}."
    )
    return "\n".join([*head, *rows, "", kind])


def tabulate_long_rates(runs: pd.DataFrame) -> str:
    """Return the validation accuracy of each norm at each learning rate, as a table."""
    table = runs.pivot(index="norm", columns="lr", values="val_accuracy").astype(float)
    lines = [
        f"| | {' | '.join(f'learning rate {lr:g}' for lr in table)} |",
        f"|---|{'---:|' * len(table.columns)}",
    ]
    for norm in norms_of(runs):
        best = table.loc[norm].max()
        marks = ((v, "**" if v == best else "") for v in table.loc[norm])
        cells = ["" if pd.isna(v) else f"{mark}{percent(v)}{mark}" for v, mark in marks]
        lines.append(f"| {FULL_NAMES.get(norm, NAMES[norm])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tabulate_batch_rates(runs: pd.DataFrame) -> str:
    """Return :func:`tabulate_long_rates` of each size of batch."""
    return "\n\n".join(
        f"{size} images in a batch, after {some.epochs.iloc[0]} epochs:\n\n"
        f"{tabulate_long_rates(some)}"
        for size, some in runs.groupby("batch_size")
    )


def describe_time(runs: pd.DataFrame) -> str:
    """Return how long the trainings took."""
    machines = runs.groupby(runs.device + ", " + runs.precision).size()
    parts = "; ".join(f"{count} on {machine}" for machine, count in machines.items())
    hours = runs.train_seconds.sum() / 3600
    return f"{len(runs)} run{'s' * (len(runs) > 1)} took {hours:.1f} hours of training ({parts})."


def describe_groups(runs: pd.DataFrame) -> str:
    """Return what the part ``groups`` found, in words."""
    runs = runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))
    means = runs.groupby(["skip", "groups"]).test_accuracy.mean()
    parts = [
        f"{SKIPS[skip]}: {', '.join(f'{percent(a)} with {g}' for g, a in means[skip].items())}"
        for skip in (True, False)
    ]
    return f"Test accuracy by groups, of which LayerNorm has one: {'; '.join(parts)}."


def describe_mechanisms(table: pd.DataFrame) -> str:
    """Return what the part ``mechanisms`` found, as a list in words."""
    mean = table.groupby(["measure", "norm", "skip", "at"]).value.mean()
    dead = (mean["end_gradient"] < ZERO).groupby(["norm", "skip"]).agg(["sum", "size"])
    ratios, cuts = [], []
    for norm, name in NAMES.items():
        first, rest = (mean["start_gradient", norm, skip, "C1"] for skip in (True, False))
        ratios.append(f"{first / rest:,.{int(first < 10 * rest)}f} times with {name}")
        whole, both = (percent(mean["cut", norm, True, at], 0) for at in ("whole", "both"))
        cuts.append(f"from {whole} to {both} with {name}")
    bare, normed = dead.loc["none"], dead.drop("none")["sum"].max()
    used, two = (percent(mean["batch", "bn", True, at], 0) for at in ("0", "2"))
    return (
        f"- Before training, skips multiply the gradient that reaches the first convolution: "
        f"{', '.join(ratios)}.\n"
        f"- Without a norm, the gradient of {bare['sum'][True]} of {bare['size'][True]} "
        f"convolutions is as good as zero (below {ZERO:g}) after training with skips, and of "
        f"{bare['sum'][False]} without skips; with a norm, of {normed or 'none'}.\n"
        f"- When both skips of a trained network are cut, accuracy goes {', '.join(cuts)}.\n"
        f"- Normalised by batches of two instead of the running statistics, the BN network "
        f"recognises {two} of the images instead of {used}; GN and LN give each image the same "
        "answer in any batch."
    )
