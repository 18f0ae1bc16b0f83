"""What goes on inside a network: gradients, activations, batch statistics, skips that are cut.

``python -m study.mechanisms`` measures the networks of the study's part of that name.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8.blocks import ConvBlock
from era8.data import Split, load_cifar10, normalise
from era8.evaluate import accuracy, predict
from era8.models import Session8Net
from era8.records import load_weights, whole
from study.runs import MECHANISMS, load_part

BATCHES = (2, 4, 8, 16, 32, 128, 512)
IMAGES = 1_000  # of the held-out ones, for what needs one batch
SKIPS = {"first": ("P1", "P2"), "second": ("P2", "GAP")}  # of Session8Net: from a layer's output


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> pd.Series:
    """Return the norm of the loss's gradient by each convolution's weights, from input to output.

    It is that of a training step, for the mean cross-entropy over the batch. The model is left as
    it is.

    Args:
        model: any network of convolutions.
        images: (N, 3, 32, 32), normalised.
        labels: (N,).
    """
    model = copy.deepcopy(model).train()
    F.cross_entropy(model(images), labels).backward()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    norms = {_short(n): m.weight.grad.norm().item() for n, m in layers.items()}  # type: ignore[union-attr]
    return pd.Series(norms, name="gradient_norm")


@torch.no_grad()
def activations(model: nn.Module, images: Tensor) -> pd.DataFrame:
    """Return mean and standard deviation of what enters and what leaves each norm, in training.

    One row per block of convolution, ReLU and norm: ``layer``, ``mean_before``, ``std_before``,
    ``mean_after``, ``std_after``, over all images, channels and pixels. The model is left as it is.

    Args:
        model: has :class:`era8.blocks.ConvBlock` s.
        images: (N, 3, 32, 32), normalised.
    """
    model, rows = copy.deepcopy(model).train(), []
    for name, block in model.named_modules():
        if isinstance(block, ConvBlock):

            def note(_: nn.Module, args: tuple[Tensor], out: Tensor, name: str = name) -> None:
                before, after = args[0].float(), out.float()
                rows.append((name, before.mean(), before.std(), after.mean(), after.std()))

            block[2].register_forward_hook(note)
    model(images)
    columns = ["layer", "mean_before", "std_before", "mean_after", "std_after"]
    return pd.DataFrame([(n, *(v.item() for v in values)) for n, *values in rows], columns=columns)


@torch.no_grad()
def batch_accuracy(model: nn.Module, split: Split, sizes: Sequence[int]) -> pd.Series:
    """Return the accuracy when a network sees images in batches, as in training, by batch size.

    BatchNorm normalises each batch by its own mean and variance then, and not by the running ones;
    the other norms make no difference between the two. The model is left as it is.
    """
    model, found = copy.deepcopy(model).train(), {}
    for size in sizes:
        batches = split.images.split(size)
        logits = torch.cat([model(normalise(images)).float().cpu() for images in batches])
        found[size] = accuracy(logits, split.labels)
    return pd.Series(found, name="accuracy")


def cut_accuracy(model: Session8Net, split: Split) -> pd.Series:
    """Return the accuracy of a trained network with skips: whole, one skip cut, both cut."""
    found = {"whole": accuracy(predict(model, split), split.labels)}
    for name, cut in {**{n: [n] for n in SKIPS}, "both": list(SKIPS)}.items():
        with cut_skips(model, cut):
            found[name] = accuracy(predict(model, split), split.labels)
    return pd.Series(found, name="accuracy")


@contextmanager
def cut_skips(model: Session8Net, skips: Sequence[str]) -> Iterator[None]:
    """Take what a skip adds away again, for as long as the context lasts."""
    kept: dict[str, Tensor] = {}
    hooks = []
    for name in skips:
        start, end = (getattr(model, layer) for layer in SKIPS[name])

        def keep(_: nn.Module, args: tuple[Tensor], out: Tensor, name: str = name) -> None:
            kept[name] = out

        def drop(_: nn.Module, args: tuple[Tensor], name: str = name) -> tuple[Tensor]:
            return (args[0] - kept[name],)

        hooks += [start.register_forward_hook(keep), end.register_forward_pre_hook(drop)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _short(name: str) -> str:
    """Return the assignment's name of a layer: that of the convolution in C1 is ``C1.0``."""
    return name.removesuffix(".0")


def measure_networks() -> pd.DataFrame:
    """Measure the networks of the study's part ``mechanisms`` on the images that they held out.

    Returns:
        Columns ``norm``, ``skip``, ``seed``, ``measure``, ``at`` (a layer, a cut, or the size of a
        batch; 0 for evaluation mode) and ``value``. What is measured before training has the
        prefix ``start_``, what is measured after it ``end_``.
    """
    val = load_cifar10(device="cpu").hold_out().val
    assert val is not None
    images, labels = normalise(val.images[:IMAGES]), val.labels[:IMAGES]
    tables = []
    for run in load_part("mechanisms").itertuples():
        torch.manual_seed(run.seed)
        model = Session8Net(run.norm, run.skip, run.groups)
        found = {}
        for state in ("start", "end"):
            if state == "end":
                load_weights(run.folder, model)
            found[f"{state}_gradient"] = gradient_norms(model, images, labels)
            for name, column in activations(model, images).set_index("layer").items():
                found[f"{state}_{name}"] = column
        found["batch"] = batch_accuracy(model, val, BATCHES)
        found["batch"][0] = accuracy(predict(model, val), val.labels)
        if run.skip:
            found["cut"] = cut_accuracy(model, val)
        for measure, values in found.items():
            rows = values.rename("value").rename_axis("at").reset_index()
            tables.append(rows.assign(norm=run.norm, skip=run.skip, seed=run.seed, measure=measure))
    table = pd.concat(tables)
    return table[["norm", "skip", "seed", "measure", "at", "value"]]


if __name__ == "__main__":
    torch.set_num_threads(1)  # 2.5 times as fast beside other work: batches are small
    with whole(MECHANISMS) as path:
        measure_networks().to_csv(path, index=False, float_format="%.6g")
