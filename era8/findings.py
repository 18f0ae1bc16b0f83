"""The README's findings: at most ten sentences, their numbers from the records."""

import pandas as pd

from era8.study import batch_effects, layer_norm_effects, norm_effects, skip_effects
from era8.study_effects import UNTRAINED, points
from era8.style import NAMES
from era8.tables import percent


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
        long_runs: what :func:`era8.study.load_long_runs` returns.
        runs: the part ``norms and skips``.
        deep_runs: the part ``depth``.
        kinds: what :func:`era8.study.load_layer_norms` returns.
        groups: the part ``groups``.
        batches: the part ``batch sizes``.
        inside: what :func:`era8.study.load_mechanisms` returns.
    """
    early, late = (_pairs(norm_effects(some)) for some in (runs, long_runs))
    skips, late_skips = (skip_effects(some).set_index("norm") for some in (runs, long_runs))
    deep = {row.norm: row for row in skip_effects(deep_runs).itertuples()}
    stuck = _count_stuck(long_runs)
    rates = long_runs.groupby("norm").lr.first()
    first, last = runs.epochs.iloc[0], long_runs.epochs.iloc[0]
    mean = inside.groupby(["measure", "norm", "skip", "at"]).value.mean()
    ratio = {
        n: mean["start_gradient", n, True, "C1"] / mean["start_gradient", n, False, "C1"]
        for n in ("bn", "none")
    }
    sixteen = groups[groups.groups == 16].groupby("skip").test_accuracy.mean()
    sizes = sorted(set(batches.batch_size))
    fit = batches.groupby(["norm", "batch_size"]).train_accuracy.mean()
    leads = {(r.batch_size, r.other): points(r) for r in batch_effects(batches).itertuples()}
    used, two = (percent(mean["batch", "bn", True, at], 0) for at in ("0", "2"))
    layers = {row.one: row for row in layer_norm_effects(kinds).itertuples()}
    costs = kinds.groupby("norm").n_parameters.first()
    times = costs["ln_chw"] / costs["ln"]
    sentences = [
        f"**Any norm beats none, but by little in the end**: after {first} epochs, BN is "
        f"{points(early['bn', 'none'])} points ahead of no norm; after {last}, where no norm has a "
        f"learning rate of its own ({rates['none']:g}, the others {rates['bn']:g}), only "
        f"{points(late['bn', 'none'])} ([figure](#results)).",
        f"**BN is ahead early**: after {first} epochs, by {points(early['bn', 'gn'])} points of GN "
        f"and {points(early['bn', 'ln'])} of LN ([figure](#two-epochs-five-seeds)).",
        f"**In the end the norms cannot be told apart**: after {last} epochs, BN − GN is "
        f"{points(late['bn', 'gn'])}, BN − LN {points(late['bn', 'ln'])} points. The usual answer "
        "to this assignment, from one run each, is that BN wins: a training that ends early sees "
        "only its lead ([figure](#results)).",
        f"**With a norm, skips change little in this network**: after {last} epochs "
        f"{', '.join(f'{points(late_skips.loc[n])} with {NAMES[n]}' for n in late_skips.index)}, "
        f"after {first} {', '.join(f'{points(skips.loc[n])}' for n in skips.index)}. The usual "
        "answer is that they help; but a norm already brings the gradient to the first layers, "
        f"where skips multiply it by {ratio['bn']:.1f} with BN and by {ratio['none']:,.0f} without "
        "a norm ([figure](#results)).",
        f"**Without a norm, skips decide whether it learns**: in {last} epochs {stuck[False]} "
        f"networks without them learn nothing, and {stuck[True]} with them ([figure](#results)).",
        f"**In a deeper network, skips help with a norm too**: with 20 convolutions, after {first} "
        f"epochs, by {', '.join(f'{points(deep[n])} with {NAMES[n]}' for n in deep)}, in points "
        "([figure](#depth)).",
        f"**LayerNorm over each pixel's channels costs accuracy**: {points(layers['ln_c'])} points "
        f"against LayerNorm over (C, H, W). `nn.LayerNorm([C, H, W])` has {times:.0f} times the "
        f"parameters for {points(layers['ln_chw'])} points ([table](#which-layernorm)).",
        f"**InstanceNorm before the global average pool hides the image**: GN with 16 groups "
        f"reaches {percent(sixteen[False])} without skips and {percent(sixteen[True])} with them "
        "([figure](#groups-and-the-size-of-the-batch)).",
        f"**Small batches cost BN more, large ones GN and LN**: after {batches.epochs.iloc[0]} "
        f"epochs with {sizes[0]} images in a batch, BN − GN is {leads[sizes[0], 'gn']} and BN − LN "
        f"{leads[sizes[0], 'ln']} points, with {sizes[-1]} {leads[sizes[-1], 'gn']} and "
        f"{leads[sizes[-1], 'ln']}. The usual answer is that GN and LN do not mind the size; but "
        "large batches leave few steps, in which BN alone learns as much as before: in training "
        f"it reaches {percent(fit['bn', sizes[-1]])}, GN {percent(fit['gn', sizes[-1]])} and LN "
        f"{percent(fit['ln', sizes[-1]])} ([figure](#groups-and-the-size-of-the-batch)).",
        "**In use, BN depends on its running statistics**: with those of two images in their "
        f"place, a trained network falls from {used} to {two} ([figure](#inside-the-networks)).",
    ]
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(sentences, start=1))


def _pairs(effects: pd.DataFrame) -> dict:
    """Return the rows of differences between norms, by pair."""
    return {(row.one, row.other): row for row in effects.itertuples()}


def _count_stuck(runs: pd.DataFrame) -> dict[bool, str]:
    """Return how many of the networks without a norm learn nothing, such as ``4 of 5``, by skip."""
    bare = runs[runs.norm == "none"].groupby("skip").test_accuracy
    return {skip: f"{(a < UNTRAINED).sum()} of {len(a)}" for skip, a in bare}
