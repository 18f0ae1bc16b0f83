"""Figures of many runs, drawn from runs that are made up here."""

import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from era8 import Session8Net
from era8.figures import plot_differences, plot_dots, plot_lines
from era8.figures.style import COLORS
from era8.tables import SHARED, differences

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


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_every_run_is_a_dot_and_a_bar_is_their_mean():
    runs = make_runs()
    (ax,) = plot_dots({"a": runs}, "message").axes
    dots = [x for line in ax.lines[::2] for x in line.get_xdata()]
    assert sorted(dots) == pytest.approx(sorted(100 * runs.test_accuracy))
    means = 100 * runs.groupby(["norm", "skip"]).test_accuracy.mean()
    assert sorted(line.get_xdata()[0] for line in ax.lines[1::2]) == pytest.approx(sorted(means))
    assert ax.get_title() == "a, 3 seeds" and len(ax.lines) == 4 * len(NORMS)


def test_rows_of_dots_are_combinations_of_settings():
    runs = pd.concat([make_runs(lr=lr) for lr in (0.1, 0.05)]).query("skip and norm != 'none'")
    runs = runs.assign(val_accuracy=0.5, norm=runs.norm.replace("bn", "mine:RMSNorm"))
    (ax,) = plot_dots({"": runs}, "", ["norm", "lr"], "val_accuracy").axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [f"{n}, lr={lr}" for n in ("GN", "LN", "RMSNorm") for lr in (0.05, 0.1)]
    assert ax.get_title() == "3 seeds" and ax.get_xlabel() == "held-out accuracy (%)"
    assert [list(line.get_xdata()) for line in ax.lines[::2]] == [[50, 50, 50]] * 6


def test_synthetic_runs_are_named():
    runs = make_runs(data="synthetic")
    rows = differences(runs, "skip", [(True, False)], by="norm")
    for figure in (
        plot_dots({"a": runs}, "message"),
        plot_differences({"skip": rows}, "message", data=runs.data),
    ):
        assert any("synthetic images" in text for text in texts(figure))


def test_differences_are_dots_on_their_intervals():
    rows = differences(make_runs(), "skip", [(True, False)], by="norm")
    (ax,) = plot_differences({"skip": rows.set_index("norm", drop=False)}, "message").axes
    zero, *lines = ax.lines
    assert [line.get_xdata()[0] for line in lines[1::2]] == pytest.approx([2.1] * len(NORMS))
    for line, row in zip(lines[::2], rows.itertuples(), strict=True):
        assert list(line.get_xdata()) == pytest.approx([100 * row.low, 100 * row.high])
        assert line.get_color() == COLORS[row.norm]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(NORMS)


def test_lines_go_through_the_means_and_each_run_is_a_dot():
    sizes = [make_runs(batch_size=n) for n in (8, 64, 512)]
    for some, more in zip(sizes, (-0.2, 0, -0.1), strict=True):
        some["test_accuracy"] += more
    runs = pd.concat(sizes).query("skip")
    figure = plot_lines({"": runs}, "batch_size", "images", "message")
    (ax,) = figure.axes
    assert list(ax.lines[0].get_ydata()) == pytest.approx([63.1, 83.1, 73.1])
    assert len(ax.lines[1].get_ydata()) == 9
    assert "mean of 3 seeds" in texts(figure)
    bn, none = ax.lines[0].get_xdata()[0], ax.lines[6].get_xdata()[0]
    assert bn < 8 < none  # side by side, so that no dot hides another
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "64", "512"]


@pytest.mark.parametrize("n_values", [1, 2, 7, 8])
def test_labels_of_three_panels_do_not_run_into_each_other(n_values):
    rates = [0.4 / 2**i for i in range(n_values)]  # down to 0.003125
    runs = pd.concat(make_runs(1, lr=lr) for lr in rates)
    figure = plot_lines({"a": runs, "b": runs, "c": runs}, "lr", "rate", "message")
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert ax.get_xticks()[-1] == 0.4 and len(boxes) == (n_values + 1) // 2
        assert all(one.x1 + 3 < other.x0 for one, other in zip(boxes, boxes[1:], strict=False))


def test_lines_of_held_out_accuracy_share_their_limits():
    runs = pd.concat([make_runs(1, lr=lr, val_accuracy=a) for lr, a in ((0.1, 0.5), (1, 0.7))])
    panels = {"with": runs[runs["skip"]], "without": runs[~runs["skip"]].assign(val_accuracy=0.1)}
    left, right = plot_lines(panels, "lr", "rate", "message", "val_accuracy").axes
    assert left.get_ylim() == right.get_ylim() and "held-out" in left.get_ylabel()
    assert list(left.lines[0].get_ydata()) == pytest.approx([50, 70])


@pytest.mark.parametrize(("groups", "spread"), [(2, True), (16, False)])
def test_pooling_hides_the_image_after_instance_norm(groups, spread):
    torch.manual_seed(0)
    logits = Session8Net("gn", skip=False, groups=groups)(torch.randn(4, 3, 32, 32))
    assert (logits.std(0).max() > 1e-4) == spread


def test_all_panels_of_dots_have_one_axis():
    runs = make_runs()
    figure = plot_dots({"a": runs, "b": runs[runs.norm != "gn"]}, "")
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
