"""What goes on inside a network."""

import pytest
import torch
from torch.nn import functional as F

from era8 import Session8Net
from era8.data import normalise
from era8.evaluate import activations, gradient_norms
from era8.models import NormFirstNet


def test_gradients_are_those_of_a_step(model, split):
    images, labels = normalise(split.images), split.labels
    before = {name: value.clone() for name, value in model.state_dict().items()}
    norms = gradient_norms(model, images, labels)
    names = "C1 C2 c3 C4 C5 C6 c7 C8 C9 C10 c11"
    assert list(norms.index) == names.split()
    assert all(p.grad is None for p in model.parameters())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())

    step, last = 1e-3, model.c11.weight  # against the loss itself, along the gradient
    losses = []
    (slope,) = torch.autograd.grad(F.cross_entropy(model.train()(images), labels), last)
    for side in (1, -1):
        last.data += side * step * slope / slope.norm()
        losses.append(F.cross_entropy(model(images), labels).item())
        last.data -= side * step * slope / slope.norm()
    assert norms["c11"] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.02)


def test_activations(split):
    torch.manual_seed(0)
    images = normalise(split.images)
    table = activations(Session8Net("bn"), images).set_index("layer")
    assert list(table.index) == "C1 C2 C4 C5 C6 C8 C9 C10".split()
    assert table.mean_after.abs().max() < 1e-3 and (table.std_after - 1).abs().max() < 1e-2
    torch.manual_seed(0)
    first = F.relu(F.conv2d(images, Session8Net("bn").C1[0].weight, padding=1))
    assert table.mean_before["C1"] == pytest.approx(first.mean().item(), rel=1e-4)
    assert table.std_before["C1"] == pytest.approx(first.std().item(), rel=1e-4)
    plain = activations(Session8Net("none"), images)
    assert (plain.mean_before == plain.mean_after).all()
    first = activations(NormFirstNet("bn"), images)  # the norm is found wherever it stands
    assert (first.std_after - 1).abs().max() < 1e-2
