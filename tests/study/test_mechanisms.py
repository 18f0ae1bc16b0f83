import pytest
import torch
from torch.nn import functional as F

from era8 import Session8Net, load_data
from era8.data import normalise
from era8.evaluate import accuracy, predict
from study.mechanisms import (
    SKIPS,
    activations,
    batch_accuracy,
    cut_accuracy,
    cut_skips,
    gradient_norms,
)  # fmt: skip


@pytest.fixture(scope="module")
def split():
    return load_data("synthetic", "cpu", 200).train


@pytest.fixture(params=["bn", "gn", "ln", "none"])
def model(request):
    torch.manual_seed(0)
    model = Session8Net(request.param)
    for p in model.parameters():
        p.data += 0.1 * torch.rand_like(p)  # so that no scale is one and no shift is zero
    return model


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


def test_only_batch_norm_minds_the_batch(model, split):
    as_used = accuracy(predict(model, split), split.labels)
    found = batch_accuracy(model, split, [2, 7, 200])
    assert list(found.index) == [2, 7, 200]
    if model.norm == "bn":
        whole = model.train()(normalise(split.images)).detach()
        assert found[200] == pytest.approx(accuracy(whole, split.labels))
        assert found[2] != as_used
    else:
        assert (found == as_used).all()


def test_cutting_both_skips_leaves_the_network_without(model, split):
    found, whole = cut_accuracy(model, split), predict(model, split)
    assert list(found.index) == ["whole", "first", "second", "both"]
    assert found["whole"] == accuracy(whole, split.labels)
    with cut_skips(model, list(SKIPS)):
        cut = predict(model, split)
    assert predict(model, split).equal(whole)  # what was cut is there again
    model.skip = False
    torch.testing.assert_close(cut, predict(model, split), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(cut, whole, rtol=1e-3, atol=1e-4)


def test_cutting_one_skip_leaves_the_other(model, split):
    """The network with the first skip cut, written out once more."""
    with cut_skips(model, ["first"]):
        found = predict(model, split)
    m = model.eval()
    x = m.P1(m.c3(m.C2(m.C1(normalise(split.images)))))
    stage2 = m.P2(m.c7(m.C6(m.C5(m.C4(x)))))
    logits = m.c11(m.GAP(m.C10(m.C9(m.C8(stage2))) + stage2)).flatten(1)
    torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-4)
