"""What each norm averages over, drawn."""

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from era8.checks import one_of
from era8.figures.style import COLORS, WIDTH, new_figure, style

IMAGES, CHANNELS, PIXELS = 4, 6, 3  # of the drawing: N, C, and H = W
TITLES = {"bn": "BatchNorm", "gn": "GroupNorm, 2 groups", "ln": "LayerNorm"}
CAPTIONS = {
    "bn": "over (N, H, W):\none per channel",
    "gn": "over (C/2, H, W):\none per image and group",
    "ln": "over (C, H, W):\none per image",
}
BLOCKS = {"bn": (IMAGES, 1), "gn": (1, CHANNELS // 2), "ln": (1, CHANNELS)}  # (images, channels)


@style()
def plot_axes(*kinds: str) -> Figure:
    """Draw which values of a batch share one mean and one variance: for all kinds, or for some.

    They are ``bn``, ``gn`` (drawn with two groups) and ``ln``.
    """
    for kind in kinds:
        one_of("kind", kind, BLOCKS)
    kinds = kinds or tuple(BLOCKS)
    alone = len(kinds) == 1
    width, height = (4.0, 4.4) if alone else (WIDTH * len(kinds) / 3, 3.4)
    figure, panels = new_figure(height, 1, len(kinds), width)
    for kind, ax in zip(kinds, panels, strict=True):
        _draw_blocks(ax, *BLOCKS[kind], COLORS[kind])
        ax.set_title(TITLES[kind], color=COLORS[kind], fontsize=14, weight="bold")
        ax.set_xlabel(CAPTIONS[kind])
    key = ["each tile is one feature map, H × W", "a frame shares one mean and one variance"]
    figure.supxlabel((";\n" if alone else "; ").join(key), color=COLORS["grey"])
    return figure


def _draw_blocks(ax: Axes, images: int, channels: int, color: str) -> None:
    """Draw all feature maps, framed in blocks of images x channels, the first block filled."""
    size = 0.76 / PIXELS
    for top in range(0, IMAGES, images):
        for left in range(0, CHANNELS, channels):
            first = top == left == 0
            frame = FancyBboxPatch(
                (left + 0.06, top + 0.06), channels - 0.12, images - 0.12,
                boxstyle="round,pad=0,rounding_size=0.12", linewidth=2.2 if first else 1.2,
                edgecolor=color, facecolor=(color, 0.22 if first else 0.0),
            )  # fmt: skip
            ax.add_patch(frame)
            cells = [
                Rectangle((x + 0.12 + i * size, y + 0.12 + j * size), size, size)
                for x in range(left, left + channels)
                for y in range(top, top + images)
                for i in range(PIXELS)
                for j in range(PIXELS)
            ]
            face = color if first else COLORS["faint"]
            ax.add_collection(PatchCollection(cells, facecolor=face, edgecolor=COLORS["paper"]))
    ax.set(xlim=(0, CHANNELS), ylim=(IMAGES, -0.75), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("N images", y=IMAGES / (IMAGES + 0.75) / 2)
    arrow = {"arrowstyle": "->", "color": COLORS["ink"]}
    ax.annotate("", (CHANNELS, -0.18), (0, -0.18), arrowprops=arrow)
    ax.text(CHANNELS / 2, -0.3, "C channels", ha="center", va="bottom")
