"""The training loop."""

import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8.checkpoint import Checkpoint
from era8.data import Data
from era8.data.batches import train_batches
from era8.device import PRECISIONS, device_name, keep_freed_memory, versions
from era8.evaluate import accuracy, measure, predict, score
from era8.optim import make_optimizer, one_cycle
from era8.recipe import Recipe, settings_of
from era8.records import Record


def fit(
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    log: Callable[[str], Any] = print,
    checkpoint: str | os.PathLike | None = None,
) -> Record:
    """Train a model in place, watch its test set after each epoch, and return the run's record.

    Nothing is chosen by the test set: it is the last epoch that the record reports, whichever was
    the best. If ``data`` has a validation set, that is looked at instead, and the test set is not
    read at all. Seed torch before the model is made, for its weights are drawn there: then a run
    is repeated bit by bit on the same CPU.

    Args:
        model: takes images (N, 3, 32, 32), returns logits (N, 10); moved to the data's device.
        data: what :func:`era8.load_cifar10` returns.
        recipe: how to train; ``Recipe()`` if None.
        log: called with one line after each epoch.
        checkpoint: a file, written after each epoch. If it exists, the run goes on from there and
            ends as if it had never been stopped, bit by bit on the same CPU. It is kept;
            :func:`era8.records.save_run` deletes it once the record is on disk.

    Raises:
        ValueError: if the model has too many parameters, the batch more images than the data, or
            the checkpoint is damaged or of another run.
        FloatingPointError: if a loss is not finite; says at which epoch, step and learning rate.
    """
    recipe = recipe or Recipe()
    settings = settings_of(model, data, recipe)
    precision, n_images = settings["precision"], settings["train_images"]
    device, made_by = data.device, versions()
    keep_freed_memory()

    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = make_optimizer(model, recipe)
    schedule = one_cycle(optimizer, recipe, n_images)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    generator = torch.Generator(device).manual_seed(recipe.seed)
    state = Checkpoint(
        checkpoint,
        settings
        | {"val_images": len(data.val or ()), "device": device.type}
        | {n: made_by[n] for n in ("era8", "torch")},
        {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler},
        [generator, torch.default_generator],
    )

    history, sittings = state.load()
    held_out: Tensor | None = None  # the logits of the images that are watched
    started = datetime.now(UTC).isoformat(timespec="seconds")
    sittings += [{"device": device_name(device), "started": started, "commit": made_by["commit"]}]
    for epoch in range(len(history) + 1, recipe.epochs + 1):
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
            lrs.append(float(schedule.get_last_lr()[0]))  # of all parameters
            schedule.step()
            losses.append(loss.detach())
            correct += (logits.argmax(1) == labels).sum()
        *sums, n_correct = torch.stack([*losses, correct]).tolist()  # waits for the epoch
        row = {"epoch": epoch, "lr": lrs[-1], "train_loss": _mean_loss(sums, n_images, epoch, lrs)}
        row["train_accuracy"] = n_correct / n_images
        row["seconds"] = time.perf_counter() - start
        held_out = predict(model, data.held_out)
        history.append(row | score(held_out, data))
        state.save(history, sittings)
        log(_describe(history[-1], recipe.epochs))

    return Record(
        **settings,
        **measure(model, data, held_out),
        train_loss=history[-1]["train_loss"],
        train_accuracy=history[-1]["train_accuracy"],
        train_accuracy_eval=accuracy(predict(model, data.train), data.train.labels),
        train_seconds=sum(row["seconds"] for row in history),
        device=_join(sittings, "device"),
        started=sittings[0]["started"],
        versions=made_by | {"commit": _join(sittings, "commit")},
        history=history,
    )


def _join(sittings: list[dict[str, str]], name: str) -> str:
    """Return what all processes of a run had of one thing, in their order."""
    return ", then ".join(dict.fromkeys(sitting[name] for sitting in sittings))


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
    name = "val" if "val_accuracy" in row else "test"
    return (
        f"epoch {row['epoch']:2d}/{epochs}  loss {row['train_loss']:.4f}  "
        f"train {row['train_accuracy']:7.2%}  {name} {row[f'{name}_accuracy']:7.2%}  "
        f"{row['seconds']:.1f} s"
    )
