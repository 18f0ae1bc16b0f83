"""The page that one plays with: what it computes, by node, and what it is filled with."""

import base64
import html
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from era8 import Session8Net, figures, make_model
from era8.data import MEAN, STD, Split, normalise
from era8.figures.style import NAMES, THEMES
from era8.play import PARTS, fill, pack, pick, read_images
from era8.pretrained import load_pretrained, read_picture

CHANGES = [
    {},
    {"batch": True},
    {"cut": ["first"]},
    {"cut": ["second"]},
    {"cut": ["first", "second"]},
    {"scale": {"layer": "C4", "channel": 3, "factor": 10}},
    {"instance": True},
]


class CutNet(Session8Net):
    """Session8Net written out once more, with skips that can be cut."""

    cut = ()

    def features(self, images):
        stage1 = self.P1(self.c3(self.C2(self.C1(images))))
        x = self.c7(self.C6(self.C5(self.C4(stage1))))
        stage2 = self.P2(x + stage1 if self.skip and "first" not in self.cut else x)
        x = self.C10(self.C9(self.C8(stage2)))
        return x + stage2 if self.skip and "second" not in self.cut else x


@pytest.fixture(scope="module", params=["bn", "gn", "ln", "none"])
def norm(request):
    return request.param


def make_network(norm, skip):
    torch.manual_seed(0)
    network = CutNet(norm, skip, groups=4, init="he")
    for p in network.parameters():
        if p.dim() == 1:  # so that no scale is one and no shift is zero
            p.data += 0.1 * torch.rand_like(p)
    network(torch.randn(16, 3, 32, 32))  # so that running averages are not those of the start
    return network.eval()


def record_layers(network, images, change):
    """Return what torch makes of the images in float64: input and output by layer."""
    network, found = network.double(), {}
    network.train(change.get("batch", False))
    network.cut = change.get("cut", ())
    if scale := change.get("scale"):
        getattr(network, scale["layer"])[0].weight.data[scale["channel"]] *= scale["factor"]
    if change.get("instance"):
        norm, network.C10[2] = network.C10[2], nn.GroupNorm(16, 16).double()
        if network.norm != "none":
            network.C10[2].load_state_dict({"weight": norm.weight, "bias": norm.bias})

    def keep(name, is_block):
        def hook(_, args, out):
            before = args[0] if is_block else out
            found[name] = {"input": before.detach(), "output": out.detach()}

        return hook

    for name, layer in network.named_children():
        is_block = re.fullmatch(r"C\d+", name) is not None
        (layer[2] if is_block else layer).register_forward_hook(keep(name, is_block))
    with torch.no_grad():
        network(normalise(images).double())
    return found


def decode(text, dtype):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype)


def encode(array):
    return base64.b64encode(array.tobytes()).decode()


@pytest.fixture(scope="module")
def images(split):
    return split.images[:3]


@pytest.mark.parametrize("skip", [True, False])
def test_every_layer_is_what_torch_makes_it(ask_node, images, norm, skip):
    answer = ask_node(
        network=pack(make_network(norm, skip)), images=encode(images.numpy()), changes=CHANGES,
        channels={"mean": MEAN, "std": STD},
    )  # fmt: skip
    moved = 0
    for change, found in zip(CHANGES, answer["layers"], strict=True):
        expected = record_layers(make_network(norm, skip), images, change)
        assert set(found) == set(expected)
        for name, layer in expected.items():
            for side, values in layer.items():
                got = decode(found[name][side], torch.float32).double()
                torch.testing.assert_close(got, values.flatten(), rtol=1e-4, atol=1e-4)
        moved += found["c11"] != answer["layers"][0]["c11"]
    # But for what has no effect: batches of others, cuts without skips
    assert moved == len(CHANGES) - 1 - (norm != "bn") - 3 * (not skip)


