"""The loops that are compared: what a user would run instead of era8, and era8.

Each trains a network in place for a number of epochs and calls ``after_epoch`` after each.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from era8 import Recipe, fit
from era8.data import Data, normalise
from era8.device import PRECISIONS, memory_format

BORDER = 2  # pixels by which the airbench-style loop moves an image at most


@torch.backends.cudnn.flags(enabled=True, allow_tf32=True)  # as most courses leave it
def train_course(
    model: nn.Module,
    pictures: Dataset,
    device: torch.device,
    epochs: int,
    after_epoch: Callable[[], Any],
    batch_size: int = 32,
    workers: int = 4,
    precision: str = "fp32",
    channels_last: bool = False,
    persistent_workers: bool = False,
) -> None:
    """Train as most courses do: a DataLoader of pictures, and two ``item()`` in each step.

    The learning rate falls to a tenth every six epochs; it grows with the batch (Goyal et al.
    2017, arXiv 1706.02677), so that settings chosen for speed still train.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * batch_size / 32, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.1)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    loader = DataLoader(
        pictures, batch_size, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda",
        persistent_workers=persistent_workers and workers > 0,
    )  # fmt: skip
    for _ in range(epochs):
        total_loss, correct = 0.0, 0
        for images, labels in loader:
            images, labels = images.to(device, memory_format=layout), labels.to(device)
            logits, loss = train_step(model, optimizer, scaler, images, labels, precision)
            total_loss += loss.item()
            correct += (logits.argmax(1) == labels).sum().item()
        schedule.step()
        after_epoch()


def train_airbench(
    model: nn.Module,
    data: Data,
    device: torch.device,
    epochs: int,
    after_epoch: Callable[[], Any],
    batch_size: int = 1_000,
    precision: str = "fp32",
) -> None:
    """Train in the style of airbench (Jordan 2024, arXiv 2404.00498): all data on the device.

    The images are normalised once; an epoch moves all of them at once, group by group, and mirrors
    those that the epoch before did not. Learning rate (per image of a batch), momentum, decay,
    schedule and label smoothing are airbench's; its network, its whitening and its test-time
    augmentation are not here, for every loop trains the same network.
    """
    model.to(device, memory_format=memory_format(device)).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), 1.46e-3 * batch_size, 0.85, nesterov=True, weight_decay=1.33e-3
    )
    total = epochs * -(-len(data.train) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: float(np.interp(step, [0, 0.23 * total, total], [0.2, 1, 0.07]))
    )
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    images = normalise(data.train.images).to(PRECISIONS[precision])
    half = torch.rand(len(images), 1, 1, 1, device=device) < 0.5
    padded = F.pad(torch.where(half, images.flip(3), images), [BORDER] * 4, mode="reflect")
    del images, half
    for epoch in range(epochs):
        shifts = torch.randint(2 * BORDER + 1, (len(padded), 2), device=device)
        moved = translate(padded, shifts)
        moved = moved.flip(3) if epoch % 2 else moved
        for index in torch.randperm(len(moved), device=device).split(batch_size):
            labels = data.train.labels[index]
            train_step(model, optimizer, scaler, moved[index], labels, precision, smoothing=0.2)
            schedule.step()
        after_epoch()


def translate(padded: Tensor, shifts: Tensor) -> Tensor:
    """Cut a window out of each padded image, all images of one shift at once.

    Args:
        padded: (N, 3, 32 + 2 BORDER, 32 + 2 BORDER).
        shifts: (N, 2), row and column at which a window begins, from 0 to 2 BORDER.

    Returns:
        (N, 3, 32, 32), in the device's order of memory.
    """
    moved = torch.empty_like(padded[:, :, :32, :32], memory_format=memory_format(padded.device))
    for top in range(2 * BORDER + 1):
        for left in range(2 * BORDER + 1):
            group = (shifts == shifts.new_tensor([top, left])).all(1)
            moved[group] = padded[group, :, top : top + 32, left : left + 32]
    return moved


def train_era8(
    model: nn.Module,
    data: Data,
    device: torch.device,
    epochs: int,
    after_epoch: Callable[[], Any],
    **recipe: Any,
) -> None:
    """Train with :func:`era8.fit`; the seed is the one that torch was given."""
    settings = Recipe(epochs=epochs, seed=torch.initial_seed(), **recipe)
    fit(model, data, settings, log=lambda line: line.endswith(" s") and after_epoch())


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    images: Tensor,
    labels: Tensor,
    precision: str,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Take one step; return the logits (N, 10) and the mean loss, both on the device."""
    with torch.autocast(images.device.type, PRECISIONS[precision], precision != "fp32"):
        logits = model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return logits, loss


LOOPS: dict[str, Callable[..., None]] = {
    "course": train_course,
    "tuned": train_course,
    "airbench": train_airbench,
    "era8": train_era8,
}
