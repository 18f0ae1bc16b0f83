import math

import pandas as pd
import pytest
import torch
from torch import nn

from era8 import Session8Net, evaluate
from era8.data import CLASSES, normalise

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
