"""What is read from a model: predictions and mistakes, and what goes on in its layers."""

import copy
import math
import re
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8.data import CLASSES, Data, Split
from era8.data.batches import PLAIN, plain_batches

NORM_LAYERS = nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm


@torch.inference_mode()
def predict(
    model: nn.Module,
    split: Split,
    watch: Callable[[Generator, int], Generator] = lambda batches, n: batches,
) -> Tensor:
    """Return the logits (N, 10) float32, on the CPU, of the images as they are.

    The model is put in evaluation mode and left in the mode in which it came. ``watch`` is given
    the batches and their number, and yields them.
    """
    training = model.training
    model.eval()
    with closing(watch(plain_batches(split), math.ceil(len(split) / PLAIN))) as batches:
        logits = torch.cat([model(images).float() for images, _ in batches])
    model.train(training)
    return logits.cpu()


def score(logits: Tensor, data: Data) -> dict[str, float]:
    """Return how right the logits (N, 10) of the held-out images are, for a row of the history.

    That is ``val_accuracy`` if there are validation images, else ``test_loss`` and
    ``test_accuracy``.
    """
    labels = data.held_out.labels.cpu()
    if data.val:
        return {"val_accuracy": accuracy(logits, labels)}
    loss = F.cross_entropy(logits, labels).item()
    return {"test_loss": loss, "test_accuracy": accuracy(logits, labels)}


def measure(model: nn.Module, data: Data, logits: Tensor | None = None) -> dict[str, Any]:
    """Return what :class:`era8.records.Record` says of a trained model's held-out images.

    The model's logits (N, 10) of them may be given, if they are known already.
    """
    logits = predict(model, data.held_out) if logits is None else logits
    labels = data.held_out.labels.cpu()
    return {
        **dict.fromkeys(("val_accuracy", "test_loss", "test_accuracy")),
        **score(logits, data),
        "confusion": confusion_matrix(logits, labels).tolist(),
        "misclassified": misclassified(logits, labels)[:10].to_dict("records"),
    }


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of logits (N, 10) whose largest is that of the label (N,)."""
    return (logits.argmax(1) == labels.cpu()).double().mean().item()


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Return counts (10, 10) int64: row = true class, column = predicted class."""
    cells = labels.cpu() * len(CLASSES) + logits.argmax(1)
    return cells.bincount(minlength=len(CLASSES) ** 2).view(len(CLASSES), len(CLASSES))


def per_class_accuracy(confusion: Tensor) -> pd.Series:
    """Return the fraction of each class that was classified correctly, by the name of the class."""
    values = confusion.diag() / confusion.sum(1).clamp(min=1)
    return pd.Series(values.tolist(), index=list(CLASSES), name="accuracy")


def most_confused(confusion: Tensor, pairs: int = 5) -> pd.DataFrame:
    """Return the pairs of classes that are most often confused with each other, either way round.

    Columns: ``pair``, ``images`` (how many), ``one_way`` and ``other_way`` (in the pair's order).
    """
    both = (confusion + confusion.T).triu(diagonal=1).flatten()
    rows = []
    for cell in both.argsort(descending=True, stable=True)[:pairs].tolist():
        a, b = divmod(cell, len(CLASSES))
        one_way, other_way = int(confusion[a, b]), int(confusion[b, a])
        rows.append((f"{CLASSES[a]} / {CLASSES[b]}", one_way + other_way, one_way, other_way))
    return pd.DataFrame(rows, columns=["pair", "images", "one_way", "other_way"])


