import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from era8 import Session8Net, evaluate
from era8.data import CLASSES, normalise
from era8.models import NormFirstNet

LABELS = torch.tensor([0, 0, 1, 2, 2, 9])
PREDICTED = torch.tensor([0, 1, 1, 0, 0, 3])


@pytest.fixture
def logits():
    """Predictions of the six images above; the later, the surer."""
    values = torch.zeros(6, 10)
    values[range(6), PREDICTED] = torch.arange(1.0, 7.0)
    return values


def test_accuracy(logits):
    assert evaluate.accuracy(logits, LABELS) == pytest.approx(2 / 6)


def test_confusion_matrix(logits):
    confusion = evaluate.confusion_matrix(logits, LABELS)
    expected = torch.zeros(10, 10, dtype=torch.long)
    for label, predicted in zip(LABELS, PREDICTED, strict=True):
        expected[label, predicted] += 1
    assert torch.equal(confusion, expected)


def test_per_class_accuracy(logits):
    values = evaluate.per_class_accuracy(evaluate.confusion_matrix(logits, LABELS))
    assert list(values.index) == list(CLASSES)
    assert values.tolist() == [0.5, 1.0, *[0.0] * 8]  # a class without images counts as 0


def test_most_confused(logits):
    table = evaluate.most_confused(evaluate.confusion_matrix(logits, LABELS), pairs=3)
    assert table.pair.tolist() == ["airplane / bird", "airplane / automobile", "cat / truck"]
    assert table.images.tolist() == [2, 1, 1]
    assert table.one_way.tolist() == [0, 1, 0]
    assert table.other_way.tolist() == [2, 0, 1]


def test_misclassified_are_ordered_by_loss(logits):
    table = evaluate.misclassified(logits, LABELS)
    assert table["index"].tolist() == [5, 4, 3, 1]
    assert table.label.tolist() == ["truck", "bird", "bird", "airplane"]
    assert table.predicted.tolist() == ["cat", "airplane", "airplane", "automobile"]
    confidence = math.exp(6) / (math.exp(6) + 9)
    assert table.confidence[0] == pytest.approx(confidence)
    assert table.loss[0] == pytest.approx(math.log(math.exp(6) + 9))


def test_misclassified_may_be_empty(logits):
    table = evaluate.misclassified(logits, PREDICTED)
    assert table.empty and "label" in table


def test_predict_is_in_evaluation_mode_and_leaves_no_trace(data):
    model = Session8Net("bn")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    logits = evaluate.predict(model, data.test)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    alone = model.eval()(normalise(data.test.images[:1]))
    torch.testing.assert_close(logits[:1], alone.detach(), rtol=1e-4, atol=1e-5)
    assert logits.shape == (len(data.test), 10)


def test_receptive_field_of_a_strided_stack():
    stack = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3))
    table = evaluate.receptive_field(stack)
    assert isinstance(table, pd.DataFrame)
    assert table.receptive_field.tolist() == [5, 7, 15]
    assert table.jump.tolist() == [2, 4, 4]


def test_gradients_are_those_of_a_step(model, split):
    images, labels = normalise(split.images), split.labels
    before = {name: value.clone() for name, value in model.state_dict().items()}
    norms = evaluate.gradient_norms(model, images, labels)
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


def test_layers_of_a_network_of_ones_own_that_do_not_learn_are_left_out(split):
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 10, 30)
    network = nn.Sequential(*layers, nn.GroupNorm(1, 10), nn.Flatten())
    layers[0].requires_grad_(False)
    norms = evaluate.gradient_norms(network, normalise(split.images), split.labels)
    assert list(norms.index) == ["2"] and list(evaluate.scales(network).index) == ["3"]


def test_activations(split):
    torch.manual_seed(0)
    images = normalise(split.images)
    table = evaluate.activations(Session8Net("bn"), images).set_index("layer")
    assert list(table.index) == "C1 C2 C4 C5 C6 C8 C9 C10".split()
    assert table.mean_after.abs().max() < 1e-3 and (table.std_after - 1).abs().max() < 1e-2
    torch.manual_seed(0)
    first = F.relu(F.conv2d(images, Session8Net("bn").C1[0].weight, padding=1))
    assert table.mean_before["C1"] == pytest.approx(first.mean().item(), rel=1e-4)
    assert table.std_before["C1"] == pytest.approx(first.std().item(), rel=1e-4)
    plain = evaluate.activations(Session8Net("none"), images)
    assert (plain.mean_before == plain.mean_after).all()
    first = evaluate.activations(NormFirstNet("bn"), images)  # the norm is found wherever it stands
    assert (first.std_after - 1).abs().max() < 1e-2
