"""The page that one plays with, live in a notebook's cell."""

import base64
import copy
import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, cast

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from era8.blocks import unwrap
from era8.data import CLASSES, Split
from era8.evaluate import predict
from era8.figures.images import fade, plot_contrast
from era8.figures.style import COLORS, NAMES, THEMES
from era8.models import Network
from era8.play import fill, is_playable, pick
from era8.pretrained import NORMS, load_pretrained

if TYPE_CHECKING:
    from IPython.display import HTML

CONTRASTS = (1.0, 0.5, 0.25, 0.1)
CELL = (  # the picture lies below the page, and is seen where no page may be, as on GitHub
    '<div style="position: relative; height: 900px; overflow: hidden">'
    '<img alt="What each network says of an image as its contrast falls" src="{picture}">'
    '<iframe title="The network that one plays with" srcdoc=\'{page}\' style="position: absolute; '
    'top: 0; left: 0; width: 100%; height: 100%; border: 0; background: {paper}"></iframe></div>'
)


def play(network: nn.Module, split: Split) -> "HTML":
    """Show a trained network to play with, beside reference networks of two other norms.

    It is live wherever a notebook may run scripts; elsewhere a picture stands in its place. In the
    dark theme it is dark; in the light one it is as the browser likes pages.

    Args:
        network: just trained; where the page cannot play with it, for it is no Session8Net with one
            of the four norms, the reference networks are there without it.
        split: labelled images, of which the page shows the first of each class.
    """
    from IPython.display import HTML

    own = unwrap(network)
    trained = is_playable(own)
    networks = [cast(Network, copy.deepcopy(own).cpu())] if trained else []
    others = [norm for norm in NORMS if not trained or norm != own.norm]
    networks += [cast(Network, load_pretrained(norm=norm)) for norm in others[: 3 - trained]]
    images = pick(split.to(torch.device("cpu")), 1)
    themes = THEMES if COLORS == THEMES["light"] else dict.fromkeys(THEMES, COLORS)
    page = fill(networks, images, themes, NAMES, trained=trained)
    # Without comments it is shorter; the page in docs/ is to be read
    page = re.sub(r"(\n *(//.*|/\*[\s\S]*?\*/)?)+", "\n", page)
    # A notebook would keep each line as a string of its own
    page = page.replace("&", "&amp;").replace("'", "&#39;").replace("\n", "&#10;")
    picture = _encode(plot_fading(networks, images))
    return HTML(CELL.format(page=page, picture=picture, paper=COLORS["paper"]))


def plot_fading(networks: Sequence[Network], images: Split) -> Figure:
    """Draw an image as its contrast falls, and how sure each network is of what it shows.

    It is the first image that all of the networks classify correctly, or else the first.
    """
    guesses = torch.stack([predict(network, images).argmax(1) for network in networks])
    known = (guesses == images.labels).all(0).int().argmax()  # 0 if there is none
    image, label = images.images[known], int(images.labels[known])
    faded = torch.stack([fade(image, part) for part in CONTRASTS])  # (4, 3, 32, 32)
    split = Split(faded, images.labels[known].expand(len(CONTRASTS)))
    sure = {
        network.norm: (100 * predict(network, split).softmax(1)[:, label]).tolist()
        for network in networks
    }
    table = pd.DataFrame(sure, CONTRASTS).T
    return plot_contrast(image, table, f"{CLASSES[label]} (%)")


def _encode(figure: Figure) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="webp", dpi=64, pil_kwargs={"quality": 60})
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
