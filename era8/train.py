"""The training loop."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from era8.batches import train_batches
from era8.data import Data
from era8.device import PRECISIONS, best_precision, device_name, keep_freed_memory, versions
from era8.evaluate import accuracy, confusion_matrix, misclassified, predict
from era8.recipe import Recipe, check_model
from era8.runs import Record


def fit(
    model: nn.Module, data: Data, recipe: Recipe | None = None, log: Callable[[str], Any] = print
) -> Record:
    """Train a model in place, test it once after the last epoch, and return the run's record.

    Seed torch before the model is made, for its weights are drawn there: then a run is repeated
    bit by bit on the same CPU. If ``data`` has a validation set, that is looked at after each
    epoch, and the test set is not read at all.

    Args:
        model: takes images (N, 3, 32, 32), returns logits (N, 10); moved to the data's device.
        data: what :func:`era8.load_cifar10` returns.
        recipe: how to train; ``Recipe()`` if None.
        log: called with one line after each epoch.

    Raises:
        ValueError: if the model has too many parameters or the batch more images than the data.
        FloatingPointError: if a loss is not finite; says at which epoch, step and learning rate.
    """
    recipe = recipe or Recipe()
    n_parameters = check_model(model, recipe)
    n_images = len(data.train)
    if recipe.batch_size > n_images:
        raise ValueError(
            f"batch_size must be at most the {n_images} training images; got {recipe.batch_size}"
        )
    keep_freed_memory()
    device, started, made_by = data.device, datetime.now(UTC), versions()
    precision = best_precision(device) if recipe.precision == "auto" else recipe.precision
    steps = math.ceil(n_images / recipe.batch_size)

    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, recipe.momentum, nesterov=True,
        weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda"),
    )  # fmt: skip
    total, warmup = recipe.epochs * steps + 1, recipe.warmup
    if warmup * total == 1:  # OneCycleLR divides by the difference
        warmup = math.nextafter(warmup, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=total, pct_start=warmup,
        anneal_strategy="linear", cycle_momentum=False,
    )  # fmt: skip
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    generator = torch.Generator(device).manual_seed(recipe.seed)

    history: list[dict[str, Any]] = []
    for epoch in range(1, recipe.epochs + 1):
        start, lrs = time.perf_counter(), list[float]()
        losses, correct = [], torch.zeros((), device=device)  # both stay on the device
        for images, labels in train_batches(
            data.train, recipe.batch_size, generator, recipe.crop, recipe.flip
        ):
            with torch.autocast(device.type, PRECISIONS[precision], precision != "fp32"):
                logits = model(images)  # (batch_size, 10)
                loss = F.cross_entropy(logits, labels, reduction="sum")
            scaler.scale(loss / len(labels)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            lrs += map(float, schedule.get_last_lr())
            schedule.step()
            losses.append(loss.detach())
            correct += (logits.argmax(1) == labels).sum()
        *sums, n_correct = torch.stack([*losses, correct]).tolist()  # an epoch's only wait for it
        row = {"epoch": epoch, "lr": lrs[-1], "train_loss": _mean_loss(sums, n_images, epoch, lrs)}
        row["train_accuracy"] = n_correct / n_images
        row["seconds"] = time.perf_counter() - start
        if data.val:
            row["val_accuracy"] = accuracy(predict(model, data.val), data.val.labels)
        history.append(row)
        log(_describe(row, recipe.epochs))

    logits = predict(model, data.held_out)
    settings = asdict(recipe)
    del settings["limits"]
    return Record(
        model=type(model).__name__,
        norm=getattr(model, "norm", ""),
        skip=getattr(model, "skip", False),
        groups=getattr(model, "groups", 1),
        train_images=n_images,
        n_parameters=n_parameters,
        data=data.name,
        checksum=data.checksum,
        train_loss=history[-1]["train_loss"],
        train_accuracy=history[-1]["train_accuracy"],
        val_accuracy=accuracy(logits, data.val.labels) if data.val else None,
        test_accuracy=None if data.val else accuracy(logits, data.test.labels),
        test_loss=None if data.val else F.cross_entropy(logits, data.test.labels.cpu()).item(),
        train_seconds=sum(row["seconds"] for row in history),
        device=device_name(device),
        started=started.isoformat(timespec="seconds"),
        versions=made_by,
        confusion=confusion_matrix(logits, data.held_out.labels).tolist(),
        misclassified=misclassified(logits, data.held_out.labels)[:10].to_dict("records"),
        history=history,
        **{**settings, "precision": precision},
    )


def _mean_loss(sums: list[float], n_images: int, epoch: int, lrs: list[float]) -> float:
    """Return the mean loss over an epoch's images from the steps' sums."""
    for step, loss in enumerate(sums):
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss was not finite at epoch {epoch}, step {step + 1} of {len(sums)}, with "
                f"learning rate {lrs[step]:.4g}; try a smaller lr"
            )
    return math.fsum(sums) / n_images


def _describe(row: dict[str, Any], epochs: int) -> str:
    """Return one line on an epoch."""
    val = f"  val {row['val_accuracy']:7.2%}" if "val_accuracy" in row else ""
    return (
        f"epoch {row['epoch']:2d}/{epochs}  loss {row['train_loss']:.4f}  "
        f"train {row['train_accuracy']:7.2%}{val}  {row['seconds']:.1f} s"
    )
