"""A network, drawn from the model itself: its layers, their sizes, and the skips over them."""

import operator
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import ceil
from textwrap import fill
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch, Polygon
from matplotlib.path import Path
from torch import fx, nn

from era8.figures.style import COLORS, NAMES, WIDTH, new_figure, style

ADDITIONS = (operator.add, operator.iadd, torch.add)
KINDS = {  # by the first letter of a layer's name
    "C": "3×3 convolution",
    "D": "3×3 in each channel",
    "E": "dilated D",
    "c": "1×1 convolution",
    "P": "2×2 max pool",
    "M": "mean pool",
    "F": "linear",
}
HEIGHTS = {  # inches, left and right
    **dict.fromkeys("CDE", (0.86, 0.86)), **dict.fromkeys("PM", (0.86, 0.5)), "G": (0.86, 0.3)
}  # fmt: skip
LOW = (0.58, 0.58)  # of what sees no neighbours
STRIPS = {"relu": 0.08, "bn": 0.17, "gn": 0.17, "ln": 0.17}  # widths, of a layer's
GAP, PLUS = 0.28, 0.66  # widths of gaps and of additions, likewise
ROW, LEFT, LONGEST = 1.62, 1.42, 7  # inches from row to row and before it; layers in a row


@dataclass
class Layer:
    """A convolution, a pool or a linear layer, and what follows it up to the next one."""

    name: str  # a letter of KINDS and a number, such as C1, or GAP, or "" after an addition
    channels: int  # of its output
    size: int  # height and width of its output in pixels
    parts: list[str] = field(default_factory=list)  # relu and kinds of norms that follow, in order


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Return whether a module is one step, as each is that has no children."""
        return not any(module.children())


def read_network(model: nn.Module) -> tuple[list[Layer], list[tuple[int, int]]]:
    """Find the layers of a network and its skips, without changing it.

    Returns:
        The layers in their order, and for each skip where it starts and ends: ``(4, 8)`` adds
        what goes into the fifth layer to what comes out of the eighth.

    Raises:
        ValueError: if the layers are no chain with skips over it.
    """
    twin, shapes = deepcopy(model).cpu().eval(), dict[nn.Module, Sequence[int]]()
    graph = _Tracer().trace(twin)
    for layer in twin.modules():
        layer.register_forward_hook(lambda layer, _, out: shapes.update({layer: out.shape}))
    with torch.no_grad():
        twin(torch.zeros(1, 3, 32, 32))
    layers, skips, after = list[Layer](), list[tuple[int, int]](), dict[fx.Node, int]()
    for node in graph.nodes:
        places = [after[source] for source in node.all_input_nodes]  # the layers before each
        module = twin.get_submodule(node.target) if node.op == "call_module" else None
        if node.op == "call_function" and node.target in ADDITIONS and len(places) == 2:
            skips.append((min(places), max(places)))
        elif name := _name_layer(module, layers):
            if places != [len(layers)]:
                raise ValueError(f"the layers must be a chain with skips; {node.target} leaves it")
            _, channels, *sizes = shapes[module]  # type: ignore[index]
            layers.append(Layer(name, channels, sizes[0] if sizes else 1))
            places = [len(layers)]
        elif layers and (part := _name_part(module, node.target)):
            if skips and skips[-1][1] == len(layers):  # it comes after an addition, not before
                layers.append(Layer("", layers[-1].channels, layers[-1].size))
                places = [len(layers)]
            layers[-1].parts.append(part)
        after[node] = max(places, default=0)
    return layers, skips


def _name_layer(module: nn.Module | None, layers: Sequence[Layer]) -> str:
    """Return the name of a layer that comes after others; "" of what is none."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "GAP"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        letter, alike = "P" if isinstance(module, nn.MaxPool2d) else "M", "PM"
    elif isinstance(module, nn.Linear):
        letter, alike = "F", "CDEcF"
    elif isinstance(module, nn.Conv2d):
        wide = "C" if module.groups == 1 else "D" if module.dilation == (1, 1) else "E"
        letter, alike = "c" if module.kernel_size == (1, 1) else wide, "CDEcF"
    else:
        return ""
    return f"{letter}{sum(layer.name[:1] in {*alike} for layer in layers) + 1}"