def misclassified(logits: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return the images that were classified wrongly, the most costly mistake first.

    Columns: ``index`` into the split, ``label`` and ``predicted`` (names of classes), ``loss``
    (cross-entropy in nats) and ``confidence`` (probability given to the wrong class).
    """
    labels = labels.cpu()
    losses = F.cross_entropy(logits, labels, reduction="none")
    confidence, predicted = logits.softmax(1).max(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    wrong = wrong[losses[wrong].argsort(descending=True, stable=True)]
    return pd.DataFrame(
        {
            "index": wrong.tolist(),
            "label": [CLASSES[i] for i in labels[wrong].tolist()],
            "predicted": [CLASSES[i] for i in predicted[wrong].tolist()],
            "loss": losses[wrong].tolist(),
            "confidence": confidence[wrong].tolist(),
        }
    )


def receptive_field(model: nn.Module) -> pd.DataFrame:
    """Return, for each convolution and pool in order, how many pixels one of its outputs sees.

    Columns: ``layer``, ``kernel``, ``stride``, ``jump`` (pixels between two neighbouring outputs)
    and ``receptive_field`` (pixels across): r += (kernel - 1) * dilation * jump; jump *= stride
    (Araujo et al. 2019, distill.pub/2019/computing-receptive-fields, Eq. 2).
    Skips only add shorter paths, so they change nothing. The table ends at the global average
    pool, from where on everything is seen. torchscan has it too, but knows no GroupNorm.
    """
    rows, field, jump = [], 1, 1
    for name, layer in model.named_modules():
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            break
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            sizes = layer.kernel_size, layer.stride, getattr(layer, "dilation", 1)
            kernel, stride, dilation = (v[0] if isinstance(v, tuple) else v for v in sizes)
            field, jump = field + (kernel - 1) * dilation * jump, jump * stride
            rows.append((name.removesuffix(".0"), kernel, stride, jump, field))
    return pd.DataFrame(rows, columns=["layer", "kernel", "stride", "jump", "receptive_field"])


def _short(name: str) -> str:
    """Return the assignment's name of a layer: those of the block C1 are ``C1.0`` and ``C1.2``."""
    return re.sub(r"^(\w+\d+)\.\d$", r"\1", name)


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> pd.Series:
    """Return the norm of the loss's gradient by each convolution's weights, from input to output.

    The loss is the mean cross-entropy of a batch of normalised images (N, 3, 32, 32) with labels
    (N,). The model is left as it is.
    """
    model, norms = copy.deepcopy(model).train(), {}
    F.cross_entropy(model(images), labels).backward()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.grad is not None:  # it is not frozen
            norms[_short(name)] = layer.weight.grad.norm().item()
    return pd.Series(norms, name="gradient_norm")


@torch.no_grad()
def activations(model: nn.Module, images: Tensor) -> pd.DataFrame:
    """Return mean and standard deviation of what enters and what leaves each norm.

    They are over all images (N, 3, 32, 32), normalised, channels and pixels, with columns
    ``layer``, ``mean_before``, ``std_before``, ``mean_after``, ``std_after``. The model is left as
    it is.
    """
    model, rows = copy.deepcopy(model).train(), []
    names = {layer: _short(name) for name, layer in model.named_modules()}

    def note(layer: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        before, after = args[0].float(), out.float()
        values = (before.mean(), before.std(), after.mean(), after.std())
        rows.append((names[layer], *(value.item() for value in values)))

    for layer in names:
        if isinstance(layer, (*NORM_LAYERS, nn.Identity)):
            layer.register_forward_hook(note)
    model(images)
    columns = ["layer", "mean_before", "std_before", "mean_after", "std_after"]
    return pd.DataFrame(rows, columns=columns)


def scales(model: nn.Module) -> pd.DataFrame:
    """Return mean and standard deviation over the channels of what each norm has learned.

    One row per norm: ``layer``, and of scale and shift ``gamma``, ``gamma_std``, ``beta``,
    ``beta_std``. Empty for a network without norms.
    """
    rows = []
    for name, layer in model.named_modules():
        if isinstance(layer, NORM_LAYERS) and layer.bias is not None:  # it has both
            gamma, beta = layer.weight.detach(), layer.bias.detach()
            values = (gamma.mean(), gamma.std(), beta.mean(), beta.std())
            rows.append((_short(name), *(value.item() for value in values)))
    columns = ["layer", "gamma", "gamma_std", "beta", "beta_std"]
    return pd.DataFrame(rows, columns=columns).set_index("layer")
