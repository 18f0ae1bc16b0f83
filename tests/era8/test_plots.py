import io
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text

from era8 import figures as plots
from era8.data import CLASSES, load_synthetic
from era8.figures import style
from era8.figures.network import read_network
from era8.models import MODELS, Session8Net, make_model
from era8.records import Record

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")


def make_record(
    norm="bn", skip=True, accuracy=0.8, epochs=3, val=False, data="cifar10", watched=True
):
    """A record in which every class is recognised equally often, and else taken for the next."""
    right = round(1000 * accuracy)
    confusion = right * np.eye(10, dtype=int)
    confusion += (1000 - right) * np.roll(np.eye(10, dtype=int), 1, axis=1)
    history = [
        {
            "epoch": i,
            "lr": 0.1,
            "train_loss": 2 / i,
            "train_accuracy": accuracy - 0.1 / i,
            "seconds": 1.0,
        }
        | ({"val_accuracy": accuracy - 0.2 / i} if val else {})
        | ({"test_loss": 3 / i, "test_accuracy": accuracy - 0.2 / i} if watched and not val else {})
        for i in range(1, epochs + 1)
    ]
    return Record(
        norm=norm, skip=skip, epochs=epochs, lr=0.2, weight_decay=1e-4, data=data, checksum="",
        n_parameters=22_672, train_loss=0.6, train_accuracy=accuracy - 0.1,
        val_accuracy=accuracy if val else None, test_accuracy=None if val else accuracy,
        test_loss=None if val else 0.6, train_seconds=3.0, device="cpu", precision="fp32",
        started="", versions={},
        confusion=confusion.tolist(), misclassified=[], history=history,
    )  # fmt: skip


def make_mistakes(n):
    columns = ["index", "label", "predicted", "loss", "confidence"]
    return pd.DataFrame([(i, "automobile", "bird", 5.0, 0.987) for i in range(n)], columns=columns)


THREE = {
    norm: make_record(norm, accuracy=a) for norm, a in (("bn", 0.82), ("gn", 0.81), ("ln", 0.8))
}
SIX = THREE | {f"{k}, no skips": replace(r, skip=False) for k, r in THREE.items()}
PICTURES = load_synthetic("cpu", train_images=20).train
DRAWINGS = {
    "axes": lambda: plots.plot_axes(),
    "network": lambda: plots.plot_network(make_model("dilated", "gn")),
    "images": lambda: plots.plot_images(PICTURES, "some images"),
    "curves": lambda: plots.plot_curves(THREE),
    "confusion": lambda: plots.plot_confusion(THREE["gn"]),
    "per_class": lambda: plots.plot_per_class(SIX),
    "misclassified": lambda: plots.plot_misclassified(PICTURES, make_mistakes(12)),
    "skips": lambda: plots.plot_skips(SIX.values()),
}


def draw(figure):
    """Return the pixels of a figure."""
    assert isinstance(figure, Figure)
    with io.BytesIO() as file:
        figure.savefig(file, format="raw", dpi=50)
        return file.getvalue()


def texts(figure):
    """Return all that is written in a figure, which is drawn, a line per piece of text."""
    draw(figure)
    visible = [text for text in figure.findobj(Text) if text.get_visible()]
    return "\n".join(text.get_text() for text in visible)


def numbers(figure, ax=0):
    """Return the data of the lines of one of a figure's axes, line by line."""
    return [line.get_xydata().tolist() for line in figure.axes[ax].lines]


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_leave_nothing_behind(name):
    before = dict(mpl.rcParams)
    DRAWINGS[name]()
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_look_the_same_under_any_style(name):
    expected = draw(DRAWINGS[name]())
    with plt.style.context(["dark_background", {"font.size": 20, "lines.linewidth": 9}]):
        assert draw(DRAWINGS[name]()) == expected


def colors(figure):
    """Return the colours of all that is seen of a figure, but for pictures and heat maps."""
    draw(figure)
    names = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
    seen = set()
    for artist in figure.findobj(lambda artist: not isinstance(artist, QuadMesh)):
        for get in (getattr(artist, f"get_{name}", None) for name in names):
            if get and artist.get_visible() and len(color := to_rgba_array(get())):
                seen |= {to_hex(rgba) for rgba in color if rgba[3]}
    return seen


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_theme_changes_all_colours_and_nothing_else(name):
    figures = {}
    for theme, other in (("light", "dark"), ("dark", "light")):
        with style.theme(theme):
            figures[theme] = DRAWINGS[name]()
        allowed = set(style.THEMES[theme].values())
        assert colors(figures[theme]) <= allowed, f"not of the {theme} theme"
        assert not colors(figures[theme]) & (set(style.THEMES[other].values()) - allowed)
    light, dark = figures["light"], figures["dark"]
    assert texts(light) == texts(dark)
    assert [numbers(light, i) for i in range(len(light.axes))] == [
        numbers(dark, i) for i in range(len(dark.axes))
    ]


