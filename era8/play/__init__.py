"""The page on which one plays with trained networks: its parts, put into one file and filled.

``network.js`` is the network in plain loops and ``images.js`` what is done to images; there is a
module for each room, and ``page.js`` has them all; ``index.html`` and ``style.css`` are what it
looks like. The page asks for nothing from anywhere, so that it opens from a disk, from a web page
and in a notebook's cell.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from era8.data import CLASSES, MEAN, STD, Split
from era8.models import Network, Session8Net

PARTS = Path(__file__).parent
DATA = '<script id="data" type="application/json">'  # of index.html, empty there
KINDS = ("bn", "gn", "ln", "none")  # the norms that network.js knows


def fill(
    networks: Sequence[Network],
    images: Split,
    colors: Mapping[str, Mapping[str, str]],
    names: Mapping[str, str],
    accuracies: Mapping[str, Sequence[float]] | None = None,
    trained: bool = False,
) -> str:
    """Return the page, as HTML, with some networks and images in it.

    Args:
        networks: each a Session8Net of one of ``KINDS``, its layers unchanged.
        images: what the networks are asked, and the labels.
        colors: by theme, ``light`` and ``dark``, a colour for each name that ``style.css`` uses.
        names: of the norms, for readers.
        accuracies: test accuracies of runs, fractions, by norm; without any the page has no dice.
        trained: whether the first network is the reader's own.

    Raises:
        ValueError: if network.js cannot compute one of the networks.
    """
    for network in networks:
        if not is_playable(network):
            kind = f"{type(network).__name__} with norm {getattr(network, 'norm', None)!r}"
            raise ValueError(
                f"the page plays with an unchanged Session8Net and norm {', '.join(KINDS)}; "
                f"got a {kind}"
            )
    data = {
        "networks": [pack(network) for network in networks],
        "trained": trained,
        "names": names,
        "classes": CLASSES,
        "channels": {"mean": MEAN, "std": STD},
        "labels": images.labels.tolist(),
        "images": _encode(images.images.cpu().numpy().tobytes()),
        "accuracies": accuracies or {},
    }
    themes = {
        name: ":root {" + " ".join(f"--{role}: {color};" for role, color in values.items()) + "}"
        for name, values in colors.items()
    }
    look = f"{themes['light']}\n@media (prefers-color-scheme: dark) {{ {themes['dark']} }}\n"
    content = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = _read("index.html").replace(f"{DATA}</script>", f"{DATA}{content}</script>")
    link, sheet = '<link rel="stylesheet" href="style.css">', _read("style.css")
    page = page.replace(link, f"<style>\n{look}{sheet}</style>")
    return re.sub(r'<script type="module" src="(\w+)\.js"></script>', _inline, page)


def is_playable(network: object) -> bool:
    """Return whether network.js computes what a network does, whose layers may be edited."""
    if type(network) is not Session8Net or network.norm not in KINDS:
        return False
    with torch.device("meta"):  # draws no random numbers
        return repr(network) == repr(Session8Net(network.norm, groups=network.groups))


def pack(network: Network) -> dict[str, Any]:
    """Return a network as network.js reads it: its tensors as one run of bytes, and their names."""
    tensors = {
        name: value.detach().cpu().to(torch.float32).flatten()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    return {
        "norm": network.norm,
        "skip": network.skip,
        "groups": network.groups,
        "sizes": {name: value.numel() for name, value in tensors.items()},
        "values": _encode(torch.cat([*tensors.values()]).numpy().astype("<f4").tobytes()),
    }


def pick(split: Split, each: int) -> Split:
    """Return the first so many images of each class, in the order of the classes."""
    chosen = [(split.labels == c).nonzero().flatten()[:each] for c in range(len(CLASSES))]
    indices = torch.cat(chosen)
    return Split(split.images[indices], split.labels[indices])


def read_images(page: str) -> Split:
    """Return the images of a page that :func:`fill` made, with their labels.

    Raises:
        ValueError: if it is no such page.
    """
    found = re.search(f"{DATA}(.+?)</script>", page)
    if not found:
        raise ValueError("the page must be one that era8.play.fill made; delete it to start anew")
    data = json.loads(found[1])
    images = torch.frombuffer(bytearray(base64.b64decode(data["images"])), dtype=torch.uint8)
    return Split(images.view(-1, 3, 32, 32), torch.tensor(data["labels"]))


def _read(name: str) -> str:
    return (PARTS / name).read_text()


def _inline(module: re.Match) -> str:
    """Return a module as a script that shares its names with those beside it."""
    code = re.sub(r"^import \{[^}]*\} from .*\n", "", _read(f"{module[1]}.js"), flags=re.MULTILINE)
    code = re.sub(r"^export ", "", code, flags=re.MULTILINE)
    return f'<script id="{module[1]}-source">\n"use strict";\n{code}</script>'


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
