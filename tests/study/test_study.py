import itertools

import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from era8 import Session8Net
from era8.recipe import Recipe
from era8.sweep.grid import expand, read_grid
from study import effects as study_effects
from study import epochs as study_epochs
from study import mechanism_plots
from study import plots as study_plots
from study import runs as study
from study import tables as study_tables
from study.statistics import SHARED

NORMS = ("bn", "gn", "ln", "none")


def make_runs(seeds=3, **settings):
    """Runs in which each norm gains 0.021 by skips, and is 0.101 behind the one before it."""
    rows = []
    for i, norm in enumerate(NORMS):
        for skip in (True, False):
            for seed in range(seeds):
                accuracy = (
                    0.8 - (0.1 + 0.001 * seed) * i + 0.01 * seed + (0.02 + 0.001 * seed) * skip
                )
                run = {"norm": norm, "skip": skip, "seed": seed, "test_accuracy": accuracy}
                rows.append(dict.fromkeys(SHARED, 1) | {"data": "cifar10"} | run | settings)
    return pd.DataFrame(rows)


def make_rates():
    rates = {0.01: 0.5, 0.1: 0.7, 1.0: 0.69, 10.0: 0.3}
    runs = [
        make_runs(seeds=1, lr=lr, val_accuracy=accuracy, epochs=3) for lr, accuracy in rates.items()
    ]
    return pd.concat(runs, ignore_index=True)


def make_mechanisms():
    """Three seeds; without a norm and skips, the last layer of seed 2 alone has a gradient."""
    rows = []
    for norm, skip, seed in itertools.product(NORMS, (True, False), range(3)):
        off = (-1, 0, 2)[seed]  # so that a median is no mean
        at = {
            f"{state}_{m}": {"C1": 0.3 + 0.03 * off if skip else 0.1, "c11": 1.0}
            for state in ("start", "end")
            for m in ("gradient", "std_before", "std_after")
        }
        if norm == "none":
            at["end_gradient"] = {"C1": 1e-9, "c11": 0.1 if skip or seed == 2 else 0.0}
        at["batch"] = {0: 0.8, 2: 0.4 + 0.01 * off if norm == "bn" else 0.8, 512: 0.8}
        if skip:
            at["cut"] = {"whole": 0.8, "first": 0.7, "second": 0.6, "both": 0.15 + 0.02 * off}
        for measure, values in at.items():
            rows += [(norm, skip, seed, measure, str(x), value) for x, value in values.items()]
    return pd.DataFrame(rows, columns=["norm", "skip", "seed", "measure", "at", "value"])


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_every_part_of_the_grid_is_named():
    blocks = read_grid(study.GRID)
    parts = [block for part in study.PARTS.values() for block in blocks[part]]
    assert parts == blocks
    sizes = {name: len(expand(blocks[part])) for name, part in study.PARTS.items()}
    assert sizes["norms and skips"] == len(NORMS) * 2 * 5 and sizes["learning rates"] == 30
    assert (sizes["mechanisms"], sizes["groups"]) == (24, 24)
    assert (sizes["batch sizes"], sizes["batch learning rates"]) == (57, 18)
    assert (sizes["long runs"], sizes["long learning rates"]) == (44, 14)
    assert (sizes["depth"], sizes["layer norms"]) == (24, 8)


def test_the_learning_rate_grows_with_the_square_root_of_the_batch():
    grid, plain = read_grid(study.GRID), Recipe()
    rules = {}
    for cell in expand(grid[study.PARTS["batch sizes"]]):
        size = cell.recipe.batch_size
        rules[size] = pytest.approx(plain.lr * (size / plain.batch_size) ** 0.5, rel=0.001)
        assert cell.recipe.lr == rules[size]
    checked = {}
    for cell in expand(grid[study.PARTS["batch learning rates"]]):
        checked.setdefault(cell.recipe.batch_size, set()).add(cell.recipe.lr)
    for size, rates in checked.items():
        low, middle, high = sorted(rates)
        assert middle == rules[size] == 2 * low == high / 2
    assert list(checked) == [min(rules), max(rules)]


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="must hold all runs of .*; 40 are missing, such as bn-"):
        study.load_part("norms and skips", tmp_path)


