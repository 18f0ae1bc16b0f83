"""The page that is published, and that its images change as those of the study do."""

import base64
import json
import re

import pytest
import torch

from study.inside import change
from study.play import PAGE, load_networks, write_page
from study.runs import ROOT

SETTINGS = [
    ("contrast", 0.25),
    ("contrast", 0.5),
    ("brightness", 0.2),
    ("colour", 0.4),
    ("blur", 1.0),
]


def test_the_page_is_what_the_records_make():
    committed = (ROOT / PAGE).read_text()
    assert committed == write_page()
    assert len(committed.encode()) < 1_500_000
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', committed)[1])
    assert data["labels"] == [c for c in range(10) for _ in range(4)]
    kinds = [(network.norm, network.skip) for network in load_networks()]
    assert kinds == [(n, skip) for skip in (True, False) for n in ("bn", "gn", "ln", "none")]


@pytest.mark.parametrize("kind, amount", SETTINGS)
def test_images_change_as_in_the_study(ask_node, split, kind, amount):
    images = split.images[:20]
    expected = change(images, kind, amount).flatten(1).int()
    pixels = base64.b64encode(images.numpy().tobytes()).decode()
    (found,) = ask_node(images=pixels, settings=[{kind: amount}])["changed"]
    content = b"".join(map(base64.b64decode, found))
    apart = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(20, -1).int() - expected
    assert apart.abs().max() <= 1  # float32 rounds a half either way
    assert (apart != 0).float().mean() < 1e-3