def _name_part(module: nn.Module | None, target: Any) -> str:
    """Return ``relu`` or the kind of a norm; "" of a step that is neither."""
    if isinstance(module, nn.ReLU) or target in ("relu", torch.relu, nn.functional.relu):
        return "relu"
    if isinstance(module, nn.GroupNorm):
        return "gn" if module.num_groups > 1 else "ln"
    if isinstance(module, nn.BatchNorm2d):
        return "bn"
    return "ln" if isinstance(module, nn.LayerNorm) else ""


@style()
def plot_network(model: nn.Module) -> Figure:
    """Draw a network from the model itself: a row of layers per stage, with its skips as arcs.

    A stage ends with a pool; one of many layers has several rows. Each layer says how many
    channels come out of it, and bears the norm that follows it as a strip in its colour.
    """
    layers, skips = read_network(model)
    rows, starts = _split_rows(layers, skips), {end: start for start, end in skips}
    widths = [_width(layer) + PLUS * (i in starts) for i, layer in enumerate(layers, start=1)]
    unit = min(1.05, (WIDTH - LEFT - 0.2) / max(sum(widths[i] for i in row) for row in rows))
    key = _explain(layers)
    height = ROW * len(rows) + 0.68 + 0.22 * key.count("\n")
    figure, (ax,) = new_figure(height)
    figure.set_layout_engine("none")
    ax.set(position=(0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()

    wire, begins, size = [(LEFT - 0.34, height - 0.78)], dict[int, float](), 64
    for number, row in enumerate(rows):
        x, y = LEFT, height - 0.78 - ROW * number
        if number:
            wire += [(x - 0.34, wire[-1][1]), (x - 0.34, y)]
        if number == 0 or layers[row[0] - 1].size < size:
            size = layers[row[0]].size
            ax.text(0.15, y, f"{size} × {size}\npixels", va="center", linespacing=1.4)
        for i in row:
            begins[i] = x - GAP * unit / 2
            _draw_layer(ax, layers[i], x, y, unit)
            x += unit * _width(layers[i])
            if i + 1 in starts:
                _draw_skip(ax, begins[starts[i + 1]], x + unit * (PLUS - GAP) / 2, y)
                x += unit * PLUS
        wire += [(x - GAP * unit + 0.15, y), (x - GAP * unit + 0.15, y - 0.68)]
    _draw_wire(ax, wire[:-1], COLORS["grey"], linewidth=2.0, zorder=1)
    figure.text(0.5, 0.4 / height, key, ha="center", linespacing=1.3)
    _add_legend(figure, layers, bool(skips))
    return figure


def _split_rows(layers: Sequence[Layer], skips: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the layers of each row: a pool ends one, and none ends below a skip."""
    stages, block = [list[list[int]]()], list[int]()
    for i, layer in enumerate(layers):
        block.append(i)
        if layer.name == "GAP" or any(start <= i < end - 1 for start, end in skips):
            continue  # the next layer is under the same skip; what follows the mean stays with it
        stages[-1].append(block)
        block = []
        if layer.name[:1] in ("P", "M"):
            stages.append([])
    rows = list[list[int]]()
    for stage in filter(None, stages):
        count = sum(map(len, stage))
        longest = min(LONGEST, ceil(count / ceil(count / LONGEST)) + 1)  # rows of like length
        rows.append(list[int]())
        for block in stage:
            if rows[-1] and len(rows[-1]) + len(block) > longest:
                rows.append([])
            rows[-1] += block
    return rows


def _width(layer: Layer) -> float:
    """Return the width of a layer with its gap; what only follows an addition is thin."""
    return GAP + (1.0 if layer.name else sum(STRIPS[part] for part in layer.parts))


def _draw_layer(ax: Axes, layer: Layer, x: float, y: float, unit: float) -> None:
    """Draw a layer with its left side at x: its name and channels, then a strip for each part."""
    left, right = HEIGHTS.get(layer.name[:1], LOW)
    end, shapes = x, list[tuple[float, float, float, float, str]]()
    if layer.name:
        end += unit * (1 - sum(STRIPS[part] for part in layer.parts))
        shapes = [(x, end, left, right, "faint")]
        look: dict[str, Any] = {"ha": "center", "va": "center"}
        size = 15 if unit > 0.7 else 13
        ax.text((x + end) / 2, y + 0.11, layer.name, **look, fontsize=size, weight="bold")
        ax.text((x + end) / 2, y - 0.15, f"{layer.channels}", **look)
    for part in layer.parts:
        x, end = end, end + unit * STRIPS[part]
        shapes.append((x, end, left, left, "grey" if part == "relu" else part))
    for x, end, left, right, color in shapes:
        corners = [(x, y - left / 2), (x, y + left / 2), (end, y + right / 2), (end, y - right / 2)]
        face, edge = COLORS[color], COLORS["faint"]
        shape = Polygon(corners, facecolor=face, edgecolor=edge, linewidth=2, zorder=2)
        shape.set_joinstyle("round")
        ax.add_patch(shape)


def _draw_skip(ax: Axes, begin: float, end: float, y: float) -> None:
    """Draw an arc from one place of a row to an addition at another."""
    ink, top = COLORS["ink"], y + 0.62
    arc = [(begin, y), (begin, top), (end, top), (end, y + 0.1)]
    _draw_wire(ax, arc, ink, linewidth=2.4, zorder=3)
    ax.add_patch(Circle((begin, y), 0.055, facecolor=ink, zorder=3))
    ring = {"facecolor": COLORS["paper"], "edgecolor": ink, "linewidth": 2.4}
    ax.add_patch(Circle((end, y), 0.13, zorder=4, **ring))
    ax.plot(end, y, "+", color=ink, markersize=11, markeredgewidth=2.2, zorder=5)


def _draw_wire(ax: Axes, points: Sequence[tuple[float, float]], color: str, **look: Any) -> None:
    """Draw a line from point to point, around each corner in a small curve."""
    line = np.array(points)
    steps = np.diff(line, axis=0)
    steps *= 0.15 / np.abs(steps).sum(1, keepdims=True).clip(0.3)  # the lines run along the axes
    inner = np.stack([line[1:-1] - steps[:-1], line[1:-1], line[1:-1] + steps[1:]], axis=1)
    codes = [Path.MOVETO, *[Path.LINETO, Path.CURVE3, Path.CURVE3] * len(inner), Path.LINETO]
    path = Path([line[0], *inner.reshape(-1, 2), line[-1]], codes)
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=color, **look))


def _explain(layers: Sequence[Layer]) -> str:
    """Return what the letters of layers mean, in lines that fit below the drawing."""
    letters = {layer.name[:1] for layer in layers}
    words = (f"{letter} {kind}" for letter, kind in KINDS.items() if letter in letters)
    return fill(", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words), 80)


def _add_legend(figure: Figure, layers: Sequence[Layer], skips: bool) -> None:
    """Say below the drawing what numbers and colours mean."""
    ink, number = COLORS["ink"], f"${layers[0].channels}$"
    handles: list[Any] = [
        Line2D([], [], linestyle="", marker=number, markersize=13, color=ink, label="channels")
    ]
    for part in dict.fromkeys(part for layer in layers for part in layer.parts):
        label, color = ("ReLU", "grey") if part == "relu" else (NAMES[part], part)
        handles.append(Patch(color=COLORS[color], label=label))
    if skips:
        handles.append(Line2D([], [], color=ink, label="skip"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