def test_time_in_words():
    runs = make_runs(device="cpu: a", precision="fp32", train_seconds=150.0)
    assert study_tables.describe_time(runs).startswith(
        "24 runs took 1.0 hours of training (24 on cpu: a, fp32)."
    )


def test_synthetic_runs_are_named_in_a_figure():
    figure = study_plots.plot_accuracies(make_runs(data="synthetic"))
    assert any("synthetic pictures" in text for text in texts(figure))


def test_networks_that_learn_nothing_are_counted_in_the_figure():
    runs = make_runs()
    assert not any("learn nothing" in text for text in texts(study_plots.plot_accuracies(runs)))
    stuck = (runs.norm == "none") & ~runs["skip"] & (runs.seed < 2)
    some = runs.assign(test_accuracy=runs.test_accuracy.mask(stuck, 0.1))
    figure = study_plots.plot_accuracies(some)
    assert "2 of 3 learn nothing" in texts(figure) and figure.axes[0].get_xlim()[0] > 30
    figure = study_plots.plot_accuracies(runs.assign(test_accuracy=0.1))
    assert texts(figure).count("3 of 3 learn nothing") == 8


def test_effects_in_words_and_as_a_figure():
    runs = make_runs()
    assert study.skip_effects(runs).difference.tolist() == pytest.approx([0.021] * 3)
    norms = study.norm_effects(runs)
    assert norms.difference.tolist() == pytest.approx([0.101, 0.202, 0.101, 0.303])
    words = study_effects.describe_effects(runs)
    assert "+2.1 (+1.9 to +2.3) with BN" in words and "BN − LN +20.2 (+19.7 to +20.7)" in words
    assert "3 of these 3 significant" in words and "4 of these 4 significant" in words
    assert "0 of 3 networks without skips learn nothing" in words and "four times" not in words
    luck = runs.assign(test_accuracy=runs.test_accuracy - 0.02 * runs["skip"] * (runs.seed + 0.2))
    words = study_effects.describe_effects(luck)
    assert "none of these 3 significant" in words and "find a true effect four times in" in words
    stuck = (runs.norm == "none") & ~runs["skip"] & (runs.seed < 2)
    words = study_effects.describe_effects(
        runs.assign(test_accuracy=runs.test_accuracy.mask(stuck, 0.1))
    )
    assert (
        "2 of 3 networks without skips learn nothing at a learning rate of 1, and 0 of 3" in words
    )
    figure = study_plots.plot_effects(runs)
    assert {"+2.1", "+30.3", "BN − no norm"} <= set(texts(figure))
    assert any("mean of 3 paired seeds" in text for text in texts(figure))


def test_intervals_in_words():
    words = study_effects.describe_intervals(study.skip_effects(make_runs()))
    assert "over 3 pairs of runs" in words
    more = pd.concat([make_runs(5).query("norm == 'ln'"), make_runs().query("norm != 'ln'")])
    more = study_effects.describe_intervals(study.skip_effects(more))
    assert "over 3 to 5 pairs of runs" in more and "widest one of the skips is ±0.2 points" in words
    assert "it would take 3 seeds to find a true effect of half a point" in words


def test_long_runs_as_a_table_and_in_words():
    runs = make_runs(n_parameters=22_672, epochs=19, train_accuracy=0.85, lr=0.05)
    bare = runs.norm == "none"  # without skips it learns nothing, at a learning rate of its own
    runs["lr"] = runs.lr.mask(bare, 0.0125)
    runs["test_accuracy"] = runs.test_accuracy.mask(bare & ~runs["skip"], 0.1)
    words = study_effects.describe_effects(runs)
    assert "3 of 3 networks without skips learn nothing at a learning rate of 0.0125" in words
    assert "**Norms, with skips,** after 19 epochs" in words and "BN − no norm +30.3 (" in words
    lines = study_effects.tabulate_long_runs(runs).splitlines()
    assert lines[2] == (
        "| BatchNorm | 22,672 | 0.05 | 3 | 85.00 ± 0.00 % | **83.10 ± 1.10 %** | 81.00 ± 1.00 % |"
    )
    assert lines[5].startswith("| no norm | 22,672 | 0.0125 | 3 |")
    assert lines[5].endswith("| **52.80 ± 0.80 %** | 3 of 3 learn nothing |")
    assert lines[-1] == "19 epochs; mean and standard deviation over the seeds."