def test_a_figure_is_saved_on_the_paper_of_its_theme():
    with style.theme("dark"):
        figure = DRAWINGS["skips"]()
    with io.BytesIO() as file, plt.style.context({"savefig.facecolor": "auto"}):
        figure.savefig(file, format="png", dpi=50)
        corner = plt.imread(io.BytesIO(file.getvalue()))[0, 0]
    assert to_hex(corner) == style.THEMES["dark"]["paper"]


def test_a_theme_ends():
    light = dict(style.COLORS)
    with pytest.raises(ZeroDivisionError), style.theme("dark"):
        assert style.COLORS == style.THEMES["dark"]
        with style.theme("light"):
            assert light == style.COLORS
        assert style.COLORS == style.THEMES["dark"]
        raise ZeroDivisionError
    assert light == style.COLORS
    with pytest.raises(ValueError, match="one of light, dark; got 'grey'"), style.theme("grey"):
        pass


def test_axes_say_what_is_averaged_over():
    written = texts(plots.plot_axes())
    for words in ("BatchNorm", "(N, H, W)", "per channel", "GroupNorm", "(C/2, H, W)", "LayerNorm"):
        assert words in written
    assert "LayerNorm" not in texts(plots.plot_axes("bn"))


@pytest.mark.parametrize(("kind", "maps"), [("bn", 4), ("gn", 3), ("ln", 6)])
def test_axes_fill_the_feature_maps_that_share_a_mean(kind, maps):
    first, *others = plots.plot_axes(kind).axes[0].collections
    assert len(first.get_paths()) == 9 * maps  # 3 x 3 pixels each
    assert (len(others) + 1) * maps == 4 * 6
    colors = {tuple(cells.get_facecolor()[0]) for cells in others}
    assert len(colors) == 1 and tuple(first.get_facecolor()[0]) not in colors


def test_axes_refuse_what_has_none():
    with pytest.raises(ValueError, match="bn, gn, ln; got 'none'"):
        plots.plot_axes("none")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("norm", ["bn", "gn", "ln", "none"])
@pytest.mark.parametrize("skip", [True, False])
def test_a_network_is_read_from_the_model_itself(name, norm, skip):
    model = make_model(name, norm, skip)
    layers, skips = read_network(model)
    wanted = {"session8": 2, "norm_first": 2, "deep": 5, "separable": 8, "dilated": 10}
    assert len(skips) == wanted[name] * skip
    kinds = [type(module).__name__ for module in model.modules()]
    weighted = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    letters = "".join(layer.name[:1] for layer in layers)
    assert sum(letter in "CDEcF" for letter in letters) == len(weighted)
    pools, dilated = ("MM", 4) if name == "dilated" else ("PP", 0)
    assert "".join(letter for letter in letters if letter in "PM") == pools
    assert letters.count("E") == dilated
    found = [part for layer in layers for part in layer.parts]
    norms = {"bn": "BatchNorm2d", "gn": "GroupNorm", "ln": "GroupNorm", "none": "none"}[norm]
    assert found.count(norm) == kinds.count(norms) and set(found) <= {"relu", norm}
    assert sorted({layer.size for layer in layers}) == [1, 8, 16, 32]
    for start, end in skips:  # an addition is of maps of one shape
        before = layers[start - 1]
        assert (before.channels, before.size) == (layers[end - 1].channels, layers[end - 1].size)


@pytest.mark.parametrize("pool", [torch.nn.MaxPool2d(2), torch.nn.AvgPool2d(2)])
def test_a_network_that_ends_with_a_pool_is_drawn(pool):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), pool)
    assert [layer.name for layer in read_network(model)[0]] in (["C1", "P1"], ["C1", "M1"])
    assert isinstance(plots.plot_network(model), Figure)


def test_layers_have_the_names_of_the_assignment():
    model = Session8Net()
    layers, skips = read_network(model)
    assert [layer.name for layer in layers] == [name for name, _ in model.named_children()]
    assert [(layers[a].name, layers[b - 1].name) for a, b in skips] == [("C4", "c7"), ("C8", "C10")]
    channels = [16, 32, 16, 16, 16, 16, 32, 16, 16, 16, 16, 16, 16, 10]
    assert [layer.channels for layer in layers] == channels


