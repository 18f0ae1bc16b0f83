"""The README's findings: at most ten sentences, their numbers from the records."""

import pandas as pd

from era8.figures.style import NAMES, norms_of
from era8.tables import percent
from study.effects import UNTRAINED, points
from study.runs import batch_effects, layer_norm_effects, norm_effects, skip_effects
from study.statistics import interval, paired_differences, share_interval
from study.tables import skip_gains


def describe(
    long_runs: pd.DataFrame,
    runs: pd.DataFrame,
    deep_runs: pd.DataFrame,
    kinds: pd.DataFrame,
    groups: pd.DataFrame,
    batches: pd.DataFrame,
    inside: pd.DataFrame,
) -> str:
    """Return what the study found, as a numbered list.

    Args:
        long_runs: what :func:`study.runs.load_long_runs` returns.
        runs: the part ``norms and skips``.
        deep_runs: the part ``depth``.
        kinds: what :func:`study.runs.load_layer_norms` returns.
        groups: the part ``groups``.
        batches: the part ``batch sizes``.
        inside: what :func:`study.runs.load_mechanisms` returns.
    """
    early, late = (_pairs(norm_effects(some)) for some in (runs, long_runs))
    skips, late_skips = (skip_effects(some).set_index("norm") for some in (runs, long_runs))
    deep = {row.norm: row for row in skip_effects(deep_runs).itertuples()}
    stuck = _count_stuck(long_runs)
    rate, rates = runs.lr.iloc[0], long_runs.groupby("norm").lr.first()
    first, last = runs.epochs.iloc[0], long_runs.epochs.iloc[0]
    gains = skip_gains(inside).groupby("norm").median()
    normed = [norm for norm in NAMES if norm in skips.index]
    instance = groups[groups.groups == 16]
    sixteen = instance.groupby("skip").test_accuracy.mean()
    sixteen_skips = skip_effects(instance).iloc[0]
    many, most = sorted(set(batches.batch_size))[-2:]
    fit = batches.groupby(["norm", "batch_size"]).train_accuracy.mean().map(percent)
    changes = ", ".join(
        f"{fit[n, many]} to {fit[n, most]} with {NAMES[n]}" for n in norms_of(batches)
    )
    anchor = "#groups-and-the-size-of-the-batch"
    leads = {(r.batch_size, r.other): points(r) for r in batch_effects(batches).itertuples()}
    batch = inside[(inside.measure == "batch") & (inside.norm == "bn") & inside["skip"]]
    batch = batch.pivot(index="seed", columns="at", values="value")
    used, two, lost = batch["0"], batch["2"], batch["2"] - batch["0"]
    low, high = interval(lost)
    drop = points(pd.Series({"difference": lost.mean(), "low": low, "high": high}))
    layers = {row.one: row for row in layer_norm_effects(kinds).itertuples()}
    costs = kinds.groupby("norm").n_parameters.first()
    times = costs["ln_chw"] / costs["ln"]
    sentences = [
        f"**Any norm beats none**: after {first} epochs, all with a learning rate of {rate:g}, in "
        f"points by {_over_none(runs)}; after {last}, where the network without a norm has a rate "
        f"of its own ({rates['none']:g}, the others {rates['bn']:g}), by {_over_none(long_runs)} "
        "([figure](#results)).",
        f"**BN is ahead of GN early**: after {first} epochs, by {points(early['bn', 'gn'])} "
        f"points, and of LN by {points(early['bn', 'ln'])}, which Holm's correction leaves open "
        "([figure](#two-epochs-five-seeds)).",
        f"**In the end the norms cannot be told apart**: after {last} epochs, BN − GN is "
        f"{points(late['bn', 'gn'])}, BN − LN {points(late['bn', 'ln'])} points; the usual answer "
        "to this assignment, from one run each, is that BN wins ([figure](#results)).",
        f"**With a norm, skips change little in this network**: after {last} epochs "
        f"{', '.join(f'{points(late_skips.loc[n])} with {NAMES[n]}' for n in late_skips.index)}, "
        f"after {first} epochs "
        f"{', '.join(f'{points(skips.loc[n])} with {NAMES[n]}' for n in skips.index)}; the usual "
        "answer is that they help, but a norm already brings the gradient to the first layers, "
        f"where skips multiply it by {', '.join(f'{gains[n]:.1f} with {NAMES[n]}' for n in normed)}"
        f" and by {gains['none']:,.0f} without a norm ([figure](#results)).",
        f"**Without a norm, skips seem to decide whether it learns**: in {last} epochs with a "
        f"learning rate of {rates['none']:g}, which was chosen with skips, {stuck[False]} without "
        f"them learn nothing (below {percent(UNTRAINED, 0)}), and {stuck[True]} with them "
        "([figure](#results)).",
        f"**In a deeper network, skips help with a norm too**: with 20 convolutions, after {first} "
        f"epochs, by {', '.join(f'{points(deep[n])} with {NAMES[n]}' for n in deep)}, in points "
        "([figure](#depth)).",
        f"**LayerNorm over each pixel's channels costs accuracy**: after {kinds.epochs.iloc[0]} "
        f"epochs {points(layers['ln_c'])} points against LayerNorm over (C, H, W), while "
        f"`nn.LayerNorm([C, H, W])` has {times:.0f} times the parameters for "
        f"{points(layers['ln_chw'])} points ([table](#which-layernorm)).",
        f"**InstanceNorm before the global average pool hides the image**: GN with 16 groups "
        f"reaches {percent(sixteen[False])} without skips and {percent(sixteen[True])} with them "
        f"after {groups.epochs.iloc[0]} epochs, {points(sixteen_skips)} points "
        f"([figure]({anchor})).",
        f"**Large batches cost GN and LN accuracy, not BN**: after {batches.epochs.iloc[0]} "
        f"epochs, BN − GN is {leads[many, 'gn']} points with {many} images in a batch and "
        f"{leads[most, 'gn']} with {most}, BN − LN {leads[many, 'ln']} and {leads[most, 'ln']}"
        "; the usual answer is that GN and LN do not mind the size, but with as many epochs a "
        "larger batch has fewer steps, and accuracy in training goes from "
        f"{changes} ([figure]({anchor})).",
        f"**Used in small batches, BN needs its running statistics**: with those of two images in "
        f"their place, trained networks fall from {percent(used.mean(), 0)} to "
        f"{percent(two.mean(), 0)}, {drop} points ([figure](#inside-the-networks)).",
    ]
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(sentences, start=1))


def _pairs(effects: pd.DataFrame) -> dict:
    """Return the rows of differences between norms, by pair."""
    return {(row.one, row.other): row for row in effects.itertuples()}


def _over_none(runs: pd.DataFrame) -> str:
    """Return what each norm has over no norm, with skips."""
    runs = runs[runs["skip"]]
    pairs = [(norm, "none") for norm in norms_of(runs) if norm != "none"]
    rows = paired_differences(runs, "norm", pairs, by="skip", tuned=["lr"]).itertuples()
    return ", ".join(f"{points(row)} with {NAMES[row.one]}" for row in rows)


def _count_stuck(runs: pd.DataFrame) -> dict[bool, str]:
    """Return by skip how many of the networks without a norm learn nothing, and the interval."""
    counts = {}
    for skip, accuracies in runs[runs.norm == "none"].groupby("skip").test_accuracy:
        stuck, total = int((accuracies < UNTRAINED).sum()), len(accuracies)
        low, high = share_interval(stuck, total)
        counts[skip] = f"{stuck} of {total} networks ({percent(low, 0)} to {percent(high, 0)})"
    return counts