def make_epochs(n_epochs=3):
    """Three seeds whose accuracy, and with it the differences, falls with each epoch."""
    runs = make_runs().query("norm != 'none'")
    histories = [
        runs.assign(epoch=epoch, train_loss=0.1 * epoch, train_accuracy=runs.test_accuracy / epoch)
        for epoch in range(1, n_epochs + 1)
    ]
    return pd.concat(histories, ignore_index=True)


def test_histories_are_those_of_the_runs():
    runs = study.load_long_runs().query("seed == 0")
    epochs = study_epochs.load_epochs(runs)
    assert len(epochs) == runs.epochs.sum()
    last = epochs[epochs.epoch == 19].set_index("folder")
    assert last.train_accuracy.equals(runs.set_index("folder").train_accuracy)
    assert last.norm.equals(runs.set_index("folder").norm)


def test_lead_in_words():
    assert study_epochs.describe_lead(make_epochs()) == (
        "In training accuracy, in points: after epoch 2 BN − GN +5.0 (+4.9 to +5.2), "
        "BN − LN +10.1 (+9.9 to +10.3); after epoch 3 BN − GN +3.4 (+3.3 to +3.4), "
        "BN − LN +6.7 (+6.6 to +6.9)."
    )


def test_epochs_as_figures():
    loss, accuracy = study_epochs.plot_epochs(make_epochs()).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [pytest.approx([0.1, 0.2, 0.3])] * 3
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([83.1, 83.1 / 2, 83.1 / 3])
    figure = study_epochs.plot_differences(make_epochs())
    leads, gains = ([list(line.get_ydata()) for line in ax.lines[1:]] for ax in figure.axes)
    assert leads == [pytest.approx([x, x / 2, x / 3]) for x in (10.1, 20.2)]
    assert gains == [pytest.approx([2.1, 2.1 / 2, 2.1 / 3])] * 3
    assert any("mean of 3 paired seeds" in text.lower() for text in texts(figure))


def test_long_learning_rates_as_a_table():
    rates = make_rates().query("skip and not (norm == 'none' and lr == 10)")
    lines = study_tables.tabulate_long_rates(rates).splitlines()
    assert lines[0].startswith("| | learning rate 0.01 | learning rate 0.1 |")
    assert lines[-2] == "| LayerNorm | 50.0 % | **70.0 %** | 69.0 % | 30.0 % |"
    assert lines[-1] == "| no norm | 50.0 % | **70.0 %** | 69.0 % |  |"


def test_kinds_of_layer_norm_as_a_table():
    runs = make_runs(n_parameters=22_672, epochs=2).query("skip and norm != 'none'")
    runs = runs.replace({"norm": {"bn": "ln", "gn": "ln_c", "ln": "ln_chw"}})
    runs["n_parameters"] = runs.n_parameters.where(runs.norm != "ln_chw", 100_000)
    lines = study_effects.tabulate_layer_norms(runs).splitlines()
    assert lines[2].endswith("| 22,672 | 83.10 ± 1.10 % |  |")
    assert lines[3].endswith("| 73.00 ± 1.00 % | -10.1 (-10.3 to -9.9) |")
    assert "| 100,000 (2.0 times the limit) |" in lines[4]
    assert lines[-1] == (
        "3 seeds, 2 epochs, with skips; 2 of these 2 significant (p < 0.05, Holm's correction)."
    )


def test_accuracies_as_a_figure():
    (ax,) = study_plots.plot_accuracies(make_runs()).axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(dots) == 2 * len(NORMS)
    assert list(dots[0].get_xdata()) == pytest.approx([82, 83.1, 84.2])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["BN", "GN", "LN", "no norm"]