def test_a_network_is_left_as_it_was():
    model = Session8Net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    plots.plot_network(model)
    assert torch.rand(1) == expected and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_norm_before_the_relu_is_drawn_before_it():
    parts = [read_network(make_model(name))[0][0].parts for name in ("session8", "norm_first")]
    assert parts == [["relu", "bn"], ["bn", "relu"]]


@pytest.mark.parametrize("name", MODELS)
def test_each_skip_is_an_arc_and_each_layer_is_named(name):
    model = make_model(name, "ln")
    layers, skips = read_network(model)
    figure = plots.plot_network(model)
    written = texts(figure).splitlines()
    assert {layer.name for layer in layers if layer.name} <= set(written)
    pluses = [line for line in figure.axes[0].lines if line.get_marker() == "+"]
    assert len(pluses) == len(skips)
    assert {"32 × 32", "16 × 16", "8 × 8"} <= set(written) and "skip" in written


def test_what_is_no_chain_is_not_drawn():
    class Fork(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = (torch.nn.Conv2d(3, 8, 3, padding=1) for _ in range(2))

        def forward(self, x):
            return self.one(x) + self.other(x)

    with pytest.raises(ValueError, match="chain with skips; other leaves it"):
        plots.plot_network(Fork())


@pytest.mark.parametrize("n", [1, 16, 20])
def test_images_have_the_names_of_their_classes(n):
    figure = plots.plot_images(PICTURES[torch.arange(n)], "the title")
    written = texts(figure)
    assert "the title" in written
    assert all((name in written) == (n > i) for i, name in enumerate(CLASSES))
    assert sum(bool(ax.images) for ax in figure.axes) == min(n, 16)


@pytest.mark.parametrize("records", [dict([*THREE.items()][:1]), THREE, SIX])
@pytest.mark.parametrize("epochs", [1, 19, 60])
@pytest.mark.parametrize("val", [False, True])
def test_curves_show_every_run(records, epochs, val):
    runs = {
        name: make_record(r.norm, r.skip, r.test_accuracy, epochs, val)
        for name, r in records.items()
    }
    figure = plots.plot_curves(runs)
    written = texts(figure)
    assert f"BN  82.0 % {'validation' if val else 'test'}" in written
    assert ("test" in written) != val
    losses, accuracies = numbers(figure, 0), numbers(figure, 1)
    assert losses[0] == [[i, 2 / i] for i in range(1, epochs + 1)]
    assert len(losses) == (1 if val else 2) * len(runs) and len(accuracies) == 3 * len(runs)
    assert val or losses[1] == [[i, 3 / i] for i in range(1, epochs + 1)]
    assert accuracies[2] == [[epochs, 100 * runs["bn"].accuracy]]
    ticks = figure.axes[1].get_xticks()
    assert min(ticks) == 1 and max(ticks) == epochs


def test_curves_of_runs_that_were_not_watched_end_in_a_dot_alone():
    runs = {norm: make_record(norm, watched=False) for norm in THREE}
    losses, accuracies = (numbers(plots.plot_curves(runs), ax) for ax in (0, 1))
    assert len(losses) == 3 and len(accuracies) == 6
    dots = [x for line in accuracies if len(line) == 1 for x, _ in line]
    assert len(set(dots)) == 3 and min(dots) > 3


def test_curves_of_several_seeds_have_their_mean():
    seeds = [make_record("gn", accuracy=a) for a in (0.7, 0.8, 0.9)]
    figure = plots.plot_curves({"gn": seeds, "bn": make_record()}, "the title")
    written = texts(figure)
    assert "GN  80.0 ± 10.0 % test" in written and "BN  80.0 % test" in written
    assert "the title" in written
    *runs, mean = figure.axes[1].lines[4:8]  # after those of the training images
    assert [line.get_ydata()[0] for line in [*runs, mean]] == pytest.approx([50, 60, 70, 60])
    assert all(line.get_linewidth() < mean.get_linewidth() / 2 for line in runs)
    assert list(figure.axes[1].lines[8].get_ydata()) == pytest.approx([70, 80, 90])


def test_curves_are_dashed_without_skips_and_thin_on_training_images():
    lines = plots.plot_curves(SIX).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-"] * 6 + ["--"] * 6
    assert lines[0].get_linewidth() < lines[1].get_linewidth()


def test_a_norm_has_one_colour_everywhere():
    for figure in (plots.plot_curves(THREE), plots.plot_per_class(THREE)):
        colors = [line.get_color() for line in figure.axes[0].lines]
        assert list(dict.fromkeys(colors)) == [style.COLORS[norm] for norm in THREE]


def test_confusion_is_in_percent_of_the_true_class():
    record = make_record("gn", skip=False, accuracy=0.7)
    record.confusion[3] = [0] * 10  # a class of which there was no image
    figure = plots.plot_confusion(record)
    assert "GN without skips: 70.0 % test accuracy" in texts(figure)
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells[:10] == ["70", "30"] + ["0"] * 8
    assert cells[30:40] == ["0"] * 10
    assert "30" == cells[90]  # the last class is taken for the first


def test_per_class_sorts_the_classes():
    record = make_record(accuracy=0.5)
    record.confusion[3] = [100] * 10  # cat
    record.confusion[8] = [0] * 8 + [1000, 0]  # ship
    figure = plots.plot_per_class({"bn": record, "other": make_record("gn", accuracy=0.5)})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "cat  30 %" and labels[-1] == "ship  75 %"
    written = texts(figure)
    assert "BN" in written and "other" in written


@pytest.mark.parametrize("n", [0, 1, 5, 7, 10, 12])
def test_misclassified_images_have_both_classes(n):
    figure = plots.plot_misclassified(PICTURES, make_mistakes(n))
    written = texts(figure)
    assert written.count("automobile") == min(n, 10)
    assert written.count("bird?\n99 % sure") == min(n, 10)
    assert ("All 20 images were classified correctly" in written) == (n == 0)


def test_misclassified_shows_the_image_of_the_row():
    mistakes = make_mistakes(5).iloc[3:]
    image = plots.plot_misclassified(PICTURES, mistakes).axes[0].images[0].get_array()
    assert np.array_equal(image, PICTURES.images[3].permute(1, 2, 0).numpy())


def test_skips_show_the_signed_difference():
    runs = ("bn", True, 0.8193), ("bn", False, 0.8061), ("ln", True, 0.79), ("ln", False, 0.8)
    records = [make_record(*run) for run in runs]
    written = texts(plots.plot_skips(records))
    for words in ("81.93 %", "80.61 %", "+1.32 points", "-1.00 points", "BN", "LN", "one seed"):
        assert words in written
    assert "with skips" in written and "without skips" in written


def test_skips_of_equal_accuracy_differ_by_plus_zero():
    records = [make_record(skip=True), make_record(skip=False, accuracy=0.8 + 1e-9)]
    figure = plots.plot_skips(records)
    assert "+0.00 points" in texts(figure)
    low, high = figure.axes[0].get_xlim()
    assert high - low >= 4


def test_skips_draw_a_single_run():
    written = texts(plots.plot_skips([make_record("gn")]))
    assert "80.00 %" in written and "points" not in written and "without" not in written


def test_skips_of_several_seeds_are_compared_by_their_means():
    cells = {True: (0.80, 0.83), False: (0.79, 0.80, 0.81)}
    records = [make_record(skip=skip, accuracy=a) for skip, some in cells.items() for a in some]
    figure = plots.plot_skips(records)
    written = texts(figure)
    for words in ("81.50 %", "80.00 %", "+1.50 points", "small dots: single seeds"):
        assert words in written
    line, *dots = numbers(figure)
    assert [[x for x, _ in line], *([x for x, _ in some] for some in dots)] == [
        pytest.approx(some) for some in ([80, 81.5], [79, 80, 81], [80], [80, 83], [81.5])
    ]


def test_models_of_ones_own_are_drawn():
    record = make_record(norm="", skip=False)
    assert "session8" in texts(plots.plot_confusion(record))
    for figure in (plots.plot_curves({"mine": record}), plots.plot_per_class({"mine": record})):
        assert "mine" in texts(figure)
    draw(plots.plot_skips([record]))


def test_synthetic_pictures_are_named():
    made = [make_record(skip=skip, data="synthetic") for skip in (True, False)]
    figures = [
        plots.plot_curves({"bn": made[0], "gn": THREE["gn"]}),
        plots.plot_confusion(made[0]),
        plots.plot_per_class({"bn": made[0]}),
        plots.plot_skips(made),
        plots.plot_images(PICTURES, data="synthetic"),
        plots.plot_misclassified(PICTURES, make_mistakes(3), data="synthetic"),
        plots.plot_misclassified(PICTURES, make_mistakes(0), data="synthetic"),
    ]
    for figure in figures:
        assert "synthetic images, not CIFAR-10" in texts(figure)
    for make in DRAWINGS.values():
        assert "synthetic" not in texts(make())
