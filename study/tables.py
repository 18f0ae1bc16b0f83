"""What the other parts of the study found, as tables and lists for the README."""

import pandas as pd

from era8.figures.style import FULL_NAMES, NAMES, SKIPS, norms_of
from era8.tables import percent, span
from study.effects import UNTRAINED

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
        most = f"{line.lr.max():g}"
        rows.append(f"| {name} | {skips} | {most} | {percent(best.val_accuracy)} | {where} |")
    head = [
        "| | skips | largest learning rate | best validation accuracy | at learning rate | within "
        f"{100 * loss:.0f} points of it |",
        "|---|---|---:|---:|---:|---:|",
    ]
    note = (
        f"{len(runs)} runs of {runs.epochs.iloc[0]} epochs; seeds of each: {runs.seed.nunique()}."
    )
    if runs.groupby(["norm", "skip"]).size().nunique() > 1:
        rates = ", ".join(f"{lr:g}" for lr in sorted(set(runs.lr)))
        note += f" All rates: {rates}; above a row's largest one the loss did not stay finite."
    return "\n".join([*head, *rows, "", note])


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
    gains, cuts = skip_gains(table), []
    for norm, name in NAMES.items():
        whole, both = (percent(mean["cut", norm, True, at], 0) for at in ("whole", "both"))
        cuts.append(f"from {whole} to {both} with {name}")
    ratios = [f"{_times(gains[norm])} with {name}" for norm, name in NAMES.items()]
    gradients = table[table.measure == "end_gradient"]
    layers, seeds = gradients["at"].nunique(), span(table.groupby(["norm", "skip"]).seed.nunique())
    dead = (gradients.value < ZERO).groupby([gradients[c] for c in ("norm", "skip", "seed")]).sum()
    bare, normed = dead["none"], dead.drop("none").max()
    used, two = (percent(mean["batch", "bn", True, at], 0) for at in ("0", "2"))
    return (
        f"- Before training, skips multiply the gradient that reaches the first convolution: "
        f"{', '.join(ratios)} (median of {seeds} seeds, and the range of all).\n"
        f"- Without a norm, the gradient of {span(bare[True])} of {layers} convolutions is as good "
        f"as zero (below {ZERO:g}) after training with skips, and of {span(bare[False])} without "
        f"skips; with a norm, of {normed or 'none'}.\n"
        f"- When both skips of trained networks are cut, accuracy goes {', '.join(cuts)} (means).\n"
        f"- Normalised by batches of two instead of the running statistics, BN networks "
        f"recognise {two} of the images instead of {used} (means); GN and LN give each image the "
        "same answer in any batch."
    )


def skip_gains(table: pd.DataFrame) -> pd.Series:
    """Return by norm and seed the factor by which skips multiply the first layer's gradient.

    It is that of the first convolution before training.

    Args:
        table: what :func:`study.runs.load_mechanisms` returns.
    """
    first = table[(table.measure == "start_gradient") & (table["at"] == "C1")]
    values = first.set_index(["norm", "seed", "skip"]).value.unstack()
    return values[True] / values[False]


def _times(factors: pd.Series) -> str:
    """Return the median of factors in words, and their range."""
    median, low, high = (
        f"{x:,.{int(x < 10)}f}" for x in (factors.median(), factors.min(), factors.max())
    )
    return f"{median} times ({low} to {high})"