def test_learning_rates_as_a_table_and_as_a_figure():
    table = study_tables.tabulate_rates(make_rates()).splitlines()
    assert (
        len(table) == 2 + 2 * len(NORMS) + 2
        and table[-1] == "32 runs of 3 epochs; seeds of each: 1."
    )
    assert table[2] == "| BN | yes | 10 | 70.0 % | 0.1 | 0.1 to 1 |"
    dead = (rates := make_rates()).norm == "none"
    stuck = study_tables.tabulate_rates(
        rates.assign(val_accuracy=rates.val_accuracy.mask(dead, 0.1))
    )
    assert "| no norm | no | 10 | 10.0 % | none | none |" in stuck
    fewer = rates[~dead | (rates.lr < 1)]
    words = study_tables.tabulate_rates(fewer)
    assert "| no norm | yes | 0.1 | " in words and "did not stay finite" in words
    ended = study_plots.plot_learning_rates(fewer)
    assert any("not finite" in text for text in texts(ended))
    figure = study_plots.plot_learning_rates(make_rates())
    assert not any("not finite" in text for text in texts(figure))
    lines = [line for ax in figure.axes for line in ax.lines]
    assert len(lines) == 2 * len(NORMS)
    assert list(lines[0].get_xdata()) == [0.01, 0.1, 1.0, 10.0]
    assert list(lines[0].get_ydata()) == pytest.approx([50, 70, 69, 30])


def test_precision_in_words():
    bn = make_runs().query("norm == 'bn' and skip").assign(epochs=19, model="Net")
    half = bn.assign(precision="bf16", test_accuracy=bn.test_accuracy - 0.004 + 0.001 * bn.seed)
    words = study_effects.describe_precision(pd.concat([bn.assign(precision="fp32"), half]))
    assert "of Net with BN after 19 epochs by -0.3 (-0.5 to -0.1) points: " in words
    assert words.endswith("82.80 ± 1.20 % and 83.10 ± 1.10 %, 3 paired seeds.")


def test_groups_in_words_and_as_a_figure():
    gn = [make_runs(groups=groups).query("norm == 'gn'") for groups in (2, 4, 8)]
    runs = pd.concat([make_runs(groups=1).query("norm == 'ln'"), *gn])
    runs = runs[runs["skip"] | (runs.groups < 4)]
    runs["test_accuracy"] = runs.groups * 0.05 + runs.seed * 0.01 + 0.1 * ~runs["skip"]
    words = study_tables.describe_groups(runs)
    assert "with skips: 6.0 % with 1, 11.0 % with 2, 21.0 % with 4, 41.0 % with 8; with" in words
    assert words.endswith("without skips: 16.0 % with 1, 21.0 % with 2.")
    (ax,) = study_plots.plot_groups(runs).axes
    mean, gn_dots, ln_dots, *others = ax.lines
    assert list(mean.get_xdata()) == [1, 2, 4, 8]
    assert list(mean.get_ydata()) == pytest.approx([6, 11, 21, 41])
    assert [len(line.get_xdata()) for line in (gn_dots, ln_dots)] == [9, 3]
    assert [len(line.get_xdata()) for line in others] == [3, 3]  # without skips, not connected


@pytest.mark.parametrize("groups, spread", [(8, True), (16, False)])
def test_pooling_hides_the_image_after_instance_norm(groups, spread):
    torch.manual_seed(0)
    logits = Session8Net("gn", skip=False, groups=groups)(torch.randn(4, 3, 32, 32))
    assert (logits.std(0).max() > 1e-4) == spread


