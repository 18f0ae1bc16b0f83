"""A network, drawn from the model itself: its layers, their sizes, and the skips over them."""

import operator
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from era8.figures.style import COLORS, NAMES, WIDTH, new_figure, style

ADDITIONS = (operator.add, operator.iadd, torch.add)
KINDS = {  # by the first letter of a layer's name
    "C": "3×3 convolution",
    "D": "3×3 in each channel",
    "c": "1×1 convolution",
    "P": "2×2 max pool",
    "F": "linear",
}
HEIGHTS = {"C": (0.86, 0.86), "D": (0.86, 0.86), "P": (0.86, 0.5), "G": (0.86, 0.3)}  # inches
LOW = (0.58, 0.58)  # of what sees no neighbours
STRIPS = {"relu": 0.08, "bn": 0.17, "gn": 0.17, "ln": 0.17}  # widths, of a layer's
GAP, PLUS = 0.28, 0.66  # widths of gaps and of additions, likewise
ROW, LEFT, LONGEST = 1.62, 1.42, 7  # inches from row to row and before it; layers in a row


@dataclass
class Layer:
    """A convolution, a pool or a linear layer, and what follows it up to the next one.

    Attributes:
        name: such as ``C1`` (3x3 convolution), ``D1`` (that, each channel alone), ``c3`` (1x1),
            ``P1`` (max pool), ``GAP`` or ``F12`` (linear): what has weights is counted, pools are
            counted on their own. "" where something follows an addition without a layer.
        channels: of its output.
        size: height and width of its output in pixels.
        parts: ``relu`` and the kinds of norms that follow, in their order.
    """

    name: str
    channels: int
    size: int
    parts: list[str] = field(default_factory=list)


class _Tracer(fx.Tracer):
    """Records each module without children as one step."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Return whether the tracer is to stay outside a module."""
        return not any(module.children())


def read_network(model: nn.Module) -> tuple[list[Layer], list[tuple[int, int]]]:
    """Find the layers of a network and its skips, without running or changing it.

    Returns:
        The layers in their order, and for each skip where it starts and ends: ``(4, 8)`` adds
        what goes into the fifth layer to what comes out of the eighth.

    Raises:
        ValueError: if the layers are no chain with skips over it.
    """
    twin = deepcopy(model).to("meta").eval()
    traced = fx.GraphModule(twin, _Tracer().trace(twin))
    ShapeProp(traced).propagate(torch.zeros(1, 3, 32, 32, device="meta"))
    layers, skips, after = list[Layer](), list[tuple[int, int]](), dict[fx.Node, int]()
    for node in traced.graph.nodes:
        places = [after[source] for source in node.all_input_nodes]  # the layers before each
        module = twin.get_submodule(node.target) if node.op == "call_module" else None
        after[node] = max(places, default=0)
        if node.op == "call_function" and node.target in ADDITIONS and len(places) == 2:
            skips.append((min(places), max(places)))
        elif isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
            if places != [len(layers)]:
                raise ValueError(f"the layers must be a chain with skips; {node.target} leaves it")
            shape = node.meta["tensor_meta"].shape
            layers.append(Layer(_name(module, layers), shape[1], shape[-1] if shape[2:] else 1))
            after[node] = len(layers)
        elif layers and (part := _part(node, module)):
            if skips and skips[-1][1] == len(layers):  # it comes after an addition, not before
                layers.append(Layer("", layers[-1].channels, layers[-1].size))
                after[node] = len(layers)
            layers[-1].parts.append(part)
    return layers, skips


def _name(module: nn.Module, layers: Sequence[Layer]) -> str:
    """Return the name of the layer that comes after others."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "GAP"
    if isinstance(module, nn.MaxPool2d):
        return f"P{sum(layer.name[:1] == 'P' for layer in layers) + 1}"
    letter = "F"
    if isinstance(module, nn.Conv2d):
        alone = module.groups > 1
        letter = "c" if module.kernel_size == (1, 1) else "D" if alone else "C"
    return f"{letter}{sum(layer.name[:1] in {*'CDcF'} for layer in layers) + 1}"


def _part(node: fx.Node, module: nn.Module | None) -> str:
    """Return ``relu`` or the kind of a norm; "" of a step that is neither."""
    if isinstance(module, nn.ReLU) or node.target in ("relu", torch.relu, nn.functional.relu):
        return "relu"
    if isinstance(module, nn.GroupNorm):
        return "gn" if module.num_groups > 1 else "ln"
    if isinstance(module, nn.BatchNorm2d):
        return "bn"
    return "ln" if isinstance(module, nn.LayerNorm) else ""


def _split_rows(layers: Sequence[Layer], skips: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the layers of each row: a pool ends one, and none ends below a skip."""
    rows, block = [list[int]()], list[int]()
    for i, layer in enumerate(layers):
        block.append(i)
        if layer.name == "GAP" or any(start <= i < end - 1 for start, end in skips):
            continue  # the next layer is under the same skip; what follows the mean stays with it
        if rows[-1] and len(rows[-1]) + len(block) > LONGEST:
            rows.append([])
        rows[-1] += block
        block = []
        if layer.name[:1] == "P":
            rows.append([])
    return rows