def test_pictures_are_shrunk_as_classify_does_it(ask_node, tmp_path):
    for width, height in ((50, 40), (20, 31), (32, 32)):
        values = np.random.default_rng(0).integers(256, size=(height, width, 4), dtype=np.uint8)
        values[..., 3] = 255  # Pillow clips what is transparent once more
        Image.fromarray(values, "RGBA").save(tmp_path / "picture.png")
        expected = read_picture(tmp_path / "picture.png").flatten().int()
        picture = {"data": encode(values), "width": width, "height": height}
        found = decode(ask_node(picture=picture)["shrunk"], torch.uint8).int()
        assert (found - expected).abs().max() <= 2  # Pillow rounds after each direction


def test_a_page_holds_all_that_it_needs(images):
    split = Split(images, torch.arange(3))
    page = fill([load_pretrained()], split, THEMES, NAMES)
    outside = r"""\b(src|href)=|@import|^import |url\(|https?://(?!www\.w3\.org/2000/svg)"""
    assert not re.search(outside, page, re.MULTILINE)
    assert page.count("</script>") == len(re.findall("<script", page)) == 12
    again = read_images(page)
    assert again.images.equal(images) and again.labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="delete it to start anew"):
        read_images("<html></html>")


def test_the_modules_share_no_name():
    """In the page they are scripts in one scope."""
    declared = re.compile(r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", re.MULTILINE)
    modules = [path.read_text() for path in PARTS.glob("*.js")]
    names = [name for text in modules for name in declared.findall(text)]
    assert len(names) == len(set(names)) > 50


EDITED = Session8Net("bn")
EDITED.C5[2] = nn.Identity()


@pytest.mark.parametrize("network", [make_model("dilated"), Session8Net("ln_c"), EDITED])
def test_a_network_of_another_design_is_refused(network, images):
    with pytest.raises(ValueError, match="an unchanged Session8Net and norm bn, gn, ln, none; got"):
        fill([network], Split(images, torch.arange(3)), THEMES, NAMES)


def test_pick_takes_the_first_of_each_class():
    values = torch.arange(40, dtype=torch.uint8)
    split = Split(values.view(40, 1, 1, 1).expand(-1, 3, 32, 32), torch.arange(40) % 10)
    chosen = pick(split, 2)
    assert chosen.labels.tolist() == [c for c in range(10) for _ in range(2)]
    assert chosen.images[:4, 0, 0, 0].tolist() == [0, 10, 1, 11]


def read_cell(cell):
    """Return what the page in a cell knows, by its own data."""
    page = html.unescape(re.search("srcdoc='([^']*)'", cell.data)[1])
    return json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script>', page)[1]
    )


def test_a_cell_with_any_norm_is_small(split, norm):
    cell = figures.play(Session8Net(norm), split)
    assert read_cell(cell)["networks"][0]["norm"] == norm
    assert len(read_cell(cell)["networks"]) == 3 and len(cell.data) < 500_000


@pytest.mark.parametrize("mode", [True, False])
def test_a_cell_shows_the_trained_network_beside_the_reference_ones(split, mode):
    network = Session8Net("gn", skip=False, groups=4).train(mode)
    cell = figures.play(network, split)
    data = read_cell(cell)
    assert data["trained"] and [n["norm"] for n in data["networks"]] == ["gn", "bn", "ln"]
    values = decode(data["networks"][0]["values"], torch.float32)
    assert values.equal(torch.cat([v.flatten() for v in network.state_dict().values()]))
    assert not data["networks"][0]["skip"] and data["networks"][0]["groups"] == 4
    assert data["labels"] == [*range(10)]
    assert len(cell.data) < 500_000 and '<img alt="What' in cell.data
    assert network.training is mode


def test_a_cell_shows_the_reference_networks_where_the_page_cannot_play(split):
    data = read_cell(figures.play(make_model("dilated", "ln"), split))
    assert not data["trained"] and [n["norm"] for n in data["networks"]] == ["bn", "gn", "ln"]