def test_batch_sizes_as_a_table_and_as_a_figure():
    lost = {8: 0.3, 64: 0.1, 512: 0.2}
    runs = [make_runs(batch_size=size, epochs=8, lr=size / 100) for size in lost]
    runs = pd.concat(runs).query("skip and norm != 'none'")
    runs["test_accuracy"] -= runs.batch_size.map(lost)
    head, _, small, *_, note = study_effects.tabulate_batch_sizes(runs).splitlines()
    assert head == "| images in a batch | learning rate | BN | GN | LN | BN − GN | BN − LN |"
    assert small.startswith("| 8 | 0.08 | 53.10 ± 1.10 % | 43.00 ± 1.00 % | 32.90 ± 0.90 % | ")
    assert small.endswith(" | +10.1 (+9.9 to +10.3) | +20.2 (+19.7 to +20.7) |")
    assert note.startswith("3 seeds, 8 epochs, with skips; 6 of these 6 significant")
    largest = runs[runs.batch_size == 512]
    more = pd.concat([runs, largest.assign(seed=largest.seed + 3)])
    note = study_effects.tabulate_batch_sizes(more).splitlines()[-1]
    assert note.startswith("3 to 6 seeds, ") and "; with the first 3 seeds alone 6 of" in note
    (ax,) = study_plots.plot_batch_sizes(runs).axes
    assert [f"{x:.0f}" for x in ax.lines[2].get_xdata()] == ["8", "64", "512"]
    assert list(ax.lines[0].get_ydata()) == pytest.approx([53.1, 73.1, 63.1])
    assert len(ax.lines[1].get_xdata()) == 9
    (ax,) = study_plots.plot_batch_sizes(runs.query("norm != 'gn'")).axes
    assert len(ax.lines) == 4 and ax.lines[0].get_xdata()[0] < 8 < ax.lines[2].get_xdata()[0]


def test_mechanisms_of_other_networks_are_refused(tmp_path):
    path = tmp_path / "mechanisms.csv"
    table = study.load_mechanisms()
    table[table.seed != 1].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"must hold the 24 networks .*python -m study.mechanisms"):
        study.load_mechanisms(path)


def test_learning_rates_of_each_size_of_batch_as_tables():
    rates = make_rates().query("skip")
    tables = study_tables.tabulate_batch_rates(
        pd.concat([rates.assign(batch_size=4), rates.assign(batch_size=512, lr=2 * rates.lr)])
    )
    small, large = tables.split("512 images in a batch, after 3 epochs:")
    assert small.startswith("4 images in a batch, after 3 epochs:")
    assert "| learning rate 0.1 |" in small and "| learning rate 0.2 |" in large
    assert small.count("**70.0 %**") == large.count("**70.0 %**") == 4


def test_mechanisms_in_words_and_as_figures():
    table = make_mechanisms()
    words = study_tables.describe_mechanisms(table)
    assert "3.0 times (2.7 to 3.6) with BN" in words and "goes from 80 % to 16 % with BN" in words
    assert "(median of 3 seeds, and the range of all)" in words
    assert (
        "gradient of 1 of 2 convolutions is as good as zero (below 1e-06) after training with skips"
        in words
    )
    assert "and of 1 to 2 without skips; with a norm, of none." in words
    assert "recognise 40 % of the images instead of 80 %" in words
    cuts = mechanism_plots.plot_cuts(table)
    assert [text for text in texts(cuts) if text in ("80", "70", "60", "16")].count("16") == 4
    dots = [line.get_ydata() for line in cuts.axes[0].lines if len(line.get_ydata()) == 3]
    assert len(dots) == 4 * len(NORMS) and list(dots[3]) == pytest.approx([13, 15, 19])
    (ax,) = mechanism_plots.plot_batches(table).axes
    assert list(ax.lines[0].get_ydata()) == pytest.approx([121 / 3, 80])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((39, 80))
    for plot in (mechanism_plots.plot_gradients, mechanism_plots.plot_activations):
        left, right = plot(table).axes
        assert len(left.lines) == len(right.lines) == 2 * len(NORMS) * (1 + 3)
        assert left.get_ylim() == right.get_ylim()
        assert list(left.lines[0].get_ydata()) == pytest.approx([0.3, 1])
        seeds = [line.get_ydata()[0] for line in left.lines[1:4]]
        assert seeds == pytest.approx([0.27, 0.3, 0.36])
    dead = mechanism_plots.plot_gradients(table).axes[1]
    dead.figure.draw_without_rendering()  # a zero has its place on the axis
    assert list(dead.lines[-4].get_ydata()) == [1e-9, 0] and dead.get_ylim()[0] <= 0