@style
def plot_network(model: nn.Module) -> Figure:
    """Draw a network from the model itself: a row of layers per stage, with its skips as arcs.

    A stage ends with a max pool; one of many layers has several rows. Each layer says how many
    channels come out of it, and bears the norm that follows it as a strip in its colour.

    Raises:
        ValueError: if the layers are no chain with skips over it.
    """
    layers, skips = read_network(model)
    rows, ends = _split_rows(layers, skips), {end for _, end in skips}
    widths = [_width(layer) + PLUS * (i in ends) for i, layer in enumerate(layers, start=1)]
    unit = min(1.05, (WIDTH - LEFT - 0.2) / max(sum(widths[i] for i in row) for row in rows))
    height = ROW * len(rows) + 0.68
    figure, (ax,) = new_figure(1, 1, WIDTH, height)
    figure.set_layout_engine("none")
    ax.set(position=(0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()

    wire, begins, size = list[tuple[float, float]](), dict[int, float](), 32
    for number, row in enumerate(rows):
        x, y = LEFT, height - 0.78 - ROW * number
        wire += [(x - 0.34, wire[-1][1]), (x - 0.34, y)] if number else [(x - 0.34, y)]
        if number == 0 or layers[row[0] - 1].size < size:
            size = layers[row[0]].size
            ax.text(0.15, y, f"{size} × {size}\npixels", va="center", linespacing=1.4)
        for i in row:
            begins[i] = x - GAP * unit / 2
            _draw_layer(ax, layers[i], x, y, unit)
            x += unit * _width(layers[i])
            for start in (start for start, end in skips if end == i + 1):
                middle = x + unit * (PLUS - GAP) / 2
                _draw_skip(ax, begins[start], middle, y)
                x += unit * PLUS
        wire += [(x - GAP * unit + 0.15, y), (x - GAP * unit + 0.15, y - 0.68)]
    _draw_wire(ax, wire[:-1], zorder=1)
    _add_key(figure, layers, bool(skips))
    return figure


def _width(layer: Layer) -> float:
    """Return the width of a layer with its gap; what only follows an addition is thin."""
    return GAP + (1.0 if layer.name else sum(STRIPS[part] for part in layer.parts))


def _draw_layer(ax: Axes, layer: Layer, x: float, y: float, unit: float) -> None:
    """Draw a layer with its left side at x: its name and channels, then a strip for each part."""
    left, right = HEIGHTS.get(layer.name[:1], LOW)
    strips = unit * sum(STRIPS[part] for part in layer.parts)
    end = x + (unit - strips if layer.name else 0)
    if layer.name:
        corners = [(x, y - left / 2), (x, y + left / 2), (end, y + right / 2), (end, y - right / 2)]
        ax.add_patch(
            Polygon(corners, facecolor=COLORS["faint"], edgecolor=COLORS["faint"], linewidth=2,
                    joinstyle="round", zorder=2)
        )  # fmt: skip
        middle, size = (x + end) / 2, 15 if unit > 0.7 else 13
        ax.text(
            middle, y + 0.11, layer.name, ha="center", va="center", fontsize=size, weight="bold"
        )
        ax.text(middle, y - 0.15, f"{layer.channels}", ha="center", va="center")
    for part in layer.parts:
        width, color = unit * STRIPS[part], COLORS["grey" if part == "relu" else part]
        ax.add_patch(
            Rectangle((end, y - left / 2), width, left, facecolor=color, edgecolor=COLORS["faint"],
                      linewidth=2, joinstyle="round", zorder=2)
        )  # fmt: skip
        end += width


def _draw_skip(ax: Axes, begin: float, end: float, y: float) -> None:
    """Draw an arc from one place of a row to an addition at another."""
    top, look = y + 0.62, {"edgecolor": COLORS["ink"], "linewidth": 2.4}
    _draw_wire(ax, [(begin, y), (begin, top), (end, top), (end, y + 0.1)], **look, zorder=3)
    ax.add_patch(Circle((begin, y), 0.055, facecolor=COLORS["ink"], zorder=3))
    ax.add_patch(Circle((end, y), 0.13, facecolor=COLORS["paper"], **look, zorder=4))
    ax.plot(end, y, "+", color=COLORS["ink"], markersize=11, markeredgewidth=2.2, zorder=5)


def _draw_wire(ax: Axes, points: Sequence[tuple[float, float]], **look: Any) -> None:
    """Draw a line from point to point, around each corner in a small curve."""
    line = np.array(points)
    steps = np.diff(line, axis=0)
    steps *= 0.15 / np.abs(steps).sum(1, keepdims=True).clip(0.3)  # the lines run along the axes
    inner = np.stack([line[1:-1] - steps[:-1], line[1:-1], line[1:-1] + steps[1:]], axis=1)
    codes = [Path.MOVETO, *[Path.LINETO, Path.CURVE3, Path.CURVE3] * len(inner), Path.LINETO]
    path = Path([line[0], *inner.reshape(-1, 2), line[-1]], codes)
    look = {"edgecolor": COLORS["grey"], "linewidth": 2.0} | look
    ax.add_patch(PathPatch(path, facecolor="none", **look))


def _add_key(figure: Figure, layers: Sequence[Layer], skips: bool) -> None:
    """Say below the drawing what letters, numbers and colours mean."""
    letters = dict.fromkeys(layer.name[:1] for layer in layers)
    words = [f"{letter} {KINDS[letter]}" for letter in letters if letter in KINDS]
    figure.text(0.5, 0.5 / figure.get_figheight(), ", ".join(words), ha="center", va="center")
    ink, channels = COLORS["ink"], f"${layers[0].channels}$"
    handles: list[Any] = [
        Line2D([], [], linestyle="", marker=channels, markersize=13, color=ink, label="channels")
    ]
    for part in dict.fromkeys(part for layer in layers for part in layer.parts):
        label, color = ("ReLU", "grey") if part == "relu" else (NAMES[part], part)
        handles.append(Patch(color=COLORS[color], label=label))
    if skips:
        handles.append(Line2D([], [], color=ink, label="skip"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
